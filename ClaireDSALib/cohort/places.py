"""Where a cohort keeps what: what may be shared on top, what stays at the site below ``work``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Files of one cohort.

    Parameters
    ----------
    out : Path
        The folder the user named.
    """

    out: Path

    @property
    def table(self) -> Path:
        return self.out / "cohort.parquet"

    @property
    def csv(self) -> Path:
        return self.out / "cohort.csv"

    @property
    def failures(self) -> Path:
        return self.out / "failures.csv"

    @property
    def page(self) -> Path:
        return self.out / "index.html"

    @property
    def record(self) -> Path:
        """Settings, versions and hashes of the latest call."""
        return self.out / "cohort.json"

    @property
    def work(self) -> Path:
        """Holds paths, UIDs and pictures: it stays at the site."""
        return self.out / "work"

    @property
    def index(self) -> Path:
        return self.work / "index.sqlite"

    @property
    def results(self) -> Path:
        return self.work / "results"

    @property
    def journal(self) -> Path:
        return self.work / "journal"

    @property
    def claims(self) -> Path:
        return self.work / "claims"

    @property
    def fetched(self) -> Path:
        """Studies of a DICOMweb query."""
        return self.work / "fetched"

    @property
    def not_used(self) -> Path:
        """Every file that was not used with the reason; names of files may name patients."""
        return self.work / "not_used.tsv"

    @property
    def sources(self) -> Path:
        """Which run came from which file."""
        return self.work / "sources.tsv"

    def make(self) -> None:
        """Create the folders; those below ``work`` only for their owner, as they may name patients."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(mode=0o700, exist_ok=True)
        self.results.mkdir(exist_ok=True)
        self.journal.mkdir(exist_ok=True)
