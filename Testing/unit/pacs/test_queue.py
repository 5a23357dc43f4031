"""The queue knows what is complete, what is to be sent, and what a dead process left behind."""

from __future__ import annotations

from itertools import count

import pytest

from ClaireDSALib.pacs.identity import ObjectIdentity
from ClaireDSALib.pacs.journal import Journal, lock_folder
from ClaireDSALib.pacs.outbox import Outbox
from ClaireDSALib.pacs.study_queue import ResultObject, StudyQueue

_QUIET_S = 10.0


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    found = Journal(tmp_path / "queue.sqlite", clock=clock)
    yield found
    found.close()


@pytest.fixture
def queue(journal) -> StudyQueue:
    return StudyQueue(journal)


@pytest.fixture
def outbox(journal) -> Outbox:
    return Outbox(journal)


_numbers = count(1)


def _add(queue, study="1.1", *, uid=None, digest="d", wakes=True):
    uid = uid or f"9.{next(_numbers)}"
    identity = ObjectIdentity(uid, "1.2", study, "1.3", "1.4")
    return queue.add_object(identity, path=f"objects/{uid}-{digest}", n_bytes=1, digest=digest, peer="x", wakes=wakes)


def test_a_study_is_complete_when_nothing_came_for_the_quiet_time(queue, clock):
    _add(queue)
    clock.now_s += _QUIET_S - 1
    assert queue.next_study(_QUIET_S) is None
    _add(queue)
    clock.now_s += _QUIET_S - 1
    assert queue.next_study(_QUIET_S) is None
    clock.now_s += 1
    job = queue.next_study(_QUIET_S)
    assert len(job.paths) == 2
    assert queue.next_study(_QUIET_S) is None  # claimed


def test_a_repeated_object_keeps_an_arriving_study_open(queue, clock):
    _add(queue, uid="5.5")
    clock.now_s += _QUIET_S - 1
    assert _add(queue, uid="5.5") == ("known", "")
    clock.now_s += 2
    assert queue.next_study(_QUIET_S) is None


def test_a_clock_that_was_set_back_does_not_keep_a_study_waiting(queue, clock):
    _add(queue)
    clock.now_s -= 86_400
    assert queue.next_study(_QUIET_S) is not None


def test_the_study_that_waited_longest_comes_first(queue, clock):
    for study in ("1.3", "1.1", "1.2"):
        _add(queue, study)
        clock.now_s += 1
    clock.now_s += _QUIET_S
    assert [queue.next_study(_QUIET_S).study_uid for _ in range(3)] == ["1.3", "1.1", "1.2"]


def _analysed(queue, clock, *, destinations=("a", "b"), uids=("7.1", "7.2")):
    _add(queue)
    clock.now_s += _QUIET_S
    job = queue.next_study(_QUIET_S)
    assert queue.finish_analysis(job, [ResultObject(uid, f"results/{uid}") for uid in uids], destinations)
    return job


def test_each_result_goes_once_to_each_destination(queue, outbox, clock):
    _analysed(queue, clock)
    for destination in ("a", "b"):
        due = outbox.next_deliveries(destination, 10)
        assert [one.sop_instance_uid for one in due] == ["7.1", "7.2"]
        assert outbox.next_deliveries(destination, 10) == []
        for one in due:
            outbox.mark_sent(one, destination)
    assert queue.counts()["studies"]["done"] == 1
    assert outbox.next_deliveries("a", 10) == []


def test_a_study_without_destinations_is_done_at_once_and_its_results_are_known(queue, clock):
    _analysed(queue, clock, destinations=())
    assert queue.counts()["studies"]["done"] == 1
    assert _add(queue, uid="7.1") == ("ours", "objects/7.1-d")


def test_a_postponed_result_waits_and_a_refused_one_sets_the_study_aside(queue, outbox, clock):
    job = _analysed(queue, clock, destinations=("a",))
    first, second = outbox.next_deliveries("a", 10)
    outbox.send_later(first, "a", 30.0, "away", in_doubt=True)
    outbox.mark_refused(second, "a", "never")
    assert outbox.next_deliveries("a", 10) == []
    clock.now_s += 31
    (again,) = outbox.next_deliveries("a", 10)
    assert (again.failures, again.in_doubt) == (1, True)
    outbox.mark_sent(again, "a")
    (study,) = queue.studies()
    assert (study["state"], study["reason"]) == ("aside", "1 results were not taken: never")
    assert queue.try_again(job.study_uid)
    assert [one.sop_instance_uid for one in outbox.next_deliveries("a", 10)] == ["7.2"]


def test_images_that_arrive_during_an_analysis_make_it_void(queue, clock):
    _add(queue)
    clock.now_s += _QUIET_S
    job = queue.next_study(_QUIET_S)
    _add(queue)
    assert not queue.finish_analysis(job, [ResultObject("7.1", "x")], ("a",))
    clock.now_s += _QUIET_S
    assert queue.next_study(_QUIET_S).revision == 2


