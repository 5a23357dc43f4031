"""What a cohort amounts to: counts over the rows of the table, one pass, bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ClaireDSALib.cohort.rows import Row

GROUPS = ("centre", "device", "year")
GALLERY = 24
BINS = 10
_MOST_VALUES = 200
"""Different centres, devices or reasons kept apart; what comes after is counted together."""
_REST = "others"
_SMALLEST_PERIOD = 5
"""A period with fewer answers says nothing about drift."""


@dataclass
class Moments:
    """Mean and spread of a stream of numbers (Welford)."""

    n: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self._squares += step * (value - self.mean)

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return math.sqrt(self._squares / (self.n - 1)) if self.n > 1 else 0.0


@dataclass(frozen=True)
class Outlier:
    """A run far from the training data."""

    score: float
    run_id: str
    result_key: str
    verdict: str
    centre: str
    is_outlier: bool


@dataclass(frozen=True)
class Drift:
    """How one label's classes differ between periods.

    Parameters
    ----------
    label : str
    shares : mapping
        Period -> class -> share of the runs answered.
    counts : mapping
        Period -> runs answered.
    distance : float
        Largest total variation distance between a period and all others together, 0 to 1.
    p_value : float or None
        Chi-square test of independence; runs of one patient are not independent, so it is too small rather than too
        large. None with fewer than two periods that have answers.
    """

    label: str
    shares: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    distance: float
    p_value: float | None


@dataclass
class Summary:
    """Counts over a cohort; fill with :meth:`add`."""

    labels: Mapping[str, tuple[str, ...]]
    runs: int = 0
    pairs: int = 0
    patients: set[str] = field(default_factory=set)
    studies: set[str] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)
    """``usable``, ``not_usable``, ``unknown``, ``failed``."""
    groups: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: {g: {} for g in GROUPS})
    excluded_by: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """Label -> one sentence that says why such a run is excluded."""
    errors: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    chances: dict[str, dict[str, Moments]] = field(default_factory=dict)
    by_period: dict[str, dict[str, dict[str, Counter[str]]]] = field(default_factory=dict)
    """``year`` and ``half`` -> period -> label -> classes."""
    thrombus: Counter[str] = field(default_factory=Counter)
    """``assessed``, ``present``, ``pairs_assessed``, ``pairs_present``."""
    thrombus_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    vessels: dict[str, Moments] = field(default_factory=lambda: defaultdict(Moments))
    outliers: int = 0
    seconds: Moments = field(default_factory=Moments)
    presets: Counter[str] = field(default_factory=Counter)
    _gallery: list[tuple[float, str, Outlier]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count one run."""
        self.runs += 1
        self.patients.add(row["patient_key"])
        self.studies.add(row["study_key"])
        verdict = "failed" if row["status"] == "failed" else row["verdict"]
        self.verdicts[verdict] += 1
        for group, value in _groups(row).items():
            _counter(self.groups[group], value)[verdict] += 1
        if verdict == "failed":
            self.errors[_capped(self.errors, row["error"])] += 1
        if row["preset"]:
            self.presets[row["preset"]] += 1
        self._count_reasons(row)
        self._count_labels(row)
        self._count_thrombus(row)
        for name in ("vessel_length_mm", "vessel_diameter_mm", "vessel_fraction"):
            if row[name] is not None:
                self.vessels[name].add(row[name])
        if row["analyze_s"] is not None:
            self.seconds.add(row["analyze_s"])
        self._keep_outlier(row, verdict)

    @property
    def gallery(self) -> list[Outlier]:
        """Runs farthest from the training data, farthest first."""
        return [outlier for _, _, outlier in sorted(self._gallery, reverse=True)]

    def drift(self) -> list[Drift]:
        """Every label over the years, or between the halves of the cohort when all runs are of one year."""
        years = {p for p, labels in self.by_period.get("year", {}).items() if labels}
        periods = self.by_period.get("year" if len(years) > 1 else "half", {})
        return [_drift(name, classes, periods) for name, classes in self.labels.items() if periods]

    def _count_reasons(self, row: Row) -> None:
        sentences = [s for s in row["reasons"].split(" | ") if s]
        for number, label in enumerate(x for x in row["excluded_by"].split(",") if x):
            self.excluded_by[label] += 1
            if label not in self.examples:
                start = label.replace("_", " ").casefold()
                fitting = [s for s in sentences if s.casefold().startswith(start)]
                self.examples[label] = (fitting or sentences[number:] or [""])[0]

    def _count_labels(self, row: Row) -> None:
        for name, classes in self.labels.items():
            predicted = row[f"label_{name}"]
            if not predicted:
                continue
            self.classes[name][predicted] += 1
            chances = self.chances.setdefault(name, {c: Moments() for c in classes})
            for c in classes:
                chances[c].add(row[f"p_{name}_{c}"])
            for kind in ("year", "half"):
                if row[kind]:
                    period = self.by_period.setdefault(kind, {}).setdefault(str(row[kind]), {})
                    period.setdefault(name, Counter())[predicted] += 1

    def _count_thrombus(self, row: Row) -> None:
        chance = row["thrombus_probability"]
        if chance is not None:
            self.thrombus["assessed"] += 1
            self.thrombus["present"] += bool(row["thrombus_present"])
            self.thrombus_bins[min(int(chance * BINS), BINS - 1)] += 1
        if row["pair_run_id"] > row["run_id"]:  # a pair has two rows and is counted with its first
            self.pairs += 1
            if row["pair_thrombus_probability"] is not None:
                self.thrombus["pairs_assessed"] += 1
                self.thrombus["pairs_present"] += bool(row["pair_thrombus_present"])

    def _keep_outlier(self, row: Row, verdict: str) -> None:
        if row["outlier_score"] is None:
            return
        self.outliers += bool(row["outlier"])
        found = Outlier(
            row["outlier_score"], row["run_id"], row["result_key"], verdict, row["centre"], bool(row["outlier"])
        )
        entry = (found.score, found.run_id, found)
        if len(self._gallery) < GALLERY:
            heapq.heappush(self._gallery, entry)
        else:
            heapq.heappushpop(self._gallery, entry)


