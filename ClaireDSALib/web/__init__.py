"""The browser viewer on slicer-core."""
