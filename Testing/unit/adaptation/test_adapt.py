"""Adaptation end to end on two made-up sites: what it gains, what it refuses, how it goes on, what it writes."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.models.bundle import Bundle  # noqa: E402
from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle  # noqa: E402
from ClaireDSALib.models.classifier import load_classifier  # noqa: E402
from ClaireDSALib.models.networks import NineResNets, SharedTrunkClassifier, resnets  # noqa: E402
from ClaireDSALib.models.weights import load_network  # noqa: E402
from ClaireDSALib.training.adaptation import adapt as adapt_module  # noqa: E402
from ClaireDSALib.training.adaptation import guard, loop, parents  # noqa: E402
from ClaireDSALib.training.adaptation.adapt import SiteData, adapt_bundle, make_domains  # noqa: E402
from ClaireDSALib.training.adaptation.domains import Domains, split_labelled  # noqa: E402
from ClaireDSALib.training.adaptation.keeping import keeping  # noqa: E402
from ClaireDSALib.training.adaptation.look import measure_look, restyled  # noqa: E402
from ClaireDSALib.training.adaptation.loop import CHECKPOINT, Terms, train_domains  # noqa: E402
from ClaireDSALib.training.adaptation.measures import balanced_accuracies, mean_of  # noqa: E402
from ClaireDSALib.training.adaptation.methods import Task, class_shifts, run_method  # noqa: E402
from ClaireDSALib.training.adaptation.parents import LabelParent  # noqa: E402
from ClaireDSALib.training.adaptation.prepared import Prepared, prepare_pictures  # noqa: E402
from ClaireDSALib.training.adaptation.settings import METHODS, AdaptSettings  # noqa: E402
from ClaireDSALib.training.adaptation.sites import load_site, with_labels, without_labels  # noqa: E402
from ClaireDSALib.training.adaptation.statistics import features_of, with_statistics_of  # noqa: E402
from ClaireDSALib.training.drift import compare  # noqa: E402
from ClaireDSALib.training.samples import LabelledPictures  # noqa: E402
from Testing.unit.adaptation.two_sites import LABELS, SIDE, SPEC, hidden, site  # noqa: E402

QUICK = AdaptSettings(epochs=3, batch_size=16, learning_rate=4e-3)
ARGUMENTS = {"class_counts": [2, 2], "trunk": "tiny", "outlier_components": 8}


@pytest.fixture(scope="module")
def a_source_network() -> torch.nn.Module:
    torch.manual_seed(0)
    pictures = prepare_pictures(site(240, 0), SPEC)
    nothing = pictures.subset(np.zeros(0, int))
    domains = Domains(pictures, pictures, nothing, nothing, pictures, LABELS)
    settings = AdaptSettings(epochs=10, batch_size=24, learning_rate=1e-2)
    trained = train_domains(SharedTrunkClassifier(**ARGUMENTS), domains, settings, Terms(domain=False))
    network = with_statistics_of(trained.finished(0.0), pictures)
    network.outliers.fit(torch.from_numpy(features_of(network, pictures)))
    return network


@pytest.fixture(scope="module")
def a_bundle(a_source_network, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    with torch.no_grad():
        scores = a_source_network.outliers(torch.from_numpy(features_of(a_source_network, prepared(site(80, 5)))))
    return write_bundle(
        a_source_network,
        tmp_path_factory.mktemp("bundles") / "shapes",
        labels=LABELS,
        input_spec=SPEC,
        network_type="SharedTrunkClassifier",
        network_arguments=ARGUMENTS,
        description=BundleDescription(title="Shapes", description="Discs and bars.", training={"seed": 4}),
        outlier_threshold=float(torch.quantile(scores, 0.97)),
        onnx=False,
    )


def prepared(pictures: LabelledPictures) -> Prepared:
    return prepare_pictures(pictures, SPEC)


def domains_with(n_labelled: int) -> tuple[Domains, Prepared, Prepared]:
    """Domains, and the source pictures for training and validation with the target's look."""
    train, validation, there = site(160, 0), site(80, 1), site(120, 2, second=True)
    target = prepared(there)
    own, other = measure_look(train.images), measure_look(there.images)
    styled = [prepared(restyled(p, own, other)) for p in (train, validation)]
    labelled = target.subset(np.arange(n_labelled))
    unlabelled = prepared(without_labels(there))
    return (
        Domains(prepared(train), prepared(validation), labelled, target.subset(np.zeros(0, int)), unlabelled, LABELS),
        styled[0],
        styled[1],
    )


