"""Five-fold cross-validation of thrombus networks by patient; the folds' outputs go to files and are scored from there.

Every fold trains one network per view (the paper's design) or one for both (ours), steered by its left-out patients,
and is applied to the same test patients; the ensemble is the equal-weight mean of the folds. An interrupted
cross-validation continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.sequence_assessable import assessable
from ClaireDSALib.training.sequence_examples import SequenceExample
from ClaireDSALib.training.sequence_mittmann_fit import MittmannFitSettings
from ClaireDSALib.training.sequence_outputs import (
    FoldOutputs,
    Score,
    read_outputs,
    score_ensemble,
    threshold_for_mcc,
    write_outputs,
)
from ClaireDSALib.training.splits import patient_folds

VIEWS = {"frontal": "ap", "lateral": "lateral"}
"""The paper's names of the views and ours."""

Recipe = Callable[[Sequence[SequenceExample], Sequence[SequenceExample], Path], Callable[[SequenceExample], float]]
"""``recipe(train, validation, checkpoint)`` trains and returns a function from a run to its sigmoid output."""


def cross_validate(
    examples: Sequence[SequenceExample],
    test: Sequence[SequenceExample],
    recipe: Recipe,
    out: Path,
    *,
    folds: int = 5,
    separate_views: bool = True,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> list[Score]:
    """Train every fold, write ``output_fold_{k}.json`` (left-out) and ``output_fold_{k}_test.json``, and score.

    Parameters
    ----------
    examples, test : sequence of SequenceExample
        Pairs to split by patient, and pairs of other patients. Runs that are not assessable are left out of both.
    recipe : callable
        See ``Recipe``.
    out : Path
        Folder for checkpoints and outputs.
    folds, seed : int
    separate_views : bool
        One network per view.
    report : callable

    Returns
    -------
    list of Score
        Of the ensemble on ``test``; the threshold is the best for MCC on the left-out pairs of all folds.
    """
    examples, test = ([e for e, ok in zip(x, assessable(x), strict=True) if ok] for x in (examples, test))
    patients = np.array([e.patient for e in examples])
    for number, (inside, left_out) in enumerate(patient_folds(patients, folds, seed), 1):
        files = out / f"output_fold_{number}.json", out / f"output_fold_{number}_test.json"
        if all(f.exists() for f in files):
            report(f"fold {number} of {folds} is there")
            continue
        report(f"fold {number} of {folds}: {len(inside)} runs to train on, {len(left_out)} left out")
        train, held_out = [examples[i] for i in inside], [examples[i] for i in left_out]
        predictors = _trained(train, held_out, recipe, out, number, separate_views=separate_views)
        for path, runs in zip(files, (held_out, test), strict=True):
            write_outputs(path, paired(runs, predictors))
    return scores(out, folds)


def scores(out: Path, folds: int) -> list[Score]:
    """Scores of outputs that lie in a folder."""
    left_out = [read_outputs(out / f"output_fold_{k}.json") for k in range(1, folds + 1)]
    tested = [read_outputs(out / f"output_fold_{k}_test.json") for k in range(1, folds + 1)]
    return score_ensemble(tested, (threshold_for_mcc(left_out),))


def spread_over_folds(out: Path, folds: int) -> str:
    """Mean and standard deviation over the folds, each scored on the test pairs at the threshold of :func:`scores`."""
    left_out = [read_outputs(out / f"output_fold_{k}.json") for k in range(1, folds + 1)]
    threshold = threshold_for_mcc(left_out)
    tested = [read_outputs(out / f"output_fold_{k}_test.json") for k in range(1, folds + 1)]
    by_fold = [{one.name: (one.mcc, one.auc[0]) for one in score_ensemble([fold], (threshold,))} for fold in tested]
    lines = []
    for name in by_fold[0]:
        mcc, auc = np.array([fold[name] for fold in by_fold]).T
        lines.append(
            f"{name}: MCC {mcc.mean():.2f} (SD {mcc.std(ddof=1):.2f}), AUC {auc.mean():.2f} (SD {auc.std(ddof=1):.2f})"
        )
    return f"Single folds, mean of {folds}: " + "; ".join(lines)


def paired(runs: Sequence[SequenceExample], predictors: dict[str, Callable[[SequenceExample], float]]) -> FoldOutputs:
    """Outputs pair by pair, in the order of appearance; NaN where a view is missing."""
    names = list(dict.fromkeys(e.pair for e in runs))
    row = {name: number for number, name in enumerate(names)}
    truth = np.zeros(len(names), bool)
    outputs: dict[str, npt.NDArray[np.float64]] = {view: np.full(len(names), np.nan) for view in VIEWS}
    for one in runs:
        view = next((theirs for theirs, ours in VIEWS.items() if ours == one.view), None)
        truth[row[one.pair]] |= one.thrombus
        if view is not None:
            outputs[view][row[one.pair]] = predictors[view](one)
    return FoldOutputs(truth, outputs["frontal"], outputs["lateral"])


def mittmann_recipe(settings: MittmannFitSettings, weights: Path | None = None) -> Recipe:
    """The paper's networks."""

    def recipe(
        train: Sequence[SequenceExample], validation: Sequence[SequenceExample], checkpoint: Path
    ) -> Callable[[SequenceExample], float]:
        from ClaireDSALib.training.sequence_mittmann_fit import fit_mittmann, predict_mittmann

        network = fit_mittmann(train, validation, settings, checkpoint, weights=weights)
        return lambda one: float(predict_mittmann(network, [one], settings)[0])

    return recipe


def compact_recipe(settings: dict[str, object]) -> Recipe:
    """Our network; one for both views."""

    def recipe(
        train: Sequence[SequenceExample], validation: Sequence[SequenceExample], checkpoint: Path
    ) -> Callable[[SequenceExample], float]:
        from ClaireDSALib.training.sequence_fit import SequenceFitSettings, fit, predict
        from ClaireDSALib.training.sequence_train import fit_mix

        chosen = SequenceFitSettings(**settings)  # type: ignore[arg-type]
        network = fit(train, validation, chosen, checkpoint)
        outputs = predict(network, validation, chosen.device, size_px=chosen.size_px)
        truth = np.array([e.thrombus for e in validation])
        mix = fit_mix(truth, outputs, np.ones(len(truth), bool))

        def output(one: SequenceExample) -> float:
            logit = predict(network, [one], chosen.device, size_px=chosen.size_px).mixed(mix)[0]
            return float(1 / (1 + np.exp(-logit)))

        return output

    return recipe


def _trained(
    train: Sequence[SequenceExample],
    validation: Sequence[SequenceExample],
    recipe: Recipe,
    out: Path,
    number: int,
    *,
    separate_views: bool,
) -> dict[str, Callable[[SequenceExample], float]]:
    if not separate_views:
        one = recipe(train, validation, out / f"both_fold_{number}.pt")
        return dict.fromkeys(VIEWS, one)
    found = {}
    for theirs, ours in VIEWS.items():
        parts = ([e for e in runs if e.view == ours] for runs in (train, validation))
        found[theirs] = recipe(*parts, out / f"{theirs}_best_mcc_fold_{number}.pt")
    return found
