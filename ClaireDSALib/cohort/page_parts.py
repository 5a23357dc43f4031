"""The sections of the summary page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape

from ClaireDSALib.cohort.summary import BINS, GROUPS, Drift, Summary
from ClaireDSALib.export.page_words import words

_VERDICTS = {"usable": "usable", "not_usable": "not usable", "unknown": "no verdict", "failed": "failed"}
_TITLES = {"centre": "By centre", "device": "By device", "year": "By year"}
_SURE = 0.01
_FAR = 0.1
"""A label drifts notably when its distance is at least this and chance alone is no explanation."""
_MOST_ROWS = 40


def numbers(summary: Summary, not_used: int) -> str:
    """The figures at the top."""
    usable = summary.verdicts["usable"]
    shown = [
        (str(summary.runs), "runs"),
        (str(len(summary.patients - {""})), "patients"),
        (str(len(summary.studies - {""})), "studies"),
        (str(summary.pairs), "biplane pairs"),
        (str(usable), f"usable ({_percent(usable, summary.runs)})"),
        (str(summary.verdicts["failed"]), "failed"),
        (str(not_used), "files and runs not used"),
        (f"{summary.seconds.mean:.2f} s", "analysis, mean"),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in shown)
    return f'<section class="numbers" aria-label="Figures">{cells}</section>'


def verdicts(summary: Summary) -> str:
    """How many are usable, and why the others are not."""
    if not summary.presets:
        return _card("Usable, and why not", "<p>No verdicts: no label bundle was used.</p>", "verdicts")
    rows = "".join(
        f'<tr><th scope="row">{escape(words(label))}</th><td class="n">{n}</td>'
        f'<td class="n">{_percent(n, summary.runs)}</td>'
        f'<td class="wide">{_bar([("-not_usable", n)], summary.runs)}</td>'
        f'<td class="why">{escape(_sentence(summary.examples.get(label, "")))}</td></tr>'
        for label, n in summary.excluded_by.most_common()
    )
    table = _table(("Excluded by", "runs", "share", "", "for example"), rows) if rows else ""
    preset = words(summary.presets.most_common(1)[0][0])
    body = (
        f'<p class="hint">Rules: {escape(preset)}. A run can be excluded by several labels.</p>'
        f"{_key(_VERDICTS)}{_verdict_bar(summary.verdicts)}<h3>Why not</h3>{table or '<p>Every run is usable.</p>'}"
    )
    return _card("Usable, and why not", body, "verdicts")


def groups(summary: Summary) -> str:
    """Verdicts by centre, device and year."""
    tables = ""
    for group in GROUPS:
        found = summary.groups[group]
        order = sorted(found, key=lambda v: v if group == "year" else (-found[v].total(), v))  # type: ignore[arg-type, return-value]
        rows = "".join(_group_row(value or "not recorded", found[value]) for value in order[:_MOST_ROWS])
        more = f"<p>and {len(order) - _MOST_ROWS} more in the table</p>" if len(order) > _MOST_ROWS else ""
        tables += f"<h3>{_TITLES[group]}</h3>{_table((group.capitalize(), 'runs', 'usable', ''), rows)}{more}"
    return _card("Centres, devices, years", f"{_key(_VERDICTS)}{tables}", "groups")


def labels(summary: Summary) -> str:
    """How common every class is."""
    if not summary.classes:
        return ""
    blocks = ""
    for name, classes in summary.labels.items():
        total = summary.classes[name].total()
        if not total:
            continue
        rows = "".join(
            f'<tr><th scope="row">{escape(words(cls))}</th><td class="n">{summary.classes[name][cls]}</td>'
            f'<td class="n">{_percent(summary.classes[name][cls], total)}</td>'
            f'<td class="n">{summary.chances[name][cls].mean:.0%}</td>'
            f'<td class="wide">{_bar([("0", summary.classes[name][cls])], total)}</td></tr>'
            for cls in classes
        )
        title = f"{words(name).capitalize()} <span class='hint'>({total} runs answered)</span>"
        blocks += f"<div><h3>{title}</h3>{_table(('Class', 'runs', 'share', 'mean p', ''), rows)}</div>"
    hint = (
        '<p class="hint">Share: runs whose likeliest class it is. Mean p: mean calibrated probability, the better '
        "estimate of how common a class is.</p>"
    )
    return _card("Image properties", f'{hint}<div class="two">{blocks}</div>', "labels")


def thrombus_and_vessels(summary: Summary) -> str:
    """Thrombus and vessel measures."""
    found = summary.thrombus
    if not found["assessed"] and not summary.vessels:
        return ""
    left = "<p>Not assessed in any run.</p>"
    if found["assessed"]:
        top = max(summary.thrombus_bins)
        bars = "".join(
            f'<i style="height:{100 * n / top:.1f}%" title="{k / BINS:.1f} to {(k + 1) / BINS:.1f}: {n} runs"></i>'
            for k, n in enumerate(summary.thrombus_bins)
        )
        counts = ", ".join(map(str, summary.thrombus_bins))
        pairs = (
            f"<p>Both views together: {found['pairs_present']} of {found['pairs_assessed']} biplane pairs "
            f"({_percent(found['pairs_present'], found['pairs_assessed'])}).</p>"
            if found["pairs_assessed"]
            else ""
        )
        left = (
            "<p class='hint'>Present: the probability reaches the bundle's threshold.</p>"
            f"<p>Present in {found['present']} of {found['assessed']} runs assessed "
            f"({_percent(found['present'], found['assessed'])}).</p>{pairs}"
            f'<div class="histogram" role="img" aria-label="Runs by probability of thrombus in tenths: {counts}">{bars}'
            '</div><p class="limits"><span>0</span><span>probability of thrombus</span><span>1</span></p>'
        )
    units = {
        "vessel_length_mm": ("Length of centre lines", "mm", 1, 0),
        "vessel_diameter_mm": ("Mean diameter", "mm", 1, 2),
        "vessel_fraction": ("Share of the picture", "%", 100, 1),
    }
    rows = "".join(
        f'<tr><th scope="row">{title}</th><td class="n">{m.n}</td><td class="n">{scale * m.mean:.{digits}f} {unit}</td>'
        f'<td class="n">{scale * m.spread:.{digits}f} {unit}</td></tr>'
        for name, (title, unit, scale, digits) in units.items()
        if (m := summary.vessels.get(name)) is not None and m.n
    )
    right = _table(("Measure", "runs", "mean", "standard deviation"), rows) if rows else "<p>None segmented.</p>"
    body = f'<div class="two"><div><h3>Thrombus</h3>{left}</div><div><h3>Vessels</h3>{right}</div></div>'
    return _card("Thrombus and vessels", body, "thrombus")


def drift(summary: Summary) -> str:
    """Label distributions over the years, or between the halves of the cohort."""
    found = [one for one in summary.drift() if len(one.shares) > 1]
    if not found:
        return ""
    tests = len(found)
    hint = (
        '<p class="hint">Distance: largest total variation distance between one period and the rest, 0 to 1; p: '
        f"chi-square test. Marked when the distance is at least {_FAR:g} and p is below {_SURE:g} / {tests} labels. "
        "Runs of one patient are not independent, so p errs towards alarm.</p>"
    )
    blocks = "".join(_drift(one, summary.labels[one.label], tests) for one in sorted(found, key=lambda d: -d.distance))
    return _card("Drift", f'{hint}<div class="two broad">{blocks}</div>', "drift")


def reasons_section(title: str, reasons: Counter[str], name: str) -> str:
    """Reasons with how often each occurs; nothing when there are none."""
    if not reasons:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(reason)}</th><td class="n">{n}</td></tr>' for reason, n in reasons.most_common(60)
    )
    return _card(f"{title} ({reasons.total()})", _table(("Reason", "number"), rows), name)


def _drift(one: Drift, classes: tuple[str, ...], tests: int) -> str:
    notable = one.p_value is not None and one.distance >= _FAR and one.p_value < _SURE / tests
    p = "" if one.p_value is None else f", p {one.p_value:.2g}"
    mark = ' <span class="flag">drifts</span>' if notable else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(period)}</th><td class="n">{one.counts[period]}</td>'
        f'<td class="wide">{_bar([(str(k), share[c]) for k, c in enumerate(classes)], 1.0)}</td>'
        f'<td class="why">{escape(", ".join(f"{words(c)} {share[c]:.0%}" for c in classes))}</td></tr>'
        for period, share in one.shares.items()
    )
    title = f"{words(one.label).capitalize()} <span class='hint'>distance {one.distance:.2f}{p}</span>{mark}"
    key = _key({str(k): words(c) for k, c in enumerate(classes)}, prefix="c")
    return f"<div><h3>{title}</h3>{key}{_table(('Period', 'runs', '', 'shares'), rows)}</div>"


def _group_row(value: str, found: Counter[str]) -> str:
    total = found.total()
    return (
        f'<tr><th scope="row">{escape(value)}</th><td class="n">{total}</td>'
        f'<td class="n">{_percent(found["usable"], total)}</td><td class="wide">{_verdict_bar(found)}</td></tr>'
    )


def _verdict_bar(found: Mapping[str, int]) -> str:
    total = max(1, sum(found.values()))
    pieces = "".join(
        f'<i class="c-{name}" style="width:{100 * found.get(name, 0) / total:.2f}%"></i>'
        for name in _VERDICTS
        if found.get(name)
    )
    told = ", ".join(f"{title} {found.get(name, 0)}" for name, title in _VERDICTS.items() if found.get(name))
    return f'<div class="stackbar" role="img" aria-label="{told}" title="{told}">{pieces}</div>'


def _bar(shares: Iterable[tuple[str, float]], total: float) -> str:
    pieces = "".join(
        f'<i class="c{color}" style="width:{100 * value / max(total, 1e-9):.2f}%"></i>'
        for color, value in shares
        if value > 0
    )
    return f'<div class="stackbar" aria-hidden="true">{pieces}</div>'


def _key(names: Mapping[str, str], prefix: str = "c-") -> str:
    items = "".join(f'<li><i class="{prefix}{name}"></i>{escape(title)}</li>' for name, title in names.items())
    return f'<ul class="key" aria-label="Colours">{items}</ul>'


def _table(head: tuple[str, ...], rows: str) -> str:
    cells = "".join(
        f'<th scope="col" class="{"n" if name in ("runs", "share", "mean p", "usable", "mean", "number") else ""}">'
        f"{escape(name)}</th>"
        if name
        else "<td></td>"
        for name in head
    )
    return f'<table class="counts"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'


def _card(title: str, body: str, name: str) -> str:
    return f'<section class="card" aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{body}</section>'


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _sentence(text: str) -> str:
    return text.split(" - ", 1)[-1]
