"""A quality bundle from training to report: files, choices, refusals, and the fast path of an analysis."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="writing a quality bundle needs torch")
pytest.importorskip("onnxruntime", reason="a quality bundle runs in onnxruntime")

from ClaireDSALib.models.errors import BundleError, ImageRefusedError  # noqa: E402
from ClaireDSALib.models.networks.quality_net import QualityNet  # noqa: E402
from ClaireDSALib.models.quality_input import GRADES, WORK_PX, prepare_quality  # noqa: E402
from ClaireDSALib.models.quality_reader import QualityReader  # noqa: E402
from ClaireDSALib.pipeline.analyze import analyze  # noqa: E402
from ClaireDSALib.pipeline.model_set import ModelSet  # noqa: E402
from ClaireDSALib.pipeline.report import CaseReport  # noqa: E402
from ClaireDSALib.pipeline.settings import Settings  # noqa: E402
from ClaireDSALib.training.quality_bundle import set_quality_choices, write_quality_bundle  # noqa: E402
from ClaireDSALib.training.quality_train import choose_masks_anew  # noqa: E402

TINY = {"channels": (8, 8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": 2}
_NO_OTHERS = {"label_bundle": "none", "vessel_bundle": "none", "thrombus_bundle": "none", "maps": False}


@pytest.fixture(scope="module")
def a_network():
    torch.manual_seed(1)
    return QualityNet(**TINY).eval()


@pytest.fixture(scope="module")
def a_bundle(a_network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf") / "tiny_quality"
    write_quality_bundle(a_network, folder, network_arguments=TINY)
    return folder


@pytest.fixture
def an_opacity():
    return np.random.default_rng(3).random((300, 200)).astype(np.float32)


def test_the_bundle_says_what_the_network_says(a_bundle, a_network, an_opacity):
    prepared = prepare_quality(an_opacity)
    with torch.no_grad():
        own = a_network(torch.from_numpy(prepared.image))
    found = QualityReader(a_bundle).read(an_opacity)
    assert found.probabilities == pytest.approx(own.quality[0].softmax(0).tolist(), abs=1e-4)
    assert found.vessels == pytest.approx(prepared.to_run(own.vessels[0].sigmoid().numpy())[0], abs=0.02)


def test_answers_have_the_size_of_the_run_and_chances_sum_to_one(a_bundle, an_opacity):
    found = QualityReader(a_bundle).read(an_opacity)
    assert found.vessels.shape == found.mask().shape == an_opacity.shape
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.grade == GRADES[int(np.argmax(found.probabilities))]


def test_nothing_is_found_outside_the_collimator(a_bundle, an_opacity):
    region = np.zeros(an_opacity.shape, bool)
    region[50:200, 40:160] = True
    set_quality_choices(a_bundle, threshold=1e-6)
    mask = QualityReader(a_bundle).read(an_opacity, region).mask()
    set_quality_choices(a_bundle, threshold=0.5)
    assert mask[region].any()
    assert not mask[~region].any()


@pytest.mark.parametrize("shape", [(512, 512), (1024, 768), (100, 333)])
def test_every_picture_becomes_one_square_with_background_beside_it(shape):
    prepared = prepare_quality(np.random.default_rng(0).random(shape).astype(np.float32) + 0.5)
    height, width = prepared.work_shape
    assert prepared.image.shape == (1, 1, WORK_PX, WORK_PX)
    assert max(height, width) == WORK_PX
    assert prepared.image[0, 0, :height, :width].min() > 0
    assert not prepared.image[0, 0, height:].any()
    assert not prepared.image[0, 0, :, width:].any()


@pytest.mark.parametrize("picture", [np.zeros((64, 64), np.float32), np.ones((16, 16), np.float32)])
def test_a_picture_that_cannot_be_read_is_refused(a_bundle, picture):
    with pytest.raises(ImageRefusedError):
        QualityReader(a_bundle).read(picture)


def test_a_bundle_of_another_kind_is_refused(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps({"version": "1"}))
    with pytest.raises(BundleError, match="is no quality bundle"):
        QualityReader(tmp_path)


def test_a_choice_that_the_bundle_does_not_have_is_refused(a_bundle):
    with pytest.raises(ValueError, match=r"no entries \['colour'\]"):
        set_quality_choices(a_bundle, colour="red")


def _models(folder):
    return ModelSet(load_quality_reader=lambda _bundle, *, device: QualityReader(folder))


def test_the_report_grades_the_picture_and_survives_its_json(a_bundle, a_series):
    result = analyze([a_series], Settings(quality_bundle="tiny", **_NO_OTHERS), models=_models(a_bundle))
    run = result.report.runs[0]
    assert run.quality.grade in GRADES
    assert run.quality.probabilities[run.quality.grade] == max(run.quality.probabilities.values())
    assert "classical" in run.vessels.method
    assert CaseReport.from_json(result.report.to_json()) == result.report


def test_the_fast_path_takes_its_vessels_from_the_same_pass(a_bundle, a_series):
    settings = Settings(quality_bundle="tiny", fast=True, **_NO_OTHERS)
    result = analyze([a_series], settings, models=_models(a_bundle))
    own = QualityReader(a_bundle).read(result.arrays["injected"]["opacity"])
    assert result.report.runs[0].vessels.method == "fast network (tiny)"
    assert np.array_equal(result.arrays["injected"]["vessels"], own.mask())
    assert [m.task for m in result.report.provenance.models] == ["quality"]


def test_a_fast_path_without_its_bundle_says_whose_vessels_they_are(a_series):
    settings = Settings(quality_bundle="none", fast=True, **_NO_OTHERS)
    run = analyze([a_series], settings).report.runs[0]
    assert run.quality is None
    assert any("fast path" in note and "classical" in note for note in run.notes)


def _a_set(folder, contrast):
    """Two validation runs whose vessel is a bar, written as a simulated set is."""
    (folder / "runs").mkdir(parents=True)
    lines = []
    for number in range(2):
        vessels = np.zeros((3, 96, 96), bool)
        vessels[0, 10:80, 30 + 20 * number : 36 + 20 * number] = True
        peak = (0.5 * vessels[0] + np.random.default_rng(number).normal(0, 0.01, (96, 96))).astype(np.float16)
        name = f"runs/{number}.npz"
        np.savez(folder / name, peak=peak, region=np.ones((96, 96), bool), vessels=vessels)
        quality = {"artefact": 0.0, "noise": 0.01, "contrast_to_noise": 50.0, "score": 1.0}
        facts = {"quality": quality, "labels": {"contrast_fluid": contrast}, "motion": "none", "contrast": True}
        lines.append(json.dumps({"npz": name, "patient": str(number), "split": "validation"} | facts))
    (folder / "index.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_masks_are_chosen_anew_and_nothing_else(a_bundle, tmp_path):
    bundle, said = shutil.copytree(a_bundle, tmp_path / "tiny_quality"), []
    before = json.loads((bundle / "configs" / "metadata.json").read_text())["quality"]
    choose_masks_anew(_a_set(tmp_path / "set", "present"), bundle, report=said.append)
    after = json.loads((bundle / "configs" / "metadata.json").read_text())["quality"]
    assert "2 suitable validation runs" in said[0]
    assert {key for key in after if after[key] != before[key]} == {"threshold", "cleaning"}
    assert set(after["cleaning"]) == {"smallest_fraction", "seed"}
    for file in (a_bundle / "models").iterdir():
        assert file.read_bytes() == (bundle / "models" / file.name).read_bytes(), file.name


def test_masks_are_not_chosen_on_runs_without_vessels(a_bundle, tmp_path):
    with pytest.raises(ValueError, match="suitable validation runs"):
        choose_masks_anew(_a_set(tmp_path / "set", "absent"), a_bundle)