@pytest.mark.parametrize("method", ["adversarial", "look"])
def test_the_second_site_is_read_better_after_adaptation(a_source_network, method: str) -> None:
    domains, styled, _ = domains_with(30)
    test = prepared(site(160, 9, second=True))
    before = mean_of(balanced_accuracies(a_source_network, test, LABELS))
    after = run_method(method, Task(a_source_network, domains, QUICK, styled))
    assert mean_of(balanced_accuracies(after, test, LABELS)) > before + 0.05


def test_every_method_gives_a_network_and_changes_the_bundles_in_nothing(a_source_network) -> None:
    before = {k: v.clone() for k, v in a_source_network.state_dict().items()}
    domains, styled, _ = domains_with(12)
    quick = replace(QUICK, epochs=0.2)
    for method in METHODS:
        network = run_method(method, Task(a_source_network, domains, quick, styled))
        assert isinstance(network, SharedTrunkClassifier)
        assert not network.training
    assert all(torch.equal(before[k], v) for k, v in a_source_network.state_dict().items())
    without = replace(domains, labelled=domains.labelled.subset(np.zeros(0, int)))
    with pytest.raises(ValueError, match="needs labelled"):
        run_method("fine_tune", Task(a_source_network, without, quick))
    with pytest.raises(ValueError, match="unknown method"):
        run_method("magic", Task(a_source_network, without, quick))


def test_an_interrupted_adaptation_ends_as_if_it_had_not_been(a_source_network, tmp_path: Path, monkeypatch) -> None:
    domains, _, _ = domains_with(10)
    settings = replace(QUICK, epochs=0.8)
    whole = train_domains(a_source_network, domains, settings, Terms(), out=tmp_path / "whole")

    def interrupted(*given) -> None:
        original(*given)
        raise KeyboardInterrupt

    original = loop._look
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_look", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_domains(a_source_network, domains, settings, Terms(), out=tmp_path / "none")
    assert not (tmp_path / "none" / CHECKPOINT).exists()

    saves = []
    save = loop.LoopState.save

    def save_and_stop(state, path) -> None:
        save(state, path)
        saves.append(state.step)
        if len(saves) == 2:
            raise KeyboardInterrupt

    lines: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(loop.LoopState, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_domains(a_source_network, domains, settings, Terms(), out=tmp_path / "part")
    resumed = train_domains(a_source_network, domains, settings, Terms(), out=tmp_path / "part", report=lines.append)
    assert lines[0] == f"continuing at step {saves[1]} of 8"
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value, msg=key)


def test_a_training_ends_with_its_budget_and_a_call_again_does_not_exceed_it(a_source_network, tmp_path: Path) -> None:
    lines: list[str] = []
    settings, domains = replace(QUICK, epochs=50, max_minutes=1e-5), domains_with(10)[0]
    first = train_domains(a_source_network, domains, settings, Terms(), out=tmp_path, report=lines.append)
    assert lines[-1] == "the budget of 1e-05 min is used up after 1 of 500 steps"
    again = train_domains(a_source_network, domains, settings, Terms(), out=tmp_path, report=lines.append)
    assert lines[2:] == ["continuing at step 1 of 500", lines[1]]
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())


def test_few_labels_are_all_trained_on_and_many_leave_a_validation_of_other_patients() -> None:
    few, none = split_labelled(prepared(site(20, 0)), 0.25, 0)
    assert (len(few), len(none)) == (20, 0)
    many, kept = split_labelled(prepared(site(80, 0)), 0.25, 0)
    assert len(many) == 60
    assert not set(many.patients) & set(kept.patients)


def test_another_mix_of_cases_is_estimated(a_source_network) -> None:
    there = prepared(without_labels(site(200, 3, share_of_discs=0.85)))
    here = prepared(site(160, 0))
    nothing = here.subset(np.zeros(0, int))
    shape, height = class_shifts(
        Task(a_source_network, Domains(here, prepared(site(120, 1)), nothing, nothing, there, LABELS), QUICK)
    )
    assert shape.target[0] == pytest.approx(0.85, abs=0.12)
    assert height.target[0] == pytest.approx(0.5, abs=0.12)
    assert shape.source[0] == pytest.approx(0.5, abs=0.12)


