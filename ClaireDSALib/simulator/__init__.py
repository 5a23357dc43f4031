"""Simulated cerebral angiography with exact ground truth."""