def summarise(rows: Iterable[Row], labels: Mapping[str, tuple[str, ...]]) -> Summary:
    """Count every row.

    Parameters
    ----------
    rows : iterable of dict
        As :func:`ClaireDSALib.cohort.table.read_rows` gives them.
    labels : mapping
        Label -> classes.
    """
    found = Summary(labels)
    for row in rows:
        found.add(row)
    return found


def _groups(row: Row) -> dict[str, str]:
    device = f"{row['manufacturer']} {row['model_name']}".strip()
    return {"centre": row["centre"], "device": device, "year": str(row["year"] or "")}


def _counter(values: dict[str, Counter[str]], value: str) -> Counter[str]:
    return values.setdefault(value if value in values or len(values) < _MOST_VALUES else _REST, Counter())


def _capped(counted: Counter[str], value: str) -> str:
    return value if value in counted or len(counted) < _MOST_VALUES else _REST


def _drift(label: str, classes: tuple[str, ...], periods: Mapping[str, Mapping[str, Counter[str]]]) -> Drift:
    tables = {p: labels[label] for p, labels in sorted(periods.items()) if label in labels}
    counts = {p: table.total() for p, table in tables.items()}
    shares = {p: {c: table[c] / counts[p] for c in classes} for p, table in tables.items()}
    large = [p for p in tables if counts[p] >= _SMALLEST_PERIOD]
    distance = max((_distance(p, tables, classes) for p in large), default=0.0) if len(large) > 1 else 0.0
    return Drift(label, shares, counts, distance, _p_value([tables[p] for p in large], classes))


def _distance(period: str, tables: Mapping[str, Counter[str]], classes: tuple[str, ...]) -> float:
    """Total variation distance between one period and the rest."""
    rest: Counter[str] = Counter()
    for other, table in tables.items():
        if other != period:
            rest += table
    if not rest:
        return 0.0
    here = tables[period]
    return 0.5 * sum(abs(here[c] / here.total() - rest[c] / rest.total()) for c in classes)


def _p_value(tables: list[Counter[str]], classes: tuple[str, ...]) -> float | None:
    seen = [c for c in classes if any(table[c] for table in tables)]
    if len(tables) < 2 or len(seen) < 2:
        return None
    from scipy.stats import chi2_contingency

    return float(chi2_contingency([[table[c] for c in seen] for table in tables]).pvalue)
