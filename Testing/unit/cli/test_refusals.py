"""What the library refuses becomes one sentence on standard error and an exit code, whatever kind of error it is."""

import pytest
import typer

from ClaireDSALib.cli.console import BAD_USAGE, NOTHING_USABLE, refusing


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("the spacing must be positive"), "Refused: the spacing must be positive"),
        (KeyError("no bundle 'a'; known: b"), "Refused: no bundle 'a'; known: b"),
        (FileNotFoundError(2, "No such file or directory", "index.jsonl"), "No such file or directory: 'index.jsonl'"),
    ],
)
def test_a_refusal_is_one_sentence(error, sentence, capsys):
    with pytest.raises(typer.Exit) as left, refusing(ValueError, KeyError, OSError):
        raise error
    assert left.value.exit_code == NOTHING_USABLE
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_verb_says_which_file_and_how_it_leaves(capsys):
    error = ValueError("unknown key 'setps'")
    with pytest.raises(typer.Exit) as left, refusing(ValueError, code=BAD_USAGE, about="settings.json"):
        raise error
    assert left.value.exit_code == BAD_USAGE
    assert capsys.readouterr().err == "Refused: settings.json: unknown key 'setps'\n"


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), refusing(ValueError):
        _ = 1 / 0
