"""What the receiver takes: SOP classes and transfer syntaxes (see the conformance facts in docs/pacs.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ClaireDSALib.dsa import dicom_instance
from ClaireDSALib.dsa.decode_codecs import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, RLE, refusal

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"

_RUNS = (
    dicom_instance.XA,
    dicom_instance.ENHANCED_XA,
    dicom_instance.XRF,
    dicom_instance.ENHANCED_XRF,
    dicom_instance.XA_BIPLANE_RETIRED,
)
_SECONDARY_CAPTURES = (
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.1",
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.3",
    "1.2.840.10008.5.1.4.1.1.7.4",
)
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4",)
_REPORTS = (
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible SR
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
    "1.2.840.10008.5.1.4.1.1.88.67",  # X-Ray Radiation Dose SR
)
_PRESENTATION_STATES = (
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy
    "1.2.840.10008.5.1.4.1.1.11.2",  # Color Softcopy
    "1.2.840.10008.5.1.4.1.1.11.5",  # XA/XRF Grayscale Softcopy
)
STORAGE_CLASSES = (*_RUNS, *_SECONDARY_CAPTURES, *_SEGMENTATIONS, *_REPORTS, *_PRESENTATION_STATES)

_UNCOMPRESSED = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)
_COMPRESSED = (
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    RLE,
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
)
"""Lossless ones first: the first that a peer offers too is taken."""

_WAKING = frozenset((*_RUNS, *_SECONDARY_CAPTURES))


def is_to_analyse(sop_class_uid: str) -> bool:
    """Whether an object of this class may be a run; others only accompany a study."""
    return sop_class_uid in _WAKING


def transfer_syntaxes(*, images: bool = True) -> tuple[str, ...]:
    """Accepted syntaxes in order of preference: those that the reader decodes on this machine."""
    return (*_UNCOMPRESSED, *(uid for uid in _COMPRESSED if not refusal(uid))) if images else _UNCOMPRESSED


def presentation_contexts() -> list[PresentationContext]:
    """What to offer to those who connect."""
    from pynetdicom import build_context

    images = {*_RUNS, *_SECONDARY_CAPTURES, *_SEGMENTATIONS}
    return [
        build_context(VERIFICATION, [EXPLICIT_LITTLE, IMPLICIT_LITTLE]),
        *(build_context(uid, list(transfer_syntaxes(images=uid in images))) for uid in STORAGE_CLASSES),
    ]
