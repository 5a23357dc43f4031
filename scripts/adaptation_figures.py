"""Table and picture of the adaptation experiment; used by ``adaptation_experiment.py show``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ClaireDSALib.models.labels import NINE_LABELS
from ClaireDSALib.training.adaptation.guard import WORSE, Evidence, decide
from ClaireDSALib.training.adaptation.measures import learnt_labels

Rows = list[dict[str, Any]]
SOURCE, FULL = "source_only", "full_supervision"
NAMES = {
    SOURCE: "source only",
    "batch_norm": "batch-norm statistics",
    "prior": "prior-shift correction",
    "head": "fine-tuning the head",
    "fine_tune": "fine-tuning all layers",
    "joint": "joint training, two heads",
    "adversarial": "adversarial (Loizillon et al.)",
    "look": "look transfer",
    "look_adversarial": "look transfer and adversarial",
    FULL: "full supervision",
}
COLORS = {"head": "#7f7f7f", "fine_tune": "#9467bd", "joint": "#8c564b", "adversarial": "#1f77b4", "look": "#d62728"}


def show(out: Path, rows: Rows) -> None:
    """Print the tables and write ``out/adaptation.png``."""
    learnt = _learnt(rows)
    print(f"labels read at look A: {', '.join(learnt)}\n")
    for line in table(rows, learnt):
        print(line)
    print()
    for line in guard_table(rows):
        print(line)
    draw(rows, learnt, out / "adaptation.png")


def table(rows: Rows, learnt: tuple[str, ...]) -> list[str]:
    """Markdown: a line per number of labels and method."""
    by_seed, lines = _by_seed(rows), []
    lines += [
        "| labels | method | seeds | four labels | gap recovered | all nine labels |",
        "|---|---|---|---|---|---|",
    ]
    keys = sorted({(r["n"], list(NAMES).index(r["method"])) for r in rows})
    for n, place in keys:
        method = list(NAMES)[place]
        cells: dict[str, list[float]] = defaultdict(list)
        for seed in by_seed.values():
            if (method, n) not in seed or (SOURCE, 0) not in seed or not any(m == FULL for m, _ in seed):
                continue
            full = next(v for (m, _), v in seed.items() if m == FULL)
            value, low, high = (_mean(r, learnt) for r in (seed[method, n], seed[SOURCE, 0], full))
            cells["four"].append(value)
            cells["gap"].append((value - low) / (high - low))
            cells["nine"].append(seed[method, n]["mean"])
        if cells:
            numbers = [str(n), NAMES[method], str(len(cells["four"]))]
            numbers += [_interval(cells[k]) for k in ("four", "gap", "nine")]
            lines.append("| " + " | ".join(numbers) + " |")
    return lines


def guard_table(rows: Rows) -> list[str]:
    """Markdown: without labels, what was adapted, and what became of each label in the bundle that was written."""
    lines = ["| method | seed | adapted | worst label | best label | mean of all nine |", "|---|---|---|---|---|---|"]
    by_seed, worst, told = _by_seed(rows), {}, defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["method"], r["seed"])):
        if "guard" not in row or "restyled_low" not in row["guard"]["evidence"]:
            continue
        start = by_seed[row["seed"]][SOURCE, 0]["labels"]
        said = decide(Evidence(**row["guard"]["evidence"]), tuple(start))
        # a refused bundle stays as it is, and a kept label has its parent's output
        change = {k: 0.0 if not said.accepted or k in said.kept else row["labels"][k] - start[k] for k in row["labels"]}
        adapted = ", ".join(k for k in change if k not in said.kept) if said.accepted else "refused"
        low, high = min((v, k) for k, v in change.items()), max((v, k) for k, v in change.items())
        mark = " (more than allowed)" if low[0] < -WORSE else ""
        cells = [f"{low[1]} {low[0]:+.3f}{mark}" if low[0] < 0 else "none", f"{high[1]} {high[0]:+.3f}"]
        mean = float(np.mean(list(change.values())))
        lines.append(f"| {NAMES[row['method']]} | {row['seed']} | {adapted} | {cells[0]} | {cells[1]} | {mean:+.3f} |")
        worst[row["method"]] = min(worst.get(row["method"], (0.0, "")), (low[0], f"{low[1]}, seed {row['seed']}"))
        told[row["method"]].append(mean)
    for method, (value, where) in worst.items():
        words = f"{value:+.3f} ({where})" if value < 0 else "no label lost anything"
        lines.append(f"| {NAMES[method]} | all {len(told[method])} | | {words} | | {np.mean(told[method]):+.3f} |")
    return lines


def draw(rows: Rows, learnt: tuple[str, ...], path: Path) -> None:
    """Learning curves with 95 % intervals over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        values[row["method"], row["n"]].append(_mean(row, learnt))
    places = {0: 0, 10: 1, 30: 2, 100: 3}
    figure, axes = plt.subplots(figsize=(7.2, 4.6), dpi=130)
    for k, method in enumerate(COLORS):
        points = sorted((places[n], v) for (m, n), v in values.items() if m == method)
        shift = 0.05 * (k - 2)
        means, halves = [np.mean(v) for _, v in points], [_half(v) for _, v in points]
        axes.errorbar(
            [p + shift for p, _ in points], means, halves, marker="o", capsize=3, color=COLORS[method],
            label=NAMES[method],
        )  # fmt: skip
    for method, n, style in ((SOURCE, 0, ":"), ("batch_norm", 0, "-."), (FULL, 1000, "--")):
        given = values.get((method, n), [])
        if given:
            axes.axhline(float(np.mean(given)), color="black", linestyle=style, linewidth=1, label=NAMES[method])
            low, high = np.mean(given) - _half(given), np.mean(given) + _half(given)
            axes.axhspan(float(low), float(high), color="black", alpha=0.06, linewidth=0)
    axes.set_xticks(list(places.values()), [str(n) for n in places])
    axes.set_xlabel("labelled runs of look B (simulated)")
    axes.set_ylabel("balanced accuracy, mean of the labels read at look A")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    axes.set_title("A second site's look: how far labels and unlabelled runs carry", fontsize=11)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def _learnt(rows: Rows) -> tuple[str, ...]:
    at_a = next(r["at_a"] for r in rows if "at_a" in r)
    return learnt_labels(at_a, NINE_LABELS)


def _by_seed(rows: Rows) -> dict[int, dict[tuple[str, int], dict[str, Any]]]:
    found: dict[int, dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row["seed"]][row["method"], row["n"]] = row
    return found


def _mean(row: dict[str, Any], names: tuple[str, ...]) -> float:
    return float(np.mean([row["labels"][k] for k in names]))


def _half(values: list[float]) -> float:
    """Half of the 95 % t interval of the mean."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def _interval(values: list[float]) -> str:
    mean, half = float(np.mean(values)), _half(values)
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})" if len(values) > 1 else f"{mean:.3f}"
