import json

import pytest

from ClaireDSALib.pipeline.report import Override
from ClaireDSALib.web.logic.review_book import ReviewBook


def test_each_change_is_on_disk_at_once_and_is_read_back(tmp_path):
    book = ReviewBook.open(tmp_path / "new" / "review.json")
    book.set_reviewer("A. Reader")
    book.set("run", "side", "correct", "left")
    book.set_comment("run", "good run")
    again = ReviewBook.open(tmp_path / "new" / "review.json")
    assert again.reviewer == "A. Reader"
    assert (again.get("run", "side").verdict, again.get("run", "side").value) == ("correct", "left")
    assert again.comment("run") == "good run"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["review.json"]


def test_undo_and_redo_walk_through_the_changes():
    book = ReviewBook()
    book.set("run", "side", "accept")
    book.set("run", "side", "correct", "right")
    book.clear("run", "side")
    book.undo()
    assert book.get("run", "side").value == "right"
    book.undo()
    assert book.get("run", "side").verdict == "accept"
    book.undo()
    assert book.get("run", "side") is None
    assert not book.can_undo
    book.redo()
    assert book.get("run", "side").verdict == "accept"
    book.set("run", "region", "unsure")
    assert not book.can_redo


def test_a_file_of_another_kind_is_never_overwritten(tmp_path):
    path = tmp_path / "review.json"
    path.write_text('{"format": "something else"}')
    with pytest.raises(ValueError, match="cannot be read as a review"):
        ReviewBook.open(path)
    assert json.loads(path.read_text()) == {"format": "something else"}


def test_corrections_of_a_report_are_taken_over_but_the_books_own_win():
    book = ReviewBook()
    book.set("run", "side", "accept")
    book.take("run", (Override("side", "unsure"), Override("device", "correct", "present")))
    assert book.get("run", "side").verdict == "accept"
    assert book.get("run", "device").value == "present"
    assert [o.label for o in book.overrides("run")] == ["device", "side"]
