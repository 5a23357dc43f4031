"""Results, journal and claims: whole or not at all, whoever dies."""

import subprocess
import sys

import numpy as np
import pytest

from ClaireDSALib.cohort.claims import Claims
from ClaireDSALib.cohort.journal import Journal, read_account, read_troubles
from ClaireDSALib.cohort.store import Store, UnitResult
from Testing.unit.cohort.conftest import ROOT

KEY = "ab" * 32


@pytest.fixture
def a_store(tmp_path):
    return Store(tmp_path / "results")


def test_a_result_reads_back_as_it_was_written(a_store):
    result = UnitResult("done", {"runs": []}, timings_s={"read": 0.5})
    assert a_store.commit(KEY, result, {"run": np.zeros((4, 4), np.uint8)})
    assert a_store.has(KEY)
    assert not a_store.failed(KEY)
    assert a_store.read(KEY) == result
    assert a_store.thumbnail(KEY, "run").is_file()


def test_the_first_result_stays(a_store):
    assert a_store.commit(KEY, UnitResult("done", reason="first"), {})
    assert not a_store.commit(KEY, UnitResult("done", reason="second"), {})
    assert a_store.read(KEY).reason == "first"


def test_a_failure_is_known_without_reading_it_and_can_be_forgotten(a_store):
    a_store.commit(KEY, UnitResult("failed", reason="why"), {})
    assert a_store.failed(KEY)
    a_store.remove(KEY)
    assert not a_store.has(KEY)


def test_a_half_written_result_is_none_and_is_swept(a_store, tmp_path):
    draft = tmp_path / "results" / "drafts" / f"{KEY}.x"
    draft.mkdir(parents=True)
    (draft / "result.json").write_text('{"schema": 1, "outc')
    assert not a_store.has(KEY)
    a_store.sweep()
    assert not draft.exists()


def test_a_result_of_another_version_is_refused(a_store, tmp_path):
    a_store.commit(KEY, UnitResult("done"), {})
    path = tmp_path / "results" / KEY[:2] / KEY / "result.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(ValueError, match="schema 9"):
        a_store.read(KEY)


def test_the_journal_adds_up_and_survives_a_torn_line(tmp_path):
    journal = Journal(tmp_path)
    journal.write("started", "a")
    with next(tmp_path.glob("*.jsonl")).open("a") as stream:
        stream.write('{"what": "done", "key": "a", "pi')
    journal.write("done", "a", outcome="done")
    journal.write("started", "b")
    journal.write("died", "c", alone=True)
    journal.write("died", "d", alone=False)
    journal.close()
    account = read_account(tmp_path)
    assert (account.started, account.done) == ({"a": 1, "b": 1}, {"a": 1})
    assert account.unfinished == {"b"}
    assert account.more_than_once() == {}
    assert read_troubles(tmp_path) == ({"b"}, {"c": 1})


def test_the_journal_tells_when_something_was_done_twice(tmp_path):
    journal = Journal(tmp_path)
    for what in ("done", "done"):
        journal.write(what, "a")
    assert read_account(tmp_path).more_than_once() == {"a": 2}
    journal.write("retry", "a")
    assert read_account(tmp_path).more_than_once() == {}
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="record locks are POSIX")
def test_a_claim_excludes_others_and_ends_with_its_holder(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom ClaireDSALib.cohort.claims import Claims\n"
        f"claims = Claims(Path(sys.argv[1]))\nassert claims.hold_cohort()\n"
        f"with claims.claim({KEY!r}) as mine:\n print(mine, flush=True)\n time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "claims")], stdout=subprocess.PIPE, cwd=ROOT)
    assert other.stdout.readline() == b"True\n"
    ours = Claims(tmp_path / "claims")
    with ours.claim(KEY) as mine, ours.claim("cd" * 32) as another:
        assert (mine, another) == (False, True)
    assert not ours.hold_cohort()
    other.kill()
    other.communicate()
    with ours.claim(KEY) as mine:
        assert mine
    assert ours.hold_cohort()
    ours.close()
