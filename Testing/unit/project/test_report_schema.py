"""The published schema is one, is strict, and accepts what the program writes."""

import copy
import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import LabelResult, Reason, RunReport, Suitability
from ClaireDSALib.pipeline.settings import Settings

_NO_MODELS = Settings(label_bundle="none", thrombus_bundle="none", vessel_bundle="none")


@pytest.fixture(scope="module")
def validator():
    text = (resources.files("ClaireDSALib.pipeline") / "report_schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def a_report(a_series):
    return analyze([a_series], _NO_MODELS).report.to_dict()


def test_the_report_of_a_run_is_valid(validator, a_report):
    validator.validate(a_report)


def test_a_report_with_labels_and_verdict_is_valid(validator, a_report):
    label = LabelResult("projection", ("ap", "lateral"), (0.9, 0.1), "ap", {"ap": "cam.projection.ap"})
    verdict = Suitability("vessel_segmentation", False, 0.8, (Reason("projection", "warn", "Looks oblique.", 0.3),))
    run = RunReport("r", {}, analyze_acquisition(a_report), labels=(label,), suitability=verdict)
    from ClaireDSALib.pipeline.report import CaseReport

    validator.validate(CaseReport((run,)).to_dict())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), "2.0"),
        (("surprise",), 1),
        (("runs", 0, "acquisition", "rows"), "many"),
        (("runs", 0, "acquisition", "pixel_spacing_mm"), [0.1]),
        (("runs", 0, "overrides"), [{"label": "side", "verdict": "maybe"}]),
    ],
)
def test_a_wrong_report_is_refused(validator, a_report, place, value):
    wrong = copy.deepcopy(a_report)
    parent = wrong
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    assert not validator.is_valid(wrong)


def test_a_missing_field_is_refused(validator, a_report):
    del a_report["runs"][0]["notes"]
    assert not validator.is_valid(a_report)


def analyze_acquisition(report):
    from ClaireDSALib.pipeline.report import CaseReport

    acquisition = CaseReport.from_dict(report).runs[0].acquisition
    assert np.isfinite(acquisition.times_s).all()
    return acquisition
