"""Table and picture of the adaptation experiment; used by ``adaptation_experiment.py show``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ClaireDSALib.models.labels import NINE_LABELS
from ClaireDSALib.training.adaptation.guard import WORSE
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
    """Markdown: without labels, what became of each label in the bundle that the command would write."""
    lines = [
        "| method | seed | adapted labels | least change of these | worst label had all been adapted | mean of nine |",
        "|---|---|---|---|---|---|",
    ]
    by_seed, told = _by_seed(rows), defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["method"], r["seed"])):
        if "shipped" not in row or (SOURCE, 0) not in by_seed[row["seed"]]:
            continue
        start, guard = by_seed[row["seed"]][SOURCE, 0]["labels"], row["guard"]
        change = {k: row["shipped"][k] - start[k] for k in start}
        adapted = {k: change[k] for k in change if guard["accepted"] and k not in guard["kept"]}
        # measured on the bundle itself: what is kept, or refused, must not have changed at all
        worst = min((v, k) for k, v in change.items())
        least = min((v, k) for k, v in adapted.items()) if adapted else (0.0, "")
        raw = min((row["labels"][k] - start[k], k) for k in start)
        mean = float(np.mean(list(change.values())))
        told[row["method"]].append((worst, least, raw, mean))
        cells = [", ".join(adapted) or "refused", f"{least[1]} {least[0]:+.3f}" if adapted else "-"]
        cells += [_marked(f"{raw[1]} {raw[0]:+.3f}", raw[0]), f"{mean:+.3f}"]
        lines.append(f"| {NAMES[row['method']]} | {row['seed']} | {' | '.join(cells)} |")
    lines.append("")
    for method, found in told.items():
        worst, raw = min(f[0] for f in found), min(f[2] for f in found)
        lines.append(
            f"- {NAMES[method]}, {len(found)} seeds: largest loss of any label {min(worst[0], 0.0):+.3f}; without the "
            f"rule {_marked(f'{raw[0]:+.3f} ({raw[1]})', raw[0])}"
        )
    return lines


def _marked(words: str, change: float) -> str:
    return f"{words} (more than allowed)" if change < -WORSE else words


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
