"""Results on their way to their destinations: each is sent until the destination has it or will not take it."""

from __future__ import annotations

from dataclasses import dataclass

from ClaireDSALib.pacs.journal import Do, Journal

RESULT_STATES = ("waiting", "sending", "sent", "refused")


@dataclass(frozen=True)
class Delivery:
    """One object claimed for one destination; ``in_doubt`` when it may be there already."""

    sop_instance_uid: str
    study_uid: str
    path: str
    failures: int
    in_doubt: bool
    created_at: float


class Outbox:
    """Results of all studies, by destination.

    Parameters
    ----------
    journal : Journal
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def next_deliveries(self, destination: str, most: int) -> list[Delivery]:
        """Claim results of one study that are due at a destination, in the order they were filed."""
        now = self._journal.now()
        with self._journal.transaction() as do:
            due = "destination = ? AND state = 'waiting' AND not_before <= ?"
            first = do(f"SELECT study_uid FROM results WHERE {due} ORDER BY rowid LIMIT 1", destination, now).fetchone()
            if first is None:
                return []
            rows = do(
                f"SELECT * FROM results WHERE {due} AND study_uid = ? ORDER BY rowid LIMIT ?",
                destination, now, first["study_uid"], most,
            ).fetchall()  # fmt: skip
            for row in rows:
                do(
                    "UPDATE results SET state = 'sending' WHERE sop_instance_uid = ? AND destination = ?",
                    row["sop_instance_uid"], destination,
                )  # fmt: skip
            return [
                Delivery(
                    row["sop_instance_uid"], row["study_uid"], row["path"], row["failures"], bool(row["in_doubt"]),
                    row["created_at"],
                )
                for row in rows
            ]  # fmt: skip

    def mark_sent(self, one: Delivery, destination: str) -> None:
        """The destination has it."""
        self._end_delivery(one, destination, "sent", "")

    def mark_refused(self, one: Delivery, destination: str, reason: str) -> None:
        """The destination will never take it."""
        self._end_delivery(one, destination, "refused", reason)

    def send_later(
        self, one: Delivery, destination: str, wait_s: float, reason: str, *, in_doubt: bool, count: bool = True
    ) -> None:
        """Try again after ``wait_s`` seconds; ``in_doubt`` when the destination may have it."""
        with self._journal.transaction() as do:
            do(
                "UPDATE results SET state = 'waiting', failures = failures + ?, not_before = ?, reason = ?,"
                " in_doubt = ? WHERE sop_instance_uid = ? AND destination = ? AND state = 'sending'",
                int(count), self._journal.now() + wait_s, reason, int(in_doubt or one.in_doubt),
                one.sop_instance_uid, destination,
            )  # fmt: skip

    def results(self, study_uid: str) -> list[dict[str, object]]:
        """Every result of a study with its state, for people."""
        with self._journal.transaction() as do:
            return [dict(r) for r in do("SELECT * FROM results WHERE study_uid = ?", study_uid).fetchall()]

    def _end_delivery(self, one: Delivery, destination: str, state: str, reason: str) -> None:
        with self._journal.transaction() as do:
            do(
                "UPDATE results SET state = ?, reason = ?, in_doubt = 0 WHERE sop_instance_uid = ? AND destination = ?",
                state, reason, one.sop_instance_uid, destination,
            )  # fmt: skip
            settle_if_sent(do, one.study_uid, self._journal.now())


def settle_if_sent(do: Do, study_uid: str, now: float) -> None:
    """End a study whose results all reached their destinations or were refused."""
    rows = do("SELECT state, reason FROM results WHERE study_uid = ?", study_uid).fetchall()
    state = do("SELECT state FROM studies WHERE study_uid = ?", study_uid).fetchone()["state"]
    if state != "sending" or any(row["state"] in ("waiting", "sending") for row in rows):
        return
    refused = [row["reason"] for row in rows if row["state"] == "refused"]
    if refused:
        set_settled(do, study_uid, "aside", f"{len(refused)} results were not taken: {refused[0]}", now)
    else:
        set_settled(do, study_uid, "done", "", now)


def set_settled(do: Do, study_uid: str, state: str, reason: str, now: float) -> None:
    """End a study; ``state`` says how."""
    do(
        "UPDATE studies SET state = ?, reason = ?, settled_at = ? WHERE study_uid = ?",
        state, reason, now, study_uid,
    )  # fmt: skip
