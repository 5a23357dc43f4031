"""The service as a whole: failures are repeated, hopeless cases set aside, files deleted after their time."""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request

import pytest

from ClaireDSALib.pacs.analysis import AnalysisFailedError, NothingToAnalyseError, UnusableStudyError
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.destination import Answer
from ClaireDSALib.pacs.identity import identify
from ClaireDSALib.pacs.metrics import Metrics
from ClaireDSALib.pacs.receiver import adopt_orphans
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.conftest import states, wait_until
from Testing.unit.pacs.quick import QuickAnalyser, result_uid


class FailingAnalyser(QuickAnalyser):
    """Raises what it was given, one after the other, and then works."""

    def __init__(self, ledger, problems) -> None:
        super().__init__(ledger)
        self.problems = list(problems)

    def analyse(self, files, folder):
        if self.problems:
            raise self.problems.pop(0)
        return super().analyse(files, folder)


class ScriptedDestination:
    """Answers as told: for each call a verdict."""

    name = "scripted"

    def __init__(self, *verdicts: str, has: bool = False) -> None:
        self.verdicts, self.calls, self._has = list(verdicts), [], has

    def send(self, objects):
        self.calls.append([one.identity.sop_instance_uid for one in objects])
        verdict = self.verdicts.pop(0) if self.verdicts else "sent"
        return [Answer(one.identity.sop_instance_uid, verdict, "as told", in_doubt=True) for one in objects]

    def has(self, one):
        return self._has

    def close(self):
        """Nothing is open."""


def _file(station, path):
    """Put an object into the station as a crash between storing and filing leaves it."""
    identity = identify(path)
    copy = station.spool.folder / "incoming" / "one.part"
    copy.write_bytes(path.read_bytes())
    station.spool.keep(copy, identity, "0" * 64)
    assert adopt_orphans(station.spool, station.queue) == 1


def test_an_object_that_was_stored_but_not_filed_is_adopted_and_analysed(listen, write_study, ledger):
    station = listen()
    (path,) = write_study(1)
    _file(station, path)
    wait_until(lambda: states(station) == ["done"])
    assert ledger.read_text().split() == [identify(path).sop_instance_uid]
    assert adopt_orphans(station.spool, station.queue) == 0


def test_an_older_version_in_the_spool_is_not_taken_for_a_newer_one(listen, write_study):
    station = listen(quiet_s=600)
    (path,) = write_study(1)
    _file(station, path)
    (kept,) = (station.spool.folder / "objects").rglob("*.dcm")
    older = kept.with_name(kept.name.replace("0" * 16, "1" * 16))
    older.write_bytes(b"an older version")
    assert adopt_orphans(station.spool, station.queue) == 0
    assert not older.exists()
    assert kept.exists()


def test_a_failed_analysis_is_repeated(listen, write_study, ledger):
    station = listen(analyser=FailingAnalyser(ledger, [AnalysisFailedError("no memory"), ValueError("a bug")]))
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == ["done"])
    assert station.metrics.get("analyses_total", outcome="failed") == 2
    assert station.metrics.get("analyses_total", outcome="done") == 1


@pytest.mark.parametrize(
    ("problems", "state", "reason"),
    [
        ([UnusableStudyError("pixels are damaged")], "aside", "pixels are damaged"),
        ([NothingToAnalyseError("not angiography")], "nothing", "not angiography"),
        ([AnalysisFailedError("again")] * 3, "aside", "failed 3 times: again"),
    ],
)
def test_a_hopeless_study_is_settled_with_the_reason(problems, state, reason, listen, write_study, ledger):
    station = listen(analyser=FailingAnalyser(ledger, problems))
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == [state])
    (study,) = station.queue.studies()
    assert study["reason"] == reason
    assert not list((station.spool.folder / "incoming").iterdir())


def test_sending_is_repeated_until_it_is_done(listen, write_study):
    destination = ScriptedDestination("postponed", "postponed")
    station = listen(destinations=[destination])
    (path,) = write_study(1)
    _file(station, path)
    wait_until(lambda: states(station) == ["done"])
    assert destination.calls == [[result_uid(identify(path).sop_instance_uid)]] * 3


