"""The classifier: labels, maps, engines, invariances, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.bundle import Bundle  # noqa: E402
from ClaireDSALib.models.classifier import Classifier, load_classifier  # noqa: E402
from ClaireDSALib.models.errors import ImageRefusedError, UnconfirmedBundleError  # noqa: E402
from Testing.unit.models.tiny_pictures import a_minip  # noqa: E402

ENGINES = ("onnxruntime", "torch")


def probabilities(result) -> np.ndarray:
    return np.concatenate([label.probabilities for label in result.labels])


@pytest.fixture(scope="session", params=ENGINES)
def a_classifier(request: pytest.FixtureRequest, a_tiny_bundle: Bundle) -> Classifier:
    return load_classifier(a_tiny_bundle.folder, device="cpu", engine=request.param, confirmed=True)


def test_nine_labels_with_probabilities_that_sum_to_one(a_classifier: Classifier) -> None:
    result = a_classifier.classify(a_minip())
    assert [label.name for label in result.labels] == list(a_classifier.bundle.labels.names)
    assert len(result.labels) == 9
    for label in result.labels:
        assert sum(label.probabilities) == pytest.approx(1, abs=1e-6)
        assert label.predicted in label.classes


def test_the_network_is_not_indifferent_to_the_picture(a_classifier: Classifier) -> None:
    first, second = (probabilities(a_classifier.classify(a_minip(seed=s))) for s in (1, 2))
    assert np.abs(first - second).max() > 0.01


def test_both_engines_agree_within_a_thousandth(a_tiny_bundle: Bundle) -> None:
    results = [
        load_classifier(a_tiny_bundle.folder, device="cpu", engine=e, confirmed=True).classify(a_minip())
        for e in ENGINES
    ]
    np.testing.assert_allclose(probabilities(results[0]), probabilities(results[1]), atol=1e-3)
    for name, maps in results[0].cams.items():
        for cls, cam in maps.items():
            np.testing.assert_allclose(cam, results[1].cams[name][cls], atol=1e-3)
    scores = [r.out_of_distribution.score for r in results]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_the_cpu_takes_onnxruntime_by_itself(a_tiny_bundle: Bundle) -> None:
    classifier = load_classifier(a_tiny_bundle.folder, device="cpu", confirmed=True)
    assert (classifier.engine, classifier.device) == ("onnxruntime", "cpu")


def test_onnxruntime_needs_no_torch(a_tiny_bundle: Bundle) -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np;"
        "from ClaireDSALib.models.classifier import load_classifier;"
        f"c = load_classifier({str(a_tiny_bundle.folder)!r}, confirmed=True);"
        "r = c.classify(np.random.default_rng(0).random((200, 200)));"
        "assert len(r.labels) == 9;"
        "loaded = {'torch', 'monai', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_there_is_a_map_for_every_class_of_every_label(a_classifier: Classifier, method: str) -> None:
    result = a_classifier.classify(a_minip(), cam_method=method)
    for label in result.labels:
        assert set(result.cams[label.name]) == set(label.classes)
        for cam in result.cams[label.name].values():
            assert cam.dtype == np.float32
            assert cam.shape == (6, 6)
            assert np.isfinite(cam).all()
    low, high = result.cam_display_range
    assert low == 0
    assert high == pytest.approx(max(c.max() for m in result.cams.values() for c in m.values()))


def test_maps_can_be_left_out(a_classifier: Classifier) -> None:
    assert a_classifier.classify(a_minip(), cam_method="none").cams == {}


def test_bit_depth_and_offset_do_not_matter(a_classifier: Classifier) -> None:
    minip = a_minip()
    expected = probabilities(a_classifier.classify(minip))
    for version in (minip.astype(np.float64), minip.astype(np.uint16) * 16, minip.astype(np.float32) / 4095 - 3):
        np.testing.assert_allclose(probabilities(a_classifier.classify(version)), expected, atol=2e-3)


def test_polarity_does_not_matter_when_it_is_told(a_classifier: Classifier) -> None:
    minip = a_minip()
    expected = probabilities(a_classifier.classify(minip))
    turned = probabilities(a_classifier.classify(4095 - minip, contrast="bright"))
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_the_input_is_not_changed(a_classifier: Classifier) -> None:
    minip = a_minip()
    before = minip.copy()
    a_classifier.classify(minip)
    np.testing.assert_array_equal(minip, before)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((1, 1), np.uint8), "32 to 8192 px"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "20000x20000"),
        (np.full((256, 256), 7, np.uint16), "constant"),
        (np.full((256, 256), np.nan, np.float32), "not finite"),
        (np.zeros((256, 256, 3), np.uint8), "grey picture"),
    ],
)
def test_what_is_no_minip_is_refused_with_one_sentence(a_classifier: Classifier, image: np.ndarray, words: str) -> None:
    with pytest.raises(ImageRefusedError, match=words) as caught:
        a_classifier.classify(image)
    assert "\n" not in str(caught.value)


def test_a_bundle_unknown_to_the_catalogue_needs_confirmation(a_tiny_bundle: Bundle, a_home: Path) -> None:
    with pytest.raises(UnconfirmedBundleError, match="configs are code"):
        load_classifier(a_tiny_bundle.folder)


def test_an_unknown_name_lists_the_known_ones(a_home: Path) -> None:
    with pytest.raises(KeyError, match="no model 'nothing'"):
        load_classifier("nothing")


def test_the_hash_and_version_travel_with_the_result(a_classifier: Classifier, a_tiny_bundle: Bundle) -> None:
    result = a_classifier.classify(a_minip())
    assert (result.sha256, result.version) == (a_tiny_bundle.sha256, "0.1.0")
    assert result.engine == a_classifier.engine


def test_cuda_asked_for_but_absent_is_an_error(a_tiny_bundle: Bundle) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="no CUDA device"):
        load_classifier(a_tiny_bundle.folder, device="cuda", confirmed=True)


def test_the_same_picture_gives_the_same_bytes(a_tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(a_tiny_bundle.folder, tmp_path / "copy")
    first, second = (
        load_classifier(f, device="cpu", confirmed=True).classify(a_minip()) for f in (copy, a_tiny_bundle.folder)
    )
    assert first.labels == second.labels
