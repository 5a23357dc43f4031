"""From one hospital's labels to another's: domain adaptation of label bundles with few labels or none."""
