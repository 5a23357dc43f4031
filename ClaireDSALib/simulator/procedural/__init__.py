"""Anatomy made from rules: arteries, veins, neck, arch and groin."""
