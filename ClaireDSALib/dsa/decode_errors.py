"""The two ways reading can fail, each with a sentence for the user."""

from __future__ import annotations


class UnusableError(ValueError):
    """A file that cannot be used; the message is the reason shown to the user and names no patient."""


class DecodeError(ValueError):
    """A frame whose pixels cannot be decoded; the message says why."""