def test_the_guard_accepts_a_gain_and_refuses_harm(a_source_network) -> None:
    domains, styled, styled_validation = domains_with(0)
    better = run_method("look", Task(a_source_network, domains, QUICK, styled))
    verdict = guard.judge(a_source_network, better, domains, styled_validation)
    assert verdict.accepted, verdict.sentence
    assert verdict.evidence.learnt == ("shape", "height")
    same = guard.judge(a_source_network, a_source_network, domains, styled_validation)
    assert not same.accepted
    assert "of no label that the bundle reads is a gain supported" in same.sentence
    with torch.no_grad():
        better.head.bias[0] += 100
    noise = guard.judge(a_source_network, better, domains, styled_validation)
    assert "shape" in noise.kept


NAMES = ("shape", "height")
GOOD = guard.Evidence(
    ("shape",), {"shape": -0.01, "height": -0.3}, {"shape": 0.1, "height": -0.3}, 1.0, 0.2, (), {"shape": 0.09}
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"restyled_low": {"shape": 0.079}}, "shape: change \\+0.100 with the target's look, lower bound \\+0.079"),
        ({"restyled_change": {"shape": 0.01}}, "mean gain is \\+0.010"),
        ({"source_change": {"shape": -0.16}}, "source pictures lost 0.160"),
        ({"distance_after": 1.1}, "did not come closer"),
        ({"vanished": (("shape", "shape bar vanished"),)}, "shape bar vanished"),
        ({"learnt": ()}, "reads no label"),
    ],
)
def test_one_broken_rule_refuses(change: dict, words: str) -> None:
    assert guard.decide(GOOD, NAMES).accepted
    verdict = guard.decide(replace(GOOD, **change), NAMES)
    assert not verdict.accepted
    assert verdict.sentence.startswith("refused, the bundle stays as it is")
    assert re.search(words, verdict.sentence)


def test_a_label_that_is_hardly_read_keeps_its_parents_output_unless_target_labels_teach_it() -> None:
    without = guard.decide(GOOD, NAMES)
    assert without.kept == {"height": "hardly read at the source"}
    assert "as the parent reads them stay height" in without.sentence
    assert guard.decide(GOOD, NAMES, ["height"]).kept == {}
    lost = replace(GOOD, learnt=NAMES)
    assert guard.decide(lost, NAMES, ["height"]).kept == {"height": "lost 0.300 with the target's look"}


def test_a_label_that_the_parent_reads_well_at_the_target_is_not_touched_for_the_sake_of_few_labels() -> None:
    unsure = replace(GOOD, restyled_low={"shape": 0.0}, source_before={"shape": 0.9})
    assert guard.decide(replace(unsure, target_before={"shape": 0.7}), NAMES, NAMES).kept == {}
    kept = guard.decide(replace(unsure, target_before={"shape": 0.89}), NAMES, NAMES).kept
    assert kept == {"shape": "balanced accuracy 0.890 on the labelled target runs as it is, 0.900 at the source"}
    supported = replace(GOOD, source_before={"shape": 0.9}, target_before={"shape": 0.89})
    assert guard.decide(supported, NAMES, NAMES).kept == {}


def test_kept_labels_are_read_as_the_parent_reads_them_and_the_others_as_adapted(a_source_network) -> None:
    domains, styled, _ = domains_with(0)
    adapted = run_method("look", Task(a_source_network, domains, replace(QUICK, epochs=0.5), styled))
    adapted.temperature.fill_(2.0)
    joined = keeping(a_source_network, adapted, ["height"], LABELS)
    again = keeping(joined, joined, ["shape"], LABELS)
    pictures = domains.unlabelled.tensor(np.arange(8))
    with torch.no_grad():
        parent, other = a_source_network(pictures), adapted(pictures)
        for network in (joined, again):
            torch.testing.assert_close(network(pictures)[:, 2:], parent[:, 2:])
            torch.testing.assert_close(network(pictures)[:, :2], other[:, :2])
        torch.testing.assert_close(joined.outliers.detector(joined.features(pictures)),
                                   a_source_network.outliers.detector(a_source_network.features(pictures)))  # fmt: skip
    assert joined.trunk_name == "tiny+tiny"
    assert again.trunk_name == "tiny+tiny+tiny+tiny"