def test_a_destination_that_fails_in_an_unforeseen_way_is_tried_again(listen, write_study):
    class Broken(ScriptedDestination):
        def send(self, objects):
            if not self.calls:
                self.calls.append("broke")
                msg = "nobody thought of this"
                raise KeyError(msg)
            return super().send(objects)

    station = listen(destinations=[Broken()])
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == ["done"])
    assert station.metrics.get("sending_failures_total", destination="scripted") == 1


def test_a_result_whose_answer_was_lost_is_not_sent_again_when_it_arrived(listen, write_study):
    destination = ScriptedDestination("postponed", has=True)
    station = listen(destinations=[destination])
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == ["done"])
    assert len(destination.calls) == 1


def test_a_refused_result_is_set_aside_and_one_too_old_is_given_up(listen, write_study, settings):
    station = listen(destinations=[ScriptedDestination("refused")])
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == ["aside"])
    late = listen(
        destinations=[ScriptedDestination(*["postponed"] * 100)],
        folder=settings.folder.with_name("late"),
        give_up_sending_days=1e-9,
    )
    _file(late, *write_study(1))
    wait_until(lambda: states(late) == ["aside"])
    assert "given up" in late.queue.studies()[0]["reason"]


def test_files_are_deleted_after_their_time_and_the_objects_are_still_known(listen, write_study, ledger, settings):
    station = listen(keep_days=0)
    (path,) = write_study(1)
    _file(station, path)
    wait_until(lambda: states(station) == ["done"])
    station._tidy()
    assert not list((station.spool.folder / "objects").rglob("*.dcm"))
    assert not list((station.spool.folder / "results").rglob("*.dcm"))
    station.stop()
    assert states(again := listen()) == ["done"]
    assert again.queue.counts()["studies"]["done"] == 1
    assert len(ledger.read_text().splitlines()) == 1


def test_health_and_metrics_are_told_on_this_machine_only(listen, write_study):
    station = listen()
    _file(station, *write_study(1))
    wait_until(lambda: states(station) == ["done"])
    base = f"http://127.0.0.1:{station.health_port}"
    with urllib.request.urlopen(f"{base}/healthz", timeout=5) as answer:
        assert json.load(answer) == {"status": "ok", "problems": []}
    with urllib.request.urlopen(f"{base}/metrics", timeout=5) as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'claire_dsa_studies{state="done"} 1' in text
    assert 'claire_dsa_analyses_total{outcome="done"} 1' in text
    assert build.PATIENT_ID not in text
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{base}/../etc/passwd", timeout=5)
    station.spool._reserve_bytes = 10**18
    with pytest.raises(urllib.error.HTTPError, match="503") as problem:
        urllib.request.urlopen(f"{base}/healthz", timeout=5)
    problem.value.close()


def test_metrics_are_valid_prometheus_text_and_unknown_counters_are_refused():
    metrics = Metrics()
    metrics.count("objects_refused_total", reason='a "quoted"\nreason')
    lines = metrics.text({"free_bytes": 1.5}).splitlines()
    assert r'claire_dsa_objects_refused_total{reason="a \"quoted\"\nreason"} 1' in lines
    assert "claire_dsa_free_bytes 1.5" in lines
    assert all(line.startswith(("#", "claire_dsa_")) for line in lines)
    with pytest.raises(KeyError, match="there is no counter 'typo_total'"):
        metrics.count("typo_total")


def test_waits_grow_exponentially_with_jitter_up_to_a_limit():
    backoff = Backoff(first_s=2.0, factor=3.0, longest_s=50.0)
    assert [backoff.ceiling_s(n) for n in (1, 2, 3, 4, 1000)] == [2.0, 6.0, 18.0, 50.0, 50.0]
    drawn = [backoff.wait_s(2, random.Random(seed)) for seed in range(200)]
    assert min(drawn) >= 3.0
    assert max(drawn) <= 6.0
    assert max(drawn) - min(drawn) > 2.0


def test_no_identifier_of_the_patient_is_logged(listen, write_study, caplog, storescu):
    caplog.set_level("DEBUG", "ClaireDSALib")
    station = listen()
    files = write_study(2)
    assert storescu(station.port, files).returncode == 0
    wait_until(lambda: "analysed, 2 objects" in caplog.text)
    ours = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("ClaireDSALib"))
    for secret in (build.PATIENT_NAME, build.PATIENT_ID, identify(files[0]).study_uid):
        assert secret not in ours
