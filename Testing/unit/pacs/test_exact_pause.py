"""The thread of an association never takes an answer from the one who waits for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("pynetdicom")
from ClaireDSALib.pacs.exact_pause import Checkpoint

_ROUNDS = 4000


class ToyAssociation:
    """The few lines of pynetdicom's loop that matter, for a chosen kind of checkpoint."""

    def __init__(self, kind: type) -> None:
        self._is_paused = False
        self.waiting_for_answer = self.ended = False
        self.stolen = 0
        self.checkpoint = kind(self)

    def look_for_messages(self) -> None:
        while not self.ended:
            self._is_paused = True
            self.checkpoint.wait()
            self._is_paused = False
            self.stolen += self.waiting_for_answer

    def send(self) -> None:
        self.checkpoint.clear()
        while not self._is_paused:
            pass
        self.waiting_for_answer = True
        for _ in range(3):
            threading.Event().wait(0)  # lets the other thread run
        self.waiting_for_answer = False
        self.checkpoint.set()


@pytest.fixture
def threads_that_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _stolen(kind: type) -> int:
    one = ToyAssociation(kind)
    thread = threading.Thread(target=one.look_for_messages)
    thread.start()
    for _ in range(_ROUNDS):
        one.send()
    one.ended = True
    thread.join()
    return one.stolen


@pytest.mark.usefixtures("threads_that_change_often")
def test_no_answer_is_taken_by_the_associations_own_thread():
    assert _stolen(Checkpoint) == 0


def test_an_association_that_was_cleared_at_the_last_moment_stays_paused():
    one = ToyAssociation(Checkpoint)
    one._is_paused = True
    one.checkpoint.clear()
    assert not one.checkpoint.wait(0.01)
    assert one._is_paused
    one.checkpoint.set()
    assert one.checkpoint.wait(0.01)
    assert not one._is_paused
