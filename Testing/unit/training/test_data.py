"""Labelled pictures: reading, splits by patient, annotations and agreement, augmentation, outliers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ClaireDSALib.models.labels import NINE_LABELS, LabelSet, LabelSpec
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import NINE_LABEL_CHOICE
from ClaireDSALib.training import annotations
from ClaireDSALib.training.augment import AugmentSettings, augment, plain
from ClaireDSALib.training.samples import UNKNOWN, as_analysed, encode, load_simulated, to_cache
from ClaireDSALib.training.splits import patient_folds, split_patients
from ClaireDSALib.training.strange import strange_picture
from ClaireDSALib.training.user_table import read_rows
from Testing.unit.models.tiny_pictures import a_minip

VIEWS = ("linear", "ranked", "local")


@pytest.fixture
def a_set(tmp_path: Path) -> Path:
    """Six runs of three patients as the simulator writes them."""
    (tmp_path / "runs").mkdir()
    lines = []
    for k in range(6):
        name = f"runs/{k}.npz"
        np.savez_compressed(tmp_path / name, minip=a_minip((80, 80), seed=k))
        labels = {label.name: label.classes[k % len(label.classes)] for label in NINE_LABELS.labels}
        labels["circulation"] = None if k == 0 else labels["circulation"]
        split = ("train", "train", "validation")[k // 2]
        lines.append({"npz": name, "patient": f"p{k // 2}", "labels": labels, "vendor": "north", "split": split})
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_a_simulated_set_is_read_with_unknown_labels_left_open(a_set: Path) -> None:
    pictures = load_simulated(a_set, NINE_LABELS, size_px=64)
    assert pictures.images.shape == (6, 64, 64)
    assert pictures.images.dtype == np.uint16
    assert pictures.targets[0, NINE_LABELS.names.index("circulation")] == UNKNOWN
    assert pictures.targets[2, NINE_LABELS.names.index("projection")] == 2
    assert pictures.counts()["projection"] == {"ap": 2, "lateral": 2, "oblique": 2}
    assert set(pictures.groups) == {"north"}


def test_a_folder_without_an_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="claire-dsa simulate"):
        load_simulated(tmp_path, NINE_LABELS)


def test_a_class_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="no class 'sideways'"):
        encode({"projection": "sideways"}, NINE_LABELS)


def test_no_patient_stands_in_two_parts() -> None:
    patients = np.array([f"p{k % 23}" for k in range(200)])
    parts = split_patients(patients, (0.7, 0.2, 0.1), seed=3)
    assert sorted(np.concatenate(parts)) == list(range(200))
    owners = [set(patients[part]) for part in parts]
    assert len(set.union(*owners)) == sum(map(len, owners)) == 23


def test_every_picture_is_held_out_once() -> None:
    patients = np.array([f"p{k % 11}" for k in range(60)])
    folds = patient_folds(patients, 4, seed=0)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(60))
    for rest, held in folds:
        assert not set(patients[rest]) & set(patients[held])


def test_too_few_patients_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        split_patients(np.array(["a", "a"]), (0.5, 0.5))


def test_cohen_kappa_of_the_textbook_case() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.70, expected 0.50, kappa 0.40."""
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert annotations.cohen_kappa(first, second) == pytest.approx(0.4)


