"""The summary page of a cohort: one HTML file with its pictures inside, no request to anywhere."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from html import escape
from importlib import resources

from ClaireDSALib.cohort import page_parts as parts
from ClaireDSALib.cohort.index import Index
from ClaireDSALib.cohort.places import Places
from ClaireDSALib.cohort.recipe import Recipe
from ClaireDSALib.cohort.store import Store
from ClaireDSALib.cohort.summary import Outlier, Summary, summarise
from ClaireDSALib.cohort.table import read_rows
from ClaireDSALib.export.atomic import write_text
from ClaireDSALib.export.page_words import count, words
from ClaireDSALib.pipeline.report import CaseReport

_INTENDED_USE = CaseReport.intended_use
_MOST_REASONS = 30


def write_page(places: Places, index: Index, store: Store, recipe: Recipe) -> Summary:
    """Write ``index.html`` from the table and return what it shows.

    Parameters
    ----------
    places : Places
    index : Index
        For the files that were not used.
    store : Store
        For the thumbnails.
    recipe : Recipe
    """
    summary = summarise(read_rows(places.table), recipe.labels)
    not_used: Counter[str] = Counter()
    for _, reason in index.not_used():
        not_used[reason if reason in not_used or len(not_used) < _MOST_REASONS else "other reasons"] += 1
    write_text(places.page, render(summary, not_used, recipe, store))
    return summary


def render(summary: Summary, not_used: Counter[str], recipe: Recipe, store: Store) -> str:
    """HTML of a cohort.

    Parameters
    ----------
    summary : Summary
    not_used : Counter
        Reason -> files and runs.
    recipe : Recipe
    store : Store
    """
    sections = (
        parts.numbers(summary, not_used.total()),
        parts.verdicts(summary),
        parts.groups(summary),
        parts.labels(summary),
        parts.thrombus_and_vessels(summary),
        parts.drift(summary),
        _gallery(summary, store),
        parts.reasons_section("Runs without an answer", summary.errors, "failed"),
        parts.reasons_section("Files and runs not used", not_used, "not-used"),
        _recipe(recipe),
    )
    return (
        _asset("ClaireDSALib.cohort", "cohort.html")
        .replace("{{style}}", _asset("ClaireDSALib.export", "page.css") + _asset("ClaireDSALib.cohort", "cohort.css"))
        .replace("{{summary}}", escape(_headline(summary)))
        .replace("{{intended_use}}", escape(_INTENDED_USE))
        .replace("{{footer}}", escape(_footer(recipe)))
        .replace("{{sections}}", "\n".join(section for section in sections if section))
    )


def _asset(package: str, name: str) -> str:
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def _headline(summary: Summary) -> str:
    found = [count(summary.runs, "run"), count(len(summary.studies - {""}), "study").replace("studys", "studies")]
    if summary.presets:
        found.append(f"{summary.verdicts['usable']} usable for {words(summary.presets.most_common(1)[0][0])}")
    return " · ".join(found)


def _footer(recipe: Recipe) -> str:
    bundles = [f"{ref.name} {ref.version} ({ref.sha256[:10]})" for ref in recipe.bundles.values()]
    return " · ".join([f"claire-dsa {recipe.version}", *bundles, f"recipe {recipe.sha256[:10]}"])


def _gallery(summary: Summary, store: Store) -> str:
    if not summary.gallery:
        return ""
    items = "".join(f"<li>{card}</li>" for card in _cards(summary.gallery, store))
    return (
        '<section class="card" aria-labelledby="gallery"><h2 id="gallery">Farthest from the training data</h2>'
        f'<p class="hint">{summary.outliers} of {summary.runs} runs lie beyond the label bundle\'s limit; their labels '
        "should not be trusted. These have the largest distance, farthest first: minimum intensity projections, "
        f'contrast dark.</p><ul class="gallery">{items}</ul></section>'
    )


def _cards(found: list[Outlier], store: Store) -> Iterator[str]:
    for one in found:
        path = store.thumbnail(one.result_key, one.run_id)
        image = '<span class="blank"></span>'
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            name = escape(one.run_id)
            image = f'<img src="data:image/png;base64,{data}" alt="Projection of run {name}">'
        mark = '<span class="flag">outlier</span>' if one.is_outlier else "within the limit"
        yield (
            f"{image}{mark}, distance {one.score:.3g}, {escape(words(one.verdict))}<br>"
            f"<code>{escape(one.run_id)}</code>" + (f"<br>{escape(one.centre)}" if one.centre else "")
        )


def _recipe(recipe: Recipe) -> str:
    text = json.dumps(recipe.to_dict(), indent=1, ensure_ascii=False)
    return (
        '<section class="card"><details><summary>Settings, versions and hashes</summary>'
        f"<p>Recipe <code>{recipe.sha256}</code>: the same recipe and the same pixels give the same answer.</p>"
        f'<pre tabindex="0">{escape(text)}</pre></details></section>'
    )
