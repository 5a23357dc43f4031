"""The durable list of what was received, what became of it, and what is still to be sent.

Every method is one transaction that is on the disk when the method returns, so a process that is killed
between two calls finds the list as the last call left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ClaireDSALib.pacs.identity import ObjectIdentity
from ClaireDSALib.pacs.journal import Do, Journal
from ClaireDSALib.pacs.outbox import RESULT_STATES, set_settled, settle_if_sent

Arrival = Literal["new", "known", "newer", "ours"]
SETTLED = ("done", "nothing", "aside")
STATES = ("receiving", "analysing", "sending", *SETTLED)


@dataclass(frozen=True)
class StudyJob:
    """A complete study, claimed for analysis."""

    study_uid: str
    revision: int
    paths: tuple[str, ...]
    """Received objects, places below the spool."""
    failures: int


@dataclass(frozen=True)
class ResultObject:
    """One object that was made of a study."""

    sop_instance_uid: str
    path: str


class StudyQueue:
    """Studies, their objects and their results.

    Parameters
    ----------
    journal : Journal
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add_object(
        self, identity: ObjectIdentity, *, path: str, n_bytes: int, digest: str, peer: str, wakes: bool
    ) -> tuple[Arrival, str]:
        """File a stored object.

        Parameters
        ----------
        identity : ObjectIdentity
        path : str
            Its place below the spool.
        n_bytes : int
        digest : str
            Of its data set.
        peer : str
            Who sent it.
        wakes : bool
            Whether it is something to analyse; then a study that was settled is analysed again.

        Returns
        -------
        arrival : {"new", "known", "newer", "ours"}
            ``known``: the same object came before; ``newer``: another version replaced it; ``ours``: a
            result of this queue came back, and is not filed.
        unneeded : str
            The given place when its file is not needed: for ``ours``, and for ``known`` unless it is the very file
            that is filed. Else empty.
        """
        with self._journal.transaction() as do:
            uid = identity.sop_instance_uid
            if do("SELECT 1 FROM results WHERE sop_instance_uid = ?", uid).fetchone():
                return "ours", path
            before = do("SELECT path, digest FROM objects WHERE sop_instance_uid = ?", uid).fetchone()
            if before is not None and before["digest"] == digest:
                do("UPDATE studies SET last_object_at = ? WHERE study_uid = ? AND state = 'receiving'",
                   self._journal.now(), identity.study_uid)  # fmt: skip
                return "known", "" if before["path"] == path else path
            do(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                uid, identity.study_uid, identity.sop_class_uid, path, n_bytes, digest, peer, self._journal.now(),
            )  # fmt: skip
            do("DELETE FROM superseded WHERE path = ?", path)
            if before is not None and before["path"]:
                do("INSERT OR IGNORE INTO superseded VALUES (?, ?)", before["path"], identity.study_uid)
            self._touch_study(do, identity.study_uid, wakes)
            return ("new" if before is None else "newer"), ""

    def next_study(self, quiet_s: float) -> StudyJob | None:
        """Claim the study that has been complete longest: no object arrived for ``quiet_s`` seconds."""
        now = self._journal.now()
        with self._journal.transaction() as do:
            study = do(
                "SELECT * FROM studies WHERE state = 'receiving' AND not_before <= ?"
                " AND (last_object_at <= ? OR last_object_at > ?) ORDER BY last_object_at LIMIT 1",
                now, now - quiet_s, now + 1,  # a clock that was set back must not keep a study waiting
            ).fetchone()  # fmt: skip
            if study is None:
                return None
            do("UPDATE studies SET state = 'analysing' WHERE study_uid = ?", study["study_uid"])
            paths = do(
                "SELECT path FROM objects WHERE study_uid = ? AND path != '' ORDER BY path", study["study_uid"]
            ).fetchall()
            return StudyJob(study["study_uid"], study["revision"], tuple(p["path"] for p in paths), study["failures"])

    def finish_analysis(self, job: StudyJob, results: Sequence[ResultObject], destinations: Sequence[str]) -> bool:
        """File a study's results, to be sent to each destination.

        Results that no longer exist in this revision are not sent any more; one that was sent is not sent again.

        Returns
        -------
        bool
            False when the study's images changed meanwhile: the results are of no use and it will be analysed again.
        """
        now = self._journal.now()
        with self._journal.transaction() as do:
            if not self._is_current(do, job):
                return False
            do("DELETE FROM results WHERE study_uid = ? AND state IN ('waiting', 'refused')", job.study_uid)
            for one in results:
                for destination in destinations or ("",):
                    do(
                        "INSERT OR IGNORE INTO results (sop_instance_uid, destination, study_uid, revision, path,"
                        " state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                        one.sop_instance_uid, destination, job.study_uid, job.revision, one.path,
                        "waiting" if destination else "sent", now,
                    )  # fmt: skip
            do(
                "UPDATE studies SET state = 'sending', analyses = analyses + 1, failures = 0, interruptions = 0,"
                " reason = '' WHERE study_uid = ?",
                job.study_uid,
            )
            settle_if_sent(do, job.study_uid, now)
            return True

    def settle(self, job: StudyJob, state: Literal["nothing", "aside"], reason: str) -> None:
        """End a study without results: there is nothing to analyse in it, or it cannot be analysed."""
        with self._journal.transaction() as do:
            if self._is_current(do, job):
                set_settled(do, job.study_uid, state, reason, self._journal.now())

    def analyse_later(self, job: StudyJob, wait_s: float, reason: str, *, count: bool = True) -> None:
        """Try a study again after ``wait_s`` seconds; ``count`` it as a failure."""
        with self._journal.transaction() as do:
            do(
                "UPDATE studies SET state = 'receiving', not_before = ?, failures = failures + ?, reason = ?"
                " WHERE study_uid = ? AND state = 'analysing'",
                self._journal.now() + wait_s, int(count), reason, job.study_uid,
            )  # fmt: skip

    def recover(self, *, most_interruptions: int) -> None:
        """Take up what a process that ended had under way; call once before anything else.

        Studies still arriving count their quiet time from now: their sender could not go on meanwhile. A study
        during whose analysis the process ended too often is set aside, for it may be the cause.
        """
        with self._journal.transaction() as do:
            do("UPDATE studies SET last_object_at = ? WHERE state = 'receiving'", self._journal.now())
            do(
                "UPDATE studies SET state = 'receiving', interruptions = interruptions + 1, last_object_at = 0"
                " WHERE state = 'analysing'"
            )
            do("UPDATE results SET state = 'waiting', in_doubt = 1 WHERE state = 'sending'")
            worn = do("SELECT study_uid FROM studies WHERE state = 'receiving' AND interruptions >= ?",
                      most_interruptions).fetchall()  # fmt: skip
            for row in worn:
                reason = f"the receiver ended unexpectedly {most_interruptions} times during its analysis"
                set_settled(do, row["study_uid"], "aside", reason, self._journal.now())

    def try_again(self, study_uid: str) -> bool:
        """Take back a study that was set aside, and refused results; False when there is no such study."""
        with self._journal.transaction() as do:
            refused = do(
                "UPDATE results SET state = 'waiting', failures = 0, not_before = 0, created_at = ? WHERE study_uid = ?"
                " AND state = 'refused'",
                self._journal.now(), study_uid,
            ).rowcount  # fmt: skip
            state = "sending" if refused else "receiving"
            return bool(
                do(
                    "UPDATE studies SET state = ?, failures = 0, interruptions = 0, not_before = 0, reason = ''"
                    " WHERE study_uid = ? AND state = 'aside'",
                    state, study_uid,
                ).rowcount
            )  # fmt: skip

    def settled_before(self, moment: float) -> list[str]:
        """Studies that were done, or had nothing to analyse, before a moment and still have files."""
        with self._journal.transaction() as do:
            rows = do(
                "SELECT DISTINCT study_uid FROM studies JOIN objects USING (study_uid)"
                " WHERE state IN ('done', 'nothing') AND settled_at < ? AND path != ''",
                moment,
            )
            return [row["study_uid"] for row in rows.fetchall()]

    def forget_files(self, study_uid: str, moment: float) -> tuple[list[str], int]:
        """Note that a study's files are no longer needed; that they were received stays known.

        Returns
        -------
        places : list of str
            Received objects that may be deleted now; none when the study woke up meanwhile.
        revision : int
            Results up to this one may be deleted too.
        """
        with self._journal.transaction() as do:
            study = do(
                "SELECT revision FROM studies WHERE study_uid = ? AND state IN ('done', 'nothing') AND settled_at < ?",
                study_uid, moment,
            ).fetchone()  # fmt: skip
            if study is None:
                return [], 0
            rows = do(
                "SELECT path FROM objects WHERE study_uid = ? AND path != ''"
                " UNION SELECT path FROM superseded WHERE study_uid = ?",
                study_uid, study_uid,
            ).fetchall()  # fmt: skip
            do("UPDATE objects SET path = '' WHERE study_uid = ?", study_uid)
            do("DELETE FROM superseded WHERE study_uid = ?", study_uid)
            return [row["path"] for row in rows], study["revision"]

    def known_paths(self) -> set[str]:
        """Places of all objects that are filed."""
        with self._journal.transaction() as do:
            return {row["path"] for row in do("SELECT path FROM objects WHERE path != ''").fetchall()}

    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers of ``studies`` and ``results`` in each state."""
        found = {"studies": dict.fromkeys(STATES, 0), "results": dict.fromkeys(RESULT_STATES, 0)}
        with self._journal.transaction() as do:
            for table, numbers in found.items():
                for row in do(f"SELECT state, COUNT(*) AS n FROM {table} GROUP BY state").fetchall():
                    numbers[row["state"]] = row["n"]
        return found

    def oldest_waiting_s(self) -> float:
        """Age of the oldest object of a study that is not settled, seconds; 0 when all are."""
        with self._journal.transaction() as do:
            row = do(
                "SELECT MIN(received_at) AS oldest FROM objects JOIN studies USING (study_uid)"
                " WHERE state NOT IN ('done', 'nothing', 'aside')"
            ).fetchone()
            return max(0.0, self._journal.now() - row["oldest"]) if row["oldest"] is not None else 0.0

    def studies(self) -> list[dict[str, object]]:
        """Every study with its state, for people."""
        with self._journal.transaction() as do:
            return [dict(row) for row in do("SELECT * FROM studies ORDER BY last_object_at").fetchall()]

    # Below: inside a transaction.

    def _touch_study(self, do: Do, study_uid: str, wakes: bool) -> None:
        now = self._journal.now()
        fresh = do(
            "INSERT OR IGNORE INTO studies (study_uid, state, revision, last_object_at) VALUES (?, 'receiving', 1, ?)",
            study_uid, now,
        ).rowcount  # fmt: skip
        if fresh:
            return
        do("UPDATE studies SET last_object_at = ? WHERE study_uid = ?", now, study_uid)
        if wakes:
            do(
                "UPDATE studies SET state = 'receiving', revision = revision + 1, failures = 0, not_before = 0,"
                " interruptions = 0, settled_at = NULL WHERE study_uid = ?",
                study_uid,
            )

    def _is_current(self, do: Do, job: StudyJob) -> bool:
        row = do("SELECT state, revision FROM studies WHERE study_uid = ?", job.study_uid).fetchone()
        return row is not None and row["state"] == "analysing" and row["revision"] == job.revision
