"""Mittmann et al. (IJCARS 2022), table 2, and tables of ours laid out beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ClaireDSALib.training.sequence_outputs import Score

PAPER: dict[str, tuple[float, ...]] = {
    "ResNet18 + GRU": (0.58, 0.90, 0.54, 0.88, 0.58, 0.92),
    "EfficientNet-B0 + GRU": (0.47, 0.88, 0.60, 0.86, 0.63, 0.91),
    "EfficientNet-B0 + LSTM": (0.64, 0.91, 0.68, 0.89, 0.73, 0.94),
    "EfficientNet-B1 + GRU": (0.37, 0.80, 0.66, 0.87, 0.64, 0.87),
    "EfficientNet-B1 + LSTM": (0.50, 0.82, 0.66, 0.88, 0.60, 0.87),
    "EfficientNet-B2 + GRU": (0.64, 0.89, 0.66, 0.93, 0.66, 0.94),
    "EfficientNet-B3 + GRU": (0.38, 0.86, 0.61, 0.90, 0.64, 0.91),
    "Tf_EfficientNetV2_S + GRU": (0.65, 0.91, 0.66, 0.91, 0.66, 0.92),
    "Tf_EfficientNetV2_M + GRU": (0.50, 0.87, 0.58, 0.89, 0.63, 0.91),
    "Rw_EfficientNetV2_S + GRU": (0.37, 0.83, 0.48, 0.89, 0.55, 0.89),
    "RegNet_y_16gf + GRU": (0.59, 0.89, 0.44, 0.84, 0.49, 0.90),
}
"""MCC and AUC of PA, LAT and PA + LAT on their test set 1: 102 pairs, 72 with a thrombus."""

PAPER_ENSEMBLE = {"test set 1 (102 pairs)": (0.77, 0.94), "test set 2 (109 pairs)": (0.69, 0.91)}
"""MCC and AUC of the best four networks together, pairs; set 2 adds seven pairs with inconspicuous distal changes."""

WARNING = (
    "The data differ: the paper's figures are from patients of one centre, ours from simulated runs. They stand side "
    "by side to show the same measures, not to say which is better."
)

_COLUMNS = ("PA", "LAT", "PA + LAT")


def table(ours: Mapping[str, Sequence[Score]]) -> str:
    """Markdown in the paper's layout: a row per network, MCC and AUC per view and for pairs; the paper's in brackets.

    Parameters
    ----------
    ours : mapping
        Name of a network -> its scores, named PA, LAT and PA + LAT.
    """
    head = "| network | " + " | ".join(f"{c} MCC | {c} AUC" for c in _COLUMNS) + " |"
    lines = [head, "|---" * (1 + 2 * len(_COLUMNS)) + "|"]
    for name in [*ours, *(n for n in PAPER if n not in ours)]:
        theirs = PAPER.get(name)
        by_column = {s.name: s for s in ours.get(name, ())}
        cells = []
        for number, column in enumerate(_COLUMNS):
            mine = by_column.get(column)
            cells.append(_cell(mine.mcc if mine else None, theirs[2 * number] if theirs else None))
            cells.append(_cell(mine.auc[0] if mine else None, theirs[2 * number + 1] if theirs else None))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    both = ", ".join(f"{name} MCC {m:.2f} AUC {a:.2f}" for name, (m, a) in PAPER_ENSEMBLE.items())
    return "\n".join([*lines, "", f"Ours, and in brackets the paper's. The paper's ensemble of four: {both}.", WARNING])


def _cell(mine: float | None, theirs: float | None) -> str:
    first = "" if mine is None else f"{mine:.2f}"
    return first if theirs is None else f"{first} ({theirs:.2f})".strip()
