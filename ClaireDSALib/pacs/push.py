"""Send files of one or many studies to another system."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.destination import Answer, Destination, Outgoing

_MOST_OBJECTS, _MOST_BYTES = 50, 256 * 2**20
"""Of one request or association: a failure repeats no more than that."""


@dataclass(frozen=True)
class Pushed:
    """What became of all files."""

    sent: tuple[str, ...]
    """SOP instance UIDs that the other side has."""
    failed: dict[str, str] = field(default_factory=dict)
    """SOP instance UID to the last reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """File name to the reason why it is no object that could be sent."""


def push_files(
    destination: Destination,
    files: Sequence[Path],
    *,
    rounds: int = 4,
    backoff: Backoff | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Send files, repeating what failed in passing.

    Parameters
    ----------
    destination : Destination
    files : sequence of Path
    rounds : int
        How often what may still be taken is sent.
    backoff : Backoff, optional
        Waiting times between rounds.
    told : callable, optional
        ``told(objects sent or refused, objects in all)``.

    Returns
    -------
    Pushed
    """
    skipped: dict[str, str] = {}
    waiting = list(_outgoing(files, skipped))
    total = len(waiting)
    answers: dict[str, Answer] = {}
    for number in range(rounds):
        if number:
            asked = max((answers[one.identity.sop_instance_uid].retry_after_s for one in waiting), default=0.0)
            time.sleep(max(asked, (backoff or Backoff(first_s=1.0, longest_s=30.0)).wait_s(number)))
        for batch in batches(waiting):
            answers.update({one.sop_instance_uid: one for one in destination.send(batch)})
            if told is not None:
                told(sum(one.verdict != "postponed" for one in answers.values()), total)
        waiting = [one for one in waiting if _is_open(answers.get(one.identity.sop_instance_uid))]
        if not waiting:
            break
    sent = tuple(uid for uid, one in answers.items() if one.verdict == "sent")
    failed = {uid: one.reason for uid, one in answers.items() if one.verdict != "sent"}
    return Pushed(sent, failed, skipped)


def batches(objects: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Group objects by study and bound each group."""
    studies: dict[str, list[Outgoing]] = defaultdict(list)
    for one in objects:
        studies[one.identity.study_uid].append(one)
    for ones in studies.values():
        batch: list[Outgoing] = []
        n_bytes = 0
        for one in ones:
            size = one.path.stat().st_size
            if batch and (len(batch) >= _MOST_OBJECTS or n_bytes + size > _MOST_BYTES):
                yield batch
                batch, n_bytes = [], 0
            batch.append(one)
            n_bytes += size
        yield batch


def _outgoing(files: Sequence[Path], skipped: dict[str, str]) -> Iterator[Outgoing]:
    seen: set[str] = set()
    for path in files:
        try:
            one = Outgoing.of(path)
        except (UnusableError, OSError) as problem:
            skipped[path.name] = str(problem)
            continue
        if one.identity.sop_instance_uid in seen:
            skipped[path.name] = "the same object stands in another file"
            continue
        seen.add(one.identity.sop_instance_uid)
        yield one


def _is_open(answer: Answer | None) -> bool:
    return answer is None or answer.verdict == "postponed"
