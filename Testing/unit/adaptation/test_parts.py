"""Sampler, losses, class shares, looks and statistics of an adaptation, each against what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.networks import NineResNets, SharedTrunkClassifier  # noqa: E402
from ClaireDSALib.training.adaptation import losses, priors  # noqa: E402
from ClaireDSALib.training.adaptation.look import measure_look, restyled  # noqa: E402
from ClaireDSALib.training.adaptation.measures import accuracies_of, feature_distance  # noqa: E402
from ClaireDSALib.training.adaptation.parts import AdaptableNetwork  # noqa: E402
from ClaireDSALib.training.adaptation.prepared import Prepared, jittered, prepare_pictures  # noqa: E402
from ClaireDSALib.training.adaptation.sampler import DomainSampler  # noqa: E402
from ClaireDSALib.training.adaptation.settings import PRESETS, AdaptSettings  # noqa: E402
from ClaireDSALib.training.adaptation.statistics import with_statistics_of  # noqa: E402
from ClaireDSALib.training.adaptation.support import change_bounds  # noqa: E402
from Testing.unit.adaptation.two_sites import LABELS, SPEC, site  # noqa: E402


def a_sampler(**changes: object) -> DomainSampler:
    given = {"batch_size": 8, "labelled_batch": 1, "seed": 3} | changes
    return DomainSampler(40, 3, 20, **given)  # type: ignore[arg-type]


def test_an_epoch_shows_every_source_picture_once_and_repeats_the_few_labelled_ones() -> None:
    sampler = a_sampler()
    draws = [sampler.at(step) for step in range(sampler.steps_per_epoch)]
    assert sampler.steps_per_epoch == 5
    assert sorted(np.concatenate([d.source for d in draws])) == list(range(40))
    assert [len(d.labelled) for d in draws] == [1] * 5
    assert sorted(np.concatenate([sampler.at(s).labelled for s in range(3)])) == [0, 1, 2]
    assert np.bincount(np.concatenate([d.unlabelled for d in draws])).tolist() == [2] * 20


def test_a_step_is_drawn_alike_whenever_it_is_asked_for() -> None:
    first, again, other = (a_sampler(seed=s).at(7) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.source, other.source)


def test_weighted_source_pictures_come_as_often_as_their_weight() -> None:
    weights = np.where(np.arange(40) < 20, 3.0, 1.0)
    sampler = a_sampler(source_weights=weights, batch_size=400)
    share = (np.concatenate([sampler.at(s).source for s in range(20)]) < 20).mean()
    assert share == pytest.approx(0.75, abs=0.03)


def test_a_domain_without_pictures_has_an_empty_stream() -> None:
    draw = DomainSampler(5, 0, 0, batch_size=2, labelled_batch=1).at(0)
    assert [len(part) for part in draw] == [2, 0, 0]
    with pytest.raises(ValueError, match="source pictures"):
        DomainSampler(0, 1, 1, batch_size=2, labelled_batch=1)


def test_the_loss_has_three_parts_with_the_published_weight() -> None:
    zero = torch.zeros((4, 2))
    domain = losses.DomainLogits(zero, zero[:1], zero)
    parts = losses.three_part_loss(torch.tensor(2.0), torch.tensor(3.0), domain, domain_weight=0.1)
    assert float(parts.domain) == pytest.approx(3 * math.log(2))
    assert float(parts.total) == pytest.approx(5 + 0.3 * math.log(2))


def test_source_is_domain_zero_and_target_domain_one() -> None:
    sure_of_source = torch.tensor([[10.0, -10.0]])
    assert float(losses.domain_loss(sure_of_source, losses.SOURCE)) < 1e-6
    assert float(losses.domain_loss(sure_of_source, losses.TARGET)) == pytest.approx(20, abs=1e-3)
    assert float(losses.domain_loss(sure_of_source[:0], losses.TARGET)) == 0
    both = torch.tensor([[0.0, 0.0], [10.0, -10.0]])
    weighted = losses.domain_loss(both, losses.SOURCE, torch.tensor([0.0, 2.0]))
    assert float(weighted) < 1e-6


def test_unknown_labels_count_for_nothing_and_rare_classes_for_more() -> None:
    logits = torch.zeros((3, 4), requires_grad=True)
    targets = torch.tensor([[0, -1], [0, -1], [1, -1]])
    losses.label_cross_entropy(logits, targets, (2, 2)).backward()
    assert (logits.grad[:, 2:] == 0).all()
    weights = losses.inverse_shares(targets, (2, 2))
    assert weights[0].tolist() == pytest.approx([0.75, 1.5])
    assert weights[1].tolist() == [1, 1]
    assert float(losses.label_cross_entropy(logits.detach(), torch.full((3, 2), -1), (2, 2))) == 0


def test_expectation_maximisation_and_confusion_find_the_true_shares() -> None:
    rng = np.random.default_rng(0)
    source, target = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])

    def looked_at(share: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.choice(3, n, p=share)
        x = np.array([[0, 0], [2, 0], [0, 2]])[truth] + rng.standard_normal((n, 2))
        density = np.exp(-0.5 * ((x[:, None] - np.array([[0, 0], [2, 0], [0, 2]])) ** 2).sum(axis=2))
        p = density * source
        return truth, p / p.sum(axis=1, keepdims=True)

    (truth, seen), (_, there) = looked_at(source, 4000), looked_at(target, 4000)
    np.testing.assert_allclose(priors.em_shares(there, source), target, atol=0.04)
    found = priors.bbse_shares(there.argmax(axis=1), truth, seen.argmax(axis=1), 3)
    np.testing.assert_allclose(found, target, atol=0.05)
    guess = rng.integers(0, 3, 4000)
    assert priors.bbse_shares(guess, truth, rng.integers(0, 3, 4000), 3) is None


def test_corrected_probabilities_sum_to_one_and_follow_the_shares() -> None:
    p = priors.corrected(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    np.testing.assert_allclose(p, [[0.9, 0.1]])


def test_importance_turns_the_sources_shares_into_the_targets() -> None:
    targets = np.array([[0]] * 80 + [[1]] * 20 + [[-1]] * 5)
    weight = priors.importance(targets, [np.array([0.8, 0.2])], [np.array([0.5, 0.5])])
    known = targets[:, 0] >= 0
    assert weight.mean() == pytest.approx(1)
    assert weight[targets[:, 0] == 1].sum() / weight[known].sum() == pytest.approx(0.5)


def test_a_restyled_domain_has_the_tone_sharpness_and_frame_of_the_other() -> None:
    a, b = site(120, 0), site(120, 1, second=True)
    framed = b.images.copy()
    framed[:, :3] = 0
    look_a, look_b = measure_look(a.images), measure_look(framed)
    before = a.images.copy()
    made = restyled(a, look_a, look_b)
    again = measure_look(made.images)
    tone = [np.abs(x.quantiles - look_b.quantiles).mean() for x in (look_a, again)]
    power = [np.abs(x.log_spectrum - look_b.log_spectrum)[1:15].mean() for x in (look_a, again)]
    assert tone[1] < 0.35 * tone[0]
    assert power[1] < 0.5 * power[0]
    assert (made.images[:, :3] == 0).all()
    assert np.array_equal(made.targets, a.targets)
    assert np.array_equal(a.images, before)
    with pytest.raises(ValueError, match="at least 8"):
        measure_look(a.images[:4])


def test_movements_are_small_and_repeatable() -> None:
    pictures = prepare_pictures(site(8, 0), SPEC)
    batch = pictures.tensor(np.arange(8))
    first, again, other = (jittered(batch, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == batch.shape
    assert float((first - batch).abs().mean()) < 0.2


@pytest.mark.parametrize("kind", ["shared", "nine"])
def test_every_label_network_starts_adaptation_with_its_own_answers(kind: str) -> None:
    torch.manual_seed(0)
    network = SharedTrunkClassifier([2, 2], trunk="tiny") if kind == "shared" else NineResNets([2, 2])
    pictures = torch.rand(2, 1, 32, 32)
    model = AdaptableNetwork(network, 8).eval()
    streams = model(pictures, 1.0)
    with torch.no_grad():
        logits = network.eval().logits(pictures)
        torch.testing.assert_close(streams.source, logits)
        torch.testing.assert_close(streams.target, logits)
        model.target_head[0].bias += 1
        torch.testing.assert_close(model.finished(0.0).logits(pictures), logits)
        mean = model.finished(0.5).logits(pictures)
    head = slice(0, 4) if kind == "shared" else slice(0, 2)
    torch.testing.assert_close(mean[:, head], logits[:, head] + 0.5)
    assert streams.domain.shape == (2, 2)
    with pytest.raises(TypeError, match="label networks and the quality network"):
        AdaptableNetwork(torch.nn.Linear(1, 1))


def test_statistics_are_those_of_the_new_pictures_and_weights_stay() -> None:
    torch.manual_seed(0)
    network = SharedTrunkClassifier([2, 2], trunk="tiny").eval()
    network.outliers.variances.fill_(1.0)  # unset they are NaN, which equals nothing
    pictures = prepare_pictures(site(64, 1, second=True), SPEC)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    there = with_statistics_of(network, pictures)
    norm = there.trunk.stem[0][1]
    with torch.no_grad():
        x = (pictures.tensor(np.arange(64)) - there.mean) / there.std
        seen = there.trunk.stem[0][0](x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)
    assert norm.momentum == 0.01
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(there.trunk.stem[0][0].weight, before["trunk.stem.0.0.weight"])


def test_balanced_accuracy_leaves_out_labels_with_one_class() -> None:
    targets = np.array([[0, 1], [0, 1], [1, 1], [1, -1]])
    logits = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0]], float)
    assert accuracies_of(logits, targets, LABELS) == {"shape": 0.75}


def test_the_bound_of_a_change_is_nothing_for_no_change_and_wide_for_few_patients() -> None:
    targets = np.tile([[0, 0], [1, 1]], (40, 1))
    right = np.stack([targets[:, 0] == 0, targets[:, 0] == 1, targets[:, 1] == 0, targets[:, 1] == 1], 1).astype(float)
    wrong = right.copy()
    wrong[:8, :2] = wrong[:8, 1::-1]  # a tenth of the pictures

    def bounds(patients: list[int]) -> dict[str, float]:
        pictures = Prepared(np.zeros((80, 1, 1, 1), np.uint8), targets, np.array(patients).astype(str))
        return change_bounds(wrong, right, pictures, LABELS)

    each_its_own, two_patients = bounds(list(range(80))), bounds([k // 40 for k in range(80)])
    assert each_its_own["height"] == 0
    assert 0.03 < each_its_own["shape"] < 0.1
    assert two_patients["shape"] == 0, "both draws may be the patient without a change"


def test_the_feature_distance_is_one_for_means_a_spread_apart() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 6))
    assert feature_distance(x, x) == 0
    assert feature_distance(x, x + 1) == pytest.approx(1, abs=0.05)


def test_settings_come_back_from_json_and_the_published_numbers_are_a_preset() -> None:
    published = PRESETS["published"]
    assert AdaptSettings.from_dict(published.to_dict()) == published
    assert (published.batch_size, published.labelled_batch, published.epochs) == (8, 1, 20)
    assert (published.learning_rate, published.weight_decay, published.domain_weight) == (1e-4, 1e-4, 0.1)
    with pytest.raises(ValueError, match="unknown adaptation settings"):
        AdaptSettings.from_dict({"epoch": 1})
    with pytest.raises(ValueError, match="above zero"):
        AdaptSettings(epochs=0)
