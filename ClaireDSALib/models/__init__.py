"""Bundles, their catalogue, networks, engines and class-activation maps."""
