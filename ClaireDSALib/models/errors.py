"""What the models refuse, each with one sentence for the user. Nothing is changed when one is raised."""

from __future__ import annotations


class BundleError(ValueError):
    """A bundle is damaged, incomplete or says something untrue about itself."""


class UnconfirmedBundleError(BundleError):
    """A bundle's hash is neither in the catalogue nor confirmed by the user."""


class ImageRefusedError(ValueError):
    """An image cannot be classified: too small, too large, constant or not a grey picture."""