def test_fleiss_kappa_of_the_published_case() -> None:
    """Fleiss 1971 as in the usual worked example: 14 raters, 10 subjects, 5 classes, kappa 0.210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert annotations.fleiss_kappa(np.array(counts)) == pytest.approx(0.210, abs=5e-4)


def test_a_table_of_raters_becomes_pictures_conflicts_and_agreement(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.fromarray(a_minip((64, 64), seed=ord(name))).save(tmp_path / f"{name}.png")
    votes = {"a": ("left", "left"), "b": ("left", "right"), "c": ("right", "right")}
    rows = ["path,label,class,rater,patient"]
    rows += [f"{p}.png,side,{v},r{k},p{p}" for p, pair in votes.items() for k, v in enumerate(pair)]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    labels = LabelSet((LabelSpec("side", ("left", "right")),))
    pictures, conflicts, kappas = annotations.load_annotated(tmp_path / "table.csv", labels, size_px=64)
    assert pictures.targets.ravel().tolist() == [0, UNKNOWN, 1]
    assert [(c.path, c.settled) for c in conflicts] == [("b.png", None)]
    assert kappas["side"]["cohen_kappa"] == pytest.approx(0.4)
    assert pictures.patients.tolist() == ["pa", "pb", "pc"]


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("path\tlabel\nx\ty\n")
    with pytest.raises(ValueError, match=r"lacks the columns \['class', 'rater', 'patient'\]"):
        annotations.read_annotations(tmp_path / "table.tsv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,patient\n\xff\xfe,a\n", "is no table in UTF-8 text"),
        (b"path,patient\na.dcm," + b"x" * 200_000 + b"\n", "is no table in UTF-8 text"),
        (b"path\na.dcm\n", r"lacks the columns \['patient'\]"),
        (b"path,patient\na.dcm,p\nb.dcm\n", r"line 3: \['patient'\] is empty"),
        (b"", "lacks the columns"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_rows(tmp_path / "table.csv", ("path", "patient"), filled=("path", "patient"))


def test_tables_separated_by_tabs_are_known_by_their_ending(tmp_path: Path) -> None:
    (tmp_path / "table.TSV").write_text("\ufeffpath\tpatient\tnote\na, b.dcm\t p \t\n")
    assert read_rows(tmp_path / "table.TSV", ("path", "patient"), filled=("path",)) == [
        (2, {"path": "a, b.dcm", "patient": "p", "note": ""})
    ]


def test_augmented_pictures_are_views_between_zero_and_one_and_repeatable() -> None:
    cached = to_cache(a_minip((200, 200)), 96)
    made = [augment(cached, 64, np.random.default_rng(s), AugmentSettings(), VIEWS) for s in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0] - made[2]).max() > 0.05
    for seed in range(40):
        x = augment(cached, 64, np.random.default_rng(seed), AugmentSettings(), VIEWS)
        assert x.shape == (3, 64, 64)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        assert x.min() >= 0
        assert x.max() <= 1


def test_augmentation_never_swaps_left_and_right() -> None:
    """A picture dark on its left half stays dark on its left half."""
    half = np.full((96, 96), 60_000, np.uint16)
    half[:, :48] = 5_000
    for seed in range(60):
        x = augment(half, 64, np.random.default_rng(seed), AugmentSettings())[0]
        assert x[16:48, 8:24].mean() < x[16:48, 40:56].mean()


def test_a_cached_picture_at_inference_equals_the_picture_prepared_directly() -> None:
    from ClaireDSALib.models.preprocessing import prepare

    minip, spec = a_minip((192, 192)), InputSpec(size_px=96, views=VIEWS)
    direct, cached = prepare(minip, spec), plain(to_cache(minip, 192), spec)
    np.testing.assert_allclose(cached[0], direct[0], atol=0.02)
    np.testing.assert_allclose(cached[1], direct[1], atol=0.02)


def test_outlier_pictures_differ_and_fill_their_range() -> None:
    cerebral = to_cache(a_minip((128, 128)), 64)
    volume = np.random.default_rng(0).normal(0, 500, (30, 30, 30))
    made = [strange_picture(64, np.random.default_rng(s), cerebral=cerebral, volume=volume) for s in range(30)]
    assert {x.shape for x in made} == {(64, 64)}
    assert min(int(x.max()) for x in made) == 65535
    assert len({x.tobytes() for x in made}) == 30


def test_a_label_set_keeps_its_unseen_look_for_the_test_part(tmp_path: Path) -> None:
    from ClaireDSALib.training.label_set import LabelSetPlan, make_label_set

    plan = LabelSetPlan(tmp_path, patients=6, seed=11, runs=1, size_px=48)
    make_label_set(plan)
    first = (tmp_path / "index.jsonl").read_text()
    records = [json.loads(line) for line in first.splitlines()]
    runs = {r["npz"]: r for r in records}
    assert len(runs) == 6
    assert all(r["vendor"] != "east" for r in records if r["split"] != "test")
    assert [r["split"] for r in runs.values()] == ["train", "test", "train", "test", "test", "validation"]
    make_label_set(plan)
    assert (tmp_path / "index.jsonl").read_text() == first
    assert len(load_simulated(tmp_path, NINE_LABELS, size_px=48)) == len(records)
    with pytest.raises(ValueError, match="unknown vendor look 'mars'"):
        make_label_set(LabelSetPlan(tmp_path, unseen="mars"))


def test_an_unsubtracted_run_is_labelled_by_picture_and_only_the_subtracted_one_tells_motion(tmp_path: Path) -> None:
    from ClaireDSALib.training.label_set import LabelSetPlan, make_label_set

    make_label_set(LabelSetPlan(tmp_path, patients=2, seed=11, runs=4, size_px=48))
    records = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    twice = {r["npz"] for r in records if r["picture"] == "subtracted"}
    stored = {r["npz"]: r["labels"] for r in records if r["picture"] == "minip"}
    assert twice
    for r in records:
        if r["picture"] == "subtracted":
            assert stored[r["npz"]]["subtraction"] == "unsubtracted"
            assert stored[r["npz"]]["motion_artefact"] is None
            assert r["labels"]["subtraction"] == "subtracted"
            assert r["labels"]["motion_artefact"] in ("none", "mild", "severe")
            assert r["labels"]["device"] is None
        elif r["labels"]["subtraction"] == "subtracted":
            assert r["labels"]["device"] is None
    pictures = load_simulated(tmp_path, NINE_LABELS, size_px=48)
    read = as_analysed(pictures, NINE_LABEL_CHOICE)
    known = read.targets >= 0
    position = {name: k for k, name in enumerate(NINE_LABELS.names)}
    for row, name in enumerate(read.names):
        if name.endswith("#subtracted"):
            assert known[row, position["motion_artefact"]]
            assert not known[row, position["subtraction"]]
        elif name in twice:
            assert not known[row, position["contrast_fluid"]]
            assert known[row, position["subtraction"]]
        else:
            np.testing.assert_array_equal(read.targets[row], pictures.targets[row])
    pair = [k for k, name in enumerate(pictures.names) if name.split("#")[0] == sorted(twice)[0]]
    assert len(pair) == 2
    assert (pictures.images[pair[0]] != pictures.images[pair[1]]).mean() > 0.5