def test_of_separate_networks_the_kept_labels_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    monkeypatch.setattr(resnets, "make_resnet", lambda *_: _drawn(tiny))
    parent, adapted = (NineResNets([2, 2], names=LABELS.names) for _ in range(2))
    joined = keeping(parent, adapted, ["shape"], LABELS)
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        first, second, found = (network.eval()(pictures) for network in (parent, adapted, joined))
    torch.testing.assert_close(found, torch.cat([first[:, :2], second[:, 2:]], 1))


def _drawn(network: torch.nn.Sequential) -> torch.nn.Sequential:
    found = copy.deepcopy(network)
    with torch.no_grad():
        found(torch.rand(1, 3, 32, 32))
        found[2].weight.normal_()
    return found


def test_a_bundle_whose_gain_is_supported_for_one_label_keeps_the_other(
    a_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt_module, "judge", lambda *_: guard.decide(GOOD, NAMES))
    data = SiteData(site(240, 0), hidden(site(64, 2, second=True), 0), site(80, 9, second=True))
    found = adapt_bundle(LabelParent(a_bundle), data, tmp_path, settings=replace(QUICK, epochs=0.5), name="half")
    assert found.bundle is not None
    test = found.measured["target test"]
    assert test["after"]["height"] == test["before"]["height"]
    assert found.bundle.network_arguments["trunk"] == "tiny+tiny"
    card = (found.bundle.folder / "docs" / "README.md").read_text()
    assert "read as the parent reads it: height (hardly read at the source)" in card
    pictures = torch.rand(3, 1, SIDE, SIDE)
    with torch.no_grad():
        first, second = (load_network(b)(pictures) for b in (a_bundle, found.bundle))
    torch.testing.assert_close(first[:, 2:], second[:, 2:])
    classifier = load_classifier(found.bundle.folder, device="cpu", engine="onnxruntime", confirmed=True)
    assert classifier.classify(site(1, 9).images[0].astype(float)).label("shape").predicted in ("disc", "bar")


def test_an_adapted_bundle_runs_and_tells_its_lineage(
    a_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "write_bundle", partial(parents.write_bundle, onnx=False))  # the other test has it
    data = SiteData(site(240, 0), hidden(site(120, 2, second=True), 60), site(80, 9, second=True))
    lines: list[str] = []
    found = adapt_bundle(
        LabelParent(a_bundle), data, tmp_path, method="look", settings=replace(QUICK, epochs=2), name="shapes_b",
        sources={"source": "first", "target": "second"}, report=lines.append,
    )  # fmt: skip
    assert found.accepted, found.reasons
    assert found.bundle is not None
    lineage = json.loads((found.bundle.folder / "configs" / "lineage.json").read_text())
    assert lineage["parent"] == {"name": "shapes", "version": a_bundle.version, "sha256": a_bundle.sha256}
    assert lineage["method"] == "look"
    assert lineage["data"]["labelled_target_runs"] == 60
    card = (found.bundle.folder / "docs" / "README.md").read_text()
    assert a_bundle.sha256 in card
    assert found.bundle.sha256 in card
    assert "target validation" in card
    assert "configs/lineage.json" in found.bundle.files
    test = found.measured["target test"]
    assert mean_of(test["after"]) > mean_of(test["before"])
    classifier = load_classifier(found.bundle.folder, device="cpu", engine="torch", confirmed=True)
    picture = site(4, 9, second=True).images[0].astype(float)
    assert classifier.classify(picture).label("shape").predicted in ("disc", "bar")
    assert load_network(found.bundle).outliers.variances.isfinite().all()


def test_without_labels_and_without_drift_the_bundle_stays_as_it_is(a_bundle: Bundle, tmp_path: Path) -> None:
    data = SiteData(site(240, 0), hidden(site(64, 7), 0))
    found = adapt_bundle(LabelParent(a_bundle), data, tmp_path, method="batch_norm", settings=QUICK)
    assert not found.accepted
    assert found.bundle is None
    assert found.reasons[0] == "no target labels"
    assert not list(tmp_path.rglob("metadata.json"))
    unsafe = adapt_bundle(LabelParent(a_bundle), data, tmp_path, method="adversarial", settings=QUICK)
    assert not unsafe.accepted
    assert "needs --target-labels" in unsafe.reasons[0]
    with pytest.raises(ValueError, match="at least 32 target runs"):
        adapt_bundle(LabelParent(a_bundle), SiteData(site(240, 0), hidden(site(8, 7), 0)), tmp_path)


