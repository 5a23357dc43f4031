"""What the command line promises to shells and scripts: speed, streams, codes, signals, names left out."""

import json
import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from ClaireDSALib.cli.console import list_skipped
from ClaireDSALib.cli.lazy import LazyVerb, group_with
from ClaireDSALib.cli.main import app
from ClaireDSALib.dsa.series import Skipped

CLAIRE = [sys.executable, "-m", "ClaireDSALib.cli.main"]


def _least_cpu_s(command, times=3):
    """Processor time of the quickest of a few runs: unlike wall time it does not grow with the machine's other work."""
    resource = pytest.importorskip("resource", reason="processor time of children is measured on POSIX only")
    best = float("inf")
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def test_help_answers_in_less_than_seven_tenths_of_a_second():
    assert _least_cpu_s([*CLAIRE, "--help"]) < 0.7


def test_importing_the_library_takes_less_than_three_tenths_of_a_second():
    assert _least_cpu_s([sys.executable, "-c", "import ClaireDSALib"]) < 0.3


def test_no_verb_is_imported_to_be_listed():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom ClaireDSALib.cli.main import app\n"
        "result = CliRunner().invoke(app, ['--help'])\nassert 'simulate' in result.output\n"
        "print([m for m in sys.modules if m in ('ClaireDSALib.cli.simulate', 'ClaireDSALib.cli.view', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_verb_without_its_packages_names_the_extra_and_ends_with_code_2(tmp_path, monkeypatch):
    (tmp_path / "needs_missing.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    lazy = typer.Typer(cls=group_with({"view": LazyVerb("needs_missing", "Look.", "web")}))
    lazy.callback()(lambda: None)
    result = CliRunner().invoke(lazy, ["view"])
    assert result.exit_code == 2
    assert 'pip install "claire-dsa[web]"' in result.stderr


def test_a_verb_that_is_not_there_is_not_listed():
    lazy = typer.Typer(cls=group_with({"gone": LazyVerb("no_such_module_anywhere", "Never seen.")}))
    lazy.callback()(lambda: None)
    assert "gone" not in CliRunner().invoke(lazy, ["--help"]).output


def test_a_mistyped_verb_is_answered_with_the_right_one():
    result = CliRunner().invoke(app, ["modles"])
    assert result.exit_code == 2
    assert "models" in result.output


def test_version_is_the_package_version():
    from ClaireDSALib import __version__

    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"claire-dsa {__version__}"


def test_results_go_to_stdout_and_the_rest_to_stderr(a_study_folder):
    done = subprocess.run([*CLAIRE, "info", str(a_study_folder), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert len(json.loads(done.stdout)["runs"]) == 2


def test_json_tells_a_program_why_nothing_was_usable(tmp_path):
    (tmp_path / "a.txt").write_text("nothing")
    result = CliRunner().invoke(app, ["info", str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["skipped"] == [{"source": "a.txt", "reason": "not a DICOM file"}]


def test_names_of_unused_files_stay_out_of_the_review_unless_asked_for(a_study_folder, tmp_path):
    (a_study_folder / "readme.txt").rename(a_study_folder / "DOE_JANE_1957.txt")
    settings = tmp_path / "settings.json"
    settings.write_text('{"label_bundle": "none", "thrombus_bundle": "none", "vessel_bundle": "none", "maps": false}')

    def reviewed(folder, *more):
        arguments = ["review", str(a_study_folder), "--out", str(folder), "--settings", str(settings), *more]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 3, result.output
        return (folder / "report.json").read_text() + (folder / "index.html").read_text(), result.stderr

    written, said = reviewed(tmp_path / "plain")
    assert "DOE_JANE" not in written
    assert "input 1 (.txt)" in written
    assert "input 1 not used, DOE_JANE_1957.txt" in said
    written, _ = reviewed(tmp_path / "named", "--identifiers")
    assert "DOE_JANE_1957.txt" in written


def test_a_long_list_of_unused_files_is_cut_and_counted(capsys):
    list_skipped([Skipped(f"{k}.txt", "not a DICOM file") for k in range(50)], most=10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "and 40 more" in lines[-1]


def test_a_folder_that_cannot_be_written_ends_in_a_sentence(a_study_folder, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    command = [*CLAIRE, "minip", str(a_study_folder / "run1.dcm"), "--out", str(tmp_path / "taken")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "taken" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that unwinds")
def test_termination_removes_the_unfinished_file(tmp_path):
    code = (
        "import signal, sys, time\nfrom pathlib import Path\nfrom ClaireDSALib.cli import main\n"
        "from ClaireDSALib.export.atomic import writing\n"
        "def work():\n"
        "    with writing(Path(sys.argv[1])) as temporary:\n"
        "        temporary.write_bytes(b'half'); print('writing', flush=True); time.sleep(30)\n"
        "main.app = work\nmain.run()\n"
    )
    target = tmp_path / "whole.bin"
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
