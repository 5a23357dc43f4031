"""Codes are real, unique and reversible, and the conformance statement lists the private ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from ClaireDSALib.export import dicom_codes as codes
from ClaireDSALib.models.labels import NINE_LABELS

ROOT = Path(__file__).resolve().parents[3]


def test_standard_codes_exist():
    known = {scheme: {value for term in terms.values() for value in term} for scheme, terms in concepts.items()}
    for code in codes.all_codes():
        if code.scheme in ("SCT", "DCM"):
            assert code.value in known[code.scheme], code


def test_values_fit_and_mean_one_thing():
    meanings = {}
    for code in codes.all_codes():
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64
        assert meanings.setdefault(code[:2], code.meaning) == code.meaning


@pytest.mark.parametrize("label", NINE_LABELS.labels, ids=lambda label: label.name)
def test_every_label_of_the_shipped_bundle_has_codes(label):
    assert label.name in codes.LABELS
    for cls in label.classes:
        assert codes.class_of(label.name, codes.class_code(label.name, cls)) == cls
    assert codes.label_of(codes.label_code(label.name)) == label.name


def test_labels_of_other_bundles_get_codes_of_their_own():
    one, other = codes.label_code("stent"), codes.label_code("coil")
    assert one.value != other.value
    assert codes.label_of(one) == "stent"
    assert codes.class_of("stent", codes.class_code("stent", "open")) == "open"
    assert codes.class_code("stent", "open") != codes.class_code("coil", "open")


def test_the_conformance_statement_lists_every_private_code():
    text = (ROOT / "docs" / "dicom_conformance.md").read_text(encoding="utf-8")
    for code in codes.all_codes():
        if code.scheme == codes.PRIVATE_SCHEME:
            assert f"| {code.value} | {code.meaning} |" in text, code


def test_a_grade_named_as_a_reason_has_the_standard_code_and_reads_back():
    assert codes.label_code("quality_grade") == codes.QUALITY
    assert codes.label_of(codes.QUALITY) == "quality_grade"