def test_a_report_that_arrives_later_does_not_start_an_analysis(queue, outbox, clock):
    _analysed(queue, clock, destinations=())
    _add(queue, wakes=False)
    assert queue.counts()["studies"]["done"] == 1


def test_a_result_that_was_sent_is_not_sent_again_after_another_analysis(queue, outbox, clock):
    _analysed(queue, clock, destinations=("a",))
    for one in outbox.next_deliveries("a", 10):
        outbox.mark_sent(one, "a")
    _analysed(queue, clock, destinations=("a",), uids=("7.2", "7.3"))
    assert [one.sop_instance_uid for one in outbox.next_deliveries("a", 10)] == ["7.3"]


def test_what_a_dead_process_had_under_way_is_taken_up_again(tmp_path, clock):
    before = Journal(tmp_path / "queue.sqlite", clock=clock)
    queue, outbox = StudyQueue(before), Outbox(before)
    _analysed(queue, clock, destinations=("a",))
    outbox.next_deliveries("a", 10)
    _add(queue, "1.2")
    clock.now_s += _QUIET_S
    assert queue.next_study(_QUIET_S).study_uid == "1.2"
    _add(queue, "1.3")
    before.close()  # as far as the file is concerned, a kill
    clock.now_s += 1000
    after = Journal(tmp_path / "queue.sqlite", clock=clock)
    queue, outbox = StudyQueue(after), Outbox(after)
    queue.recover(most_interruptions=5)
    assert [one.in_doubt for one in outbox.next_deliveries("a", 10)] == [True, True]
    assert queue.next_study(_QUIET_S).study_uid == "1.2"  # it was complete
    assert queue.next_study(_QUIET_S) is None  # the quiet time of the third counts from the restart
    clock.now_s += _QUIET_S
    assert queue.next_study(_QUIET_S).study_uid == "1.3"
    after.close()


def test_a_study_that_keeps_ending_the_process_is_set_aside(queue, clock):
    _add(queue)
    clock.now_s += _QUIET_S
    for _ in range(3):
        assert queue.next_study(_QUIET_S) is not None
        queue.recover(most_interruptions=3)
    (study,) = queue.studies()
    assert study["state"] == "aside"
    assert "ended unexpectedly 3 times" in study["reason"]
    assert queue.try_again(study["study_uid"])
    assert queue.next_study(_QUIET_S) is not None


def test_files_of_finished_studies_are_named_after_their_time_and_their_objects_stay_known(queue, clock):
    _analysed(queue, clock, destinations=())
    _add(queue, "1.9", uid="6.6")
    assert queue.settled_before(clock.now_s + 1) == ["1.1"]
    places, revision = queue.forget_files("1.1", clock.now_s + 1)
    assert (len(places), revision) == (1, 1)
    assert queue.settled_before(clock.now_s + 1) == []
    assert queue.known_paths() == {"objects/6.6-d"}


def test_older_versions_of_an_object_are_given_up_with_their_study_unless_they_are_current_again(queue, clock):
    for digest in ("a", "b", "a"):
        assert _add(queue, uid="5.5", digest=digest)[1] == ""
    clock.now_s += _QUIET_S
    queue.finish_analysis(queue.next_study(_QUIET_S), [], ())
    assert queue.known_paths() == {"objects/5.5-a"}
    assert sorted(queue.forget_files("1.1", clock.now_s + 1)[0]) == ["objects/5.5-a", "objects/5.5-b"]


def test_files_of_a_study_that_woke_up_are_not_given_up(queue, clock):
    _analysed(queue, clock, destinations=())
    assert queue.settled_before(clock.now_s + 1) == ["1.1"]
    _add(queue)  # between the question and the deletion
    assert queue.forget_files("1.1", clock.now_s + 1) == ([], 0)
    assert len(queue.known_paths()) == 2


def test_nothing_of_a_transaction_that_fails_is_kept(journal, queue):
    _add(queue)
    with pytest.raises(RuntimeError, match="in the midst"):
        _fail_in_the_midst(journal)
    assert len(queue.studies()) == 1


def _fail_in_the_midst(journal):
    with journal.transaction() as do:
        do("DELETE FROM studies")
        msg = "in the midst"
        raise RuntimeError(msg)


def test_a_folder_has_one_receiver(tmp_path):
    claim = lock_folder(tmp_path)
    with pytest.raises(RuntimeError, match="another receiver works in"):
        lock_folder(tmp_path)
    claim.close()
    lock_folder(tmp_path).close()


def test_a_queue_of_another_version_is_refused(tmp_path, journal):
    with journal.transaction() as do:
        do("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="has version 99"):
        Journal(tmp_path / "queue.sqlite")
