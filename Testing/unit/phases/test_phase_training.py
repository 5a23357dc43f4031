"""Only what names the phases is trained: it learns, the rest of the network stays, and people's tables are read."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from ClaireDSALib.models.bundle import read_metadata  # noqa: E402
from ClaireDSALib.models.networks.sequence_net import SequenceNet, SequenceNetConfig  # noqa: E402
from ClaireDSALib.training.phase_annotations import load_annotated_runs, phases_of_starts  # noqa: E402
from ClaireDSALib.training.phase_fit import PhaseFitSettings, check_runs, fit_phases  # noqa: E402
from ClaireDSALib.training.phase_train import train_phases  # noqa: E402
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle  # noqa: E402
from ClaireDSALib.training.sequence_examples import SequenceExample, pack  # noqa: E402
from ClaireDSALib.training.sequence_train import load_network  # noqa: E402

_SMALL = SequenceNetConfig(map_widths=(8, 8, 16, 16), frame_widths=(8, 8, 8), hidden=16)
_FAST = PhaseFitSettings(size_px=32, epochs=10, learning_rate=2e-2, batch_runs=4, versions=1)


def a_run(seed: int, n_frames: int = 12) -> SequenceExample:
    """A vessel that fills first, then tissue, then a second vessel: phases that a picture shows."""
    rng = np.random.default_rng(seed)
    borders = np.sort(rng.choice(np.arange(2, n_frames - 1), 3, replace=False))
    phases = np.searchsorted(borders, np.arange(n_frames), side="right").astype(np.int8)
    stack = np.zeros((n_frames, 32, 32))
    stack[phases == 1, :, 8:11] = 1.0
    stack[phases == 2] = 0.3
    stack[phases == 3, :, 22:26] = 0.9
    return SequenceExample(
        stack=pack(stack + rng.normal(0, 0.01, stack.shape)),
        times_s=np.arange(n_frames) * 0.5,
        phases=phases,
        thrombus=False,
        site=(np.nan, np.nan),
        territory=np.zeros((8, 8), np.uint8),
        patient=f"p{seed}",
        view="ap",
        site_name="unknown",
        pair=str(seed),
    )


@pytest.fixture
def network() -> SequenceNet:
    torch.manual_seed(3)
    return SequenceNet(_SMALL).eval()


@pytest.fixture(scope="module")
def runs() -> list[SequenceExample]:
    return [a_run(seed) for seed in range(10)]


@pytest.mark.parametrize("part", ["head", "recurrent"])
def test_phases_are_learnt_and_the_second_opinion_stays(part, network, runs, tmp_path):
    settings = dataclasses.replace(_FAST, part=part)
    before = check_runs(network, runs[8:], settings)
    others = {k: v.clone() for k, v in network.state_dict().items() if "phase_head" not in k}
    fit_phases(network, runs[:8], runs[8:], settings, tmp_path / "c.pt")
    after = check_runs(network, runs[8:], settings)
    assert after.loss < 0.85 * before.loss
    assert after.accuracy > before.accuracy
    same = [name for name, value in others.items() if torch.equal(value, network.state_dict()[name])]
    if part == "head":
        assert len(same) == len(others)
        np.testing.assert_array_equal(after.opinions, before.opinions)
    else:
        assert {name.split(".")[1] for name in set(others) - set(same)} == {"project", "gru"}
        np.testing.assert_allclose(after.opinions, before.opinions, atol=0.5)


def test_an_interrupted_training_ends_like_one_in_a_piece(runs, tmp_path):
    def trained(epochs, path):
        torch.manual_seed(3)
        network = SequenceNet(_SMALL).eval()
        return fit_phases(network, runs[:8], runs[8:], dataclasses.replace(_FAST, epochs=epochs), tmp_path / path)

    whole = trained(4, "whole.pt")
    trained(2, "parts.pt")
    said = []
    torch.manual_seed(3)
    again = SequenceNet(_SMALL).eval()
    settings = dataclasses.replace(_FAST, epochs=4)
    fit_phases(again, runs[:8], runs[8:], settings, tmp_path / "parts.pt", report=said.append)
    assert said[0] == "resumed after epoch 2"
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name], rtol=0, atol=0)


def test_a_training_that_helps_nobody_gives_the_network_it_started_from(network, runs, tmp_path):
    start = {k: v.clone() for k, v in network.state_dict().items()}
    spoilt = dataclasses.replace(_FAST, learning_rate=50.0, epochs=2)
    fit_phases(network, runs[:8], runs[8:], spoilt, tmp_path / "c.pt")
    for name, value in start.items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=0)


def test_the_written_bundle_keeps_the_verdict_and_records_its_parent(network, runs, tmp_path):
    write_sequence_bundle(network, tmp_path / "parent", size_px=32, threshold=0.41, temperature=1.0, version="7.8.9")
    said = []
    settings = {"epochs": 2, "learning_rate": 2e-2, "versions": 1}
    folder = train_phases(tmp_path / "parent", runs, tmp_path / "child", settings, report=said.append)
    section = read_metadata(folder)["sequence"]
    assert section["threshold"] == 0.41
    assert read_metadata(folder)["version"] == "7.8.9"
    parent, child = load_network(tmp_path / "parent"), load_network(folder)
    same = {k for k, v in parent.state_dict().items() if torch.equal(v, child.state_dict()[k])}
    assert set(parent.state_dict()) - same <= {"frames.phase_head.weight", "frames.phase_head.bias"}
    assert len(section["phase_training"]["parent_sha256"]) == 64
    assert read_metadata(folder)["data_source"].endswith("phases: prepared runs")
    train = [(tmp_path / name / "configs" / "train.json").read_text() for name in ("parent", "child")]
    assert train[0] == train[1]
    assert any("runs to train on" in line for line in said)


def test_one_patient_is_refused(network, runs, tmp_path):
    write_sequence_bundle(network, tmp_path / "parent", size_px=32, threshold=0.4, temperature=1.0)
    with pytest.raises(ValueError, match="at least two patients"):
        train_phases(tmp_path / "parent", runs[:1], tmp_path / "child")


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="must be one of"):
        PhaseFitSettings(part="cnn")


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        (["1", "3", "5", "6"], [0, 0, 1, 1, 2, 3, 3]),
        (["", "1", "", "4"], [1, 1, 1, 3, 3, 3, 3]),
        (["1", "", "", ""], [0] * 7),
    ],
)
def test_first_frames_become_a_phase_per_frame(starts, expected):
    assert phases_of_starts(starts, 7, "line 2").tolist() == expected


@pytest.mark.parametrize(
    "starts", [["", "", "", ""], ["2", "3", "", ""], ["1", "5", "4", ""], ["1", "9", "", ""], ["a"] * 4]
)
def test_tables_that_cannot_be_are_refused_with_their_line(starts):
    with pytest.raises(ValueError, match="line 4"):
        phases_of_starts(starts, 7, "table line 4")


def test_a_table_of_dicom_runs_is_prepared_as_inference_prepares_them(tmp_path):
    from Testing.benchmarks.phantom import write

    write(tmp_path / "one.dcm", compressed=False, n_frames=30, size=64)
    table = tmp_path / "phases.csv"
    table.write_text("path,patient,non_contrast,arterial,parenchymal,venous\none.dcm,p1,1,7,15,22\n")
    (example,), left_out = load_annotated_runs(table)
    assert left_out == []
    assert example.patient == "p1"
    assert len(example.stack) == len(example.phases) == len(example.times_s) <= 24
    assert example.phases[0] == 0
    assert example.phases[-1] == 3
    table.write_text("path,patient,arterial\none.dcm,p1,7\n")
    with pytest.raises(ValueError, match="lacks the columns"):
        load_annotated_runs(table)


def test_the_command_trains_on_a_table_and_refuses_with_one_sentence(network, tmp_path):
    from typer.testing import CliRunner

    from ClaireDSALib.cli.train import app
    from Testing.benchmarks.phantom import write

    write_sequence_bundle(network, tmp_path / "parent", size_px=32, threshold=0.4, temperature=1.0)
    write(tmp_path / "one.dcm", compressed=False, n_frames=20, size=64)
    table = tmp_path / "phases.csv"
    lines = [f"one.dcm,{patient},1,7,12,16" for patient in ("p1", "p2")]
    table.write_text("\n".join(["path,patient,non_contrast,arterial,parenchymal,venous", *lines]))
    options = ["--bundle", str(tmp_path / "parent"), "--out", str(tmp_path / "child"), "--epochs", "1"]
    done = CliRunner().invoke(app, ["phases", "--annotated", str(table), *options])
    assert done.exit_code == 0, done.output
    assert read_metadata(tmp_path / "child")["sequence"]["size_px"] == 32

    missing = CliRunner().invoke(app, ["phases", "--annotated", str(tmp_path / "no.csv"), *options])
    assert missing.exit_code == 1
    assert missing.output.startswith("Refused: ")
    neither = CliRunner().invoke(app, ["phases", *options])
    assert neither.exit_code == 2
    assert "--data FOLDER or --annotated" in neither.output