def test_hidden_target_labels_are_not_used(a_bundle: Bundle) -> None:
    data = SiteData(site(240, 0), hidden(site(64, 7, second=True), 8))
    domains, _, _ = make_domains(LabelParent(a_bundle), data, QUICK)
    assert (domains.unlabelled.targets == -1).all()
    assert len(domains.labelled) == 8


def test_drift_is_seen_at_the_second_site_and_not_at_the_first(a_bundle: Bundle) -> None:
    source = site(240, 0)
    same, other = (compare(a_bundle, source, site(60, 7, second=s), n_suggest=6) for s in (False, True))
    assert same.severity == "none"
    assert same.labels_to_collect == 0
    assert other.severity == "strong"
    assert other.distance > same.distance
    assert any("advisable" in line for line in other.advice)
    assert len(other.suggestions) == 6
    assert other.strange[0].neighbours[0][0] in source.names
    json.dumps(other.to_dict())


@pytest.fixture
def a_folder_per_site(tmp_path: Path) -> dict[str, Path]:
    """Pictures on disk with a table for the source, loose files for the target, and a table of few target labels."""
    rows = ["path\tlabel\tclass\trater\tpatient"]
    for folder, pictures in (("a", site(96, 0)), ("b", site(40, 2, second=True))):
        (tmp_path / folder).mkdir()
        for k, image in enumerate(pictures.images):
            np.save(tmp_path / folder / f"run{k}.npy", image)
            if folder == "a":
                rows += [f"run{k}.npy\t{x.name}\t{x.classes[pictures.targets[k, i]]}\tr\tp{k // 4}"
                         for i, x in enumerate(LABELS.labels)]  # fmt: skip
    (tmp_path / "a" / "labels.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "b.tsv").write_text("\n".join([rows[0], *rows[1:25]]) + "\n")
    return {"source": tmp_path / "a" / "labels.tsv", "target": tmp_path / "b", "labels": tmp_path / "b.tsv"}


def test_a_folder_is_a_site_and_a_table_gives_its_labels(a_folder_per_site: dict[str, Path]) -> None:
    (a_folder_per_site["target"] / "broken.png").write_bytes(b"no picture")
    found = load_site(a_folder_per_site["target"], LABELS, size_px=SIDE)
    assert len(found.pictures) == 40
    assert "broken.png" in found.skipped[0]
    labelled, conflicts = with_labels(found.pictures, a_folder_per_site["labels"])
    assert (labelled.targets >= 0).all(axis=1).sum() == 12
    assert not conflicts
    stray = a_folder_per_site["labels"].with_name("stray.tsv")
    stray.write_text("path\tlabel\tclass\trater\tpatient\nelsewhere.npy\tshape\tdisc\tr\tp\n")
    with pytest.raises(ValueError, match="names no picture"):
        with_labels(found.pictures, stray)
    stray.write_text("path\tlabel\tclass\trater\tpatient\nrun0.npy\tmood\tgood\tr\tp\n")
    with pytest.raises(ValueError, match="mood"):
        with_labels(found.pictures, stray)


def test_the_command_adapts_and_compares(a_bundle: Bundle, a_folder_per_site: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke
    both = ["--bundle", str(a_bundle.folder), "--yes", "--source", str(a_folder_per_site["source"])]
    config = tmp_path / "settings.json"
    config.write_text(json.dumps({"epochs": 0.5, "batch_size": 16}))
    refused = run(
        app,
        ["adapt", *both, "--target", str(a_folder_per_site["target"]), "--out", str(tmp_path / "out"), "--json",
         "--target-labels", str(a_folder_per_site["labels"]), "--method", "prior", "--config", str(config)],
    )  # fmt: skip
    assert refused.exit_code == 3, refused.output
    assert json.loads(refused.stdout)["accepted"] is False
    template = tmp_path / "template.tsv"
    told = run(
        app,
        ["drift", *both, "--runs", str(a_folder_per_site["target"]), "--suggest", "5", "--template", str(template)],
    )
    assert told.exit_code == 0, told.output
    assert "label 5:" in told.stdout
    assert len(template.read_text().splitlines()) == 1 + 5 * 2
    unknown = run(app, ["drift", *both[:2], *both[3:], "--runs", str(a_folder_per_site["target"])])
    assert unknown.exit_code == 1
    assert "not in the catalogue" in unknown.stderr
