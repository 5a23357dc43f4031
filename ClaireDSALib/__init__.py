"""CLAIRE-DSA: quality, vessels and thrombi in X-ray angiography, for 3D Slicer and without it.

Importing this package loads no torch, no slicer and no Qt; each sub-package loads what it needs.
Research software, not a medical device.
"""

__version__ = "0.1.0"
