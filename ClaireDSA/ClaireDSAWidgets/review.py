"""Changes of a case report which need no new analysis: results that come in, a reviewer's word, other rules."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any


def merged(old: Any, new: Any) -> Any:
    """Put the runs of ``new`` into ``old`` (None for the first); a reviewer's words on a run are kept."""
    if old is None:
        return new
    fresh = {run.run_id: _keeping_overrides(run, old) for run in new.runs}
    runs = tuple(fresh.pop(run.run_id, run) for run in old.runs) + tuple(fresh.values())
    kept = tuple(p for p in old.pairs if p.run_ids not in {q.run_ids for q in new.pairs})
    return dataclasses.replace(
        new,
        runs=runs,
        pairs=kept + new.pairs,
        skipped=tuple(dict.fromkeys(old.skipped + new.skipped)),
        provenance=dataclasses.replace(
            new.provenance,
            models=tuple(dict.fromkeys(old.provenance.models + new.provenance.models)),
            fallbacks=tuple(dict.fromkeys(old.provenance.fallbacks + new.provenance.fallbacks)),
        ),
    )


def with_override(report: Any, run_id: str, label: str, verdict: str, value: str, comment: str, reviewer: str) -> Any:
    """Write a reviewer's verdict on one label beside the model's output; an empty verdict takes it back."""
    from ClaireDSALib.pipeline.report import Override

    run = report.run(run_id)
    others = tuple(o for o in run.overrides if o.label != label)
    if verdict:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        others += (Override(label, verdict, value, comment, reviewer, now),)
    return replaced(report, dataclasses.replace(run, overrides=others))


def rejudged(report: Any, preset: str, least_probability: float) -> Any:
    """Judge all runs again by another rule set; labels and everything else stay."""
    from ClaireDSALib.pipeline.suitability import judge, rules_from_dicts

    rules = rules_of(preset, least_probability)
    chosen = rules_from_dicts(preset, rules) if rules else _shipped(preset)
    for run in report.runs:
        if run.labels:
            verdict = judge(
                run.labels,
                chosen,
                maskable=bool(run.acquisition.mask_frames),
                out_of_distribution=run.out_of_distribution,
                quality=run.quality,
            )
            report = replaced(report, dataclasses.replace(run, suitability=verdict))
    return report


def rules_of(preset: str, least_probability: float) -> tuple[dict[str, Any], ...]:
    """The preset's rules with another threshold for the excluding ones; empty keeps the preset as it is."""
    if least_probability <= 0:
        return ()
    rules = [rule.to_dict() for rule in _shipped(preset).rules]
    return tuple({**r, "threshold": least_probability} if r["severity"] == "exclude" else r for r in rules)


def replaced(report: Any, run: Any) -> Any:
    """Report with one run exchanged."""
    return dataclasses.replace(report, runs=tuple(run if r.run_id == run.run_id else r for r in report.runs))


def _shipped(preset: str) -> Any:
    from ClaireDSALib.pipeline.suitability import load_rules

    return load_rules(preset)


def _keeping_overrides(run: Any, old: Any) -> Any:
    before = next((r for r in old.runs if r.run_id == run.run_id), None)
    if before is None or run.overrides:
        return run
    known = {label.name for label in run.labels}
    return dataclasses.replace(run, overrides=tuple(o for o in before.overrides if o.label in known))
