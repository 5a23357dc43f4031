"""Write what is made from the code: the report's schema, docs/report.md, docs/cli.md, docs/index.md, the
README's model table, the codes in docs/dicom_conformance.md.

``python scripts/write_docs.py`` writes; ``--check`` only says what is out of date (exit code 1).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import report_schema  # noqa: E402 - after the path is set

from ClaireDSALib.pipeline.report import SCHEMA_VERSION  # noqa: E402

_MODELS_START, _MODELS_END = "<!-- models: written by scripts/write_docs.py -->", "<!-- end of models -->"

_CODES_START, _CODES_END = "<!-- codes: written by scripts/write_docs.py -->", "<!-- end of codes -->"


def main() -> int:
    """Write or check every made file."""
    check = "--check" in sys.argv[1:]
    stale = [path for path, make in MADE.items() if _differs(path, make())]
    for path in stale:
        if not check:
            (ROOT / path).write_text(MADE[path](), encoding="utf-8")
        print(f"{'out of date' if check else 'written'}: {path}")
    return 1 if check and stale else 0


def schema_text() -> str:
    """The schema as it stands in the library."""
    return json.dumps(report_schema.schema(), indent=1) + "\n"


def report_page() -> str:
    """docs/report.md: every object of the report with its fields."""
    parts = [_REPORT_HEAD.format(version=SCHEMA_VERSION)]
    for name, kind in report_schema.report_classes().items():
        rows = "\n".join(_field_rows(kind))
        parts.append(
            f"## {name}\n\n{report_schema.summary(kind)}\n\n| field | type | meaning |\n|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def cli_page() -> str:
    """docs/cli.md: the help of every verb, as it is printed."""
    return "\n".join([_CLI_HEAD, *(f"## {title}\n\n```text\n{text}\n```\n" for title, text in _help_texts())])


def index_page() -> str:
    """docs/index.md: every page in docs, the ones for users first."""
    folder = ROOT / "docs"
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"index.md"}
    ordered = [*(name for name in _FOR_WHOM if name in pages), *sorted(pages - set(_FOR_WHOM))]
    rows = "\n".join(f"| [{_heading(folder / name)}]({name}) | {_FOR_WHOM.get(name, '')} |" for name in ordered)
    return f"# Documents\n\n| page | for whom |\n|---|---|\n{rows}\n"


def conformance_page() -> str:
    """docs/dicom_conformance.md with its tables of codes brought up to date."""
    from ClaireDSALib.export.dicom_codes import PRIVATE_SCHEME, all_codes

    text = (ROOT / "docs/dicom_conformance.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_CODES_START)
    _, _, after = rest.partition(_CODES_END)
    own = "\n".join(f"| {code.value} | {code.meaning} |" for code in all_codes() if code.scheme == PRIVATE_SCHEME)
    standard = "\n".join(
        f"| {code.scheme} | {code.value} | {code.meaning} |" for code in all_codes() if code.scheme != PRIVATE_SCHEME
    )
    tables = (
        f"### Private codes ({PRIVATE_SCHEME}, version 1)\n\n| value | meaning |\n|---|---|\n{own}\n\n"
        f"### Standard codes\n\n| scheme | value | meaning |\n|---|---|---|\n{standard}"
    )
    return f"{before}{_CODES_START}\n{tables}\n{_CODES_END}{after}"


def readme() -> str:
    """README.md with its model table brought up to date."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_MODELS_START)
    _, _, after = rest.partition(_MODELS_END)
    return f"{before}{_MODELS_START}\n{_model_table()}\n{_MODELS_END}{after}"


MADE: dict[str, Callable[[], str]] = {
    "docs/dicom_conformance.md": conformance_page,
    "ClaireDSALib/pipeline/report_schema.json": schema_text,
    "docs/report.md": report_page,
    "docs/cli.md": cli_page,
    "docs/index.md": index_page,
    "README.md": readme,
}
"""File -> what makes its text."""

_FOR_WHOM = {
    "slicer.md": "whoever works in Slicer: a first case, step by step",
    "web.md": "whoever reviews in a browser",
    "cli.md": "whoever runs `claire-dsa`; written from its `--help`",
    "report.md": "whoever reads `report.json` with a program; written from the code",
    "reading.md": "whoever wonders how times, scale, view, polarity and pairs were found",
    "physics.md": "whoever wonders how subtraction, motion correction, maps and vessels are computed",
    "perfusion.md": "whoever wants phases, perfusion maps, or runs before and after treatment compared",
    "models/labels.md": "whoever asks how far the nine image properties can be trusted",
    "models/vessels.md": "whoever asks how far the vessel masks can be trusted",
    "models/sequences.md": "whoever asks how far the thrombus verdict can be trusted, or trains another",
    "models/quality.md": "whoever needs vessels and a quality grade on a laptop",
    "filtering.md": "whoever asks whether leaving unsuitable runs out pays",
    "cohorts.md": "whoever runs thousands of studies",
    "pacs.md": "whoever connects it to a PACS",
    "dicom_conformance.md": "whoever reads the DICOM objects, or must approve them",
    "exports.md": "whoever takes results elsewhere: tables, NRRD, scenes, PDF",
    "adaptation.md": "whoever brings a model to a new hospital",
    "simulator.md": "whoever wants to know what the simulated angiograms are, and what they are not",
    "simulator_anatomy.md": "whoever checks the anatomy, flow and iodine behind them",
    "architecture.md": "whoever changes the code",
    "decisions.md": "whoever wonders why it is so",
}

_REPORT_HEAD = """# The report

`claire-dsa review` and every other front end write one `report.json` per case: what was read, what was found, how
sure the models are, and everything needed to repeat the analysis. Its schema (JSON Schema 2020-12) is
[`report_schema.json`](../ClaireDSALib/pipeline/report_schema.json), version {version}. This page and the schema are
made from the dataclasses in `ClaireDSALib/pipeline/report.py` by `python scripts/write_docs.py`.

- A higher first number of `schema_version` means that old readers would misread the file; they refuse it. A higher
  second number only adds fields.
- A step that was not run is `null`, and the run's `notes` say why. A run that failed has a sentence in `error`.
- Numbers are finite; times are seconds from the first frame; frame numbers count from 0, except in DICOM references.
- Nothing names the patient: `patient_key` is a salted hash, input files are numbered, and UIDs are there to trace
  back. Only `--identifiers` adds file names.
- A reviewer's `overrides` stand beside the model's output and never replace it.

```python
from ClaireDSALib.pipeline.report import CaseReport

report = CaseReport.from_json(open("review/report.json", encoding="utf-8").read())
for run in report.runs:
    print(run.run_id, run.acquisition.view, run.suitability)
```
"""

_CLI_HEAD = """# The command line

Results go to standard output, everything else (progress, skipped files) to standard error. Exit codes: 0 done,
1 nothing usable found, 2 bad usage, 3 some inputs failed (each is listed with its reason), 130 interrupted. A file
appears whole or not at all, also after Ctrl-C. This page is written by `python scripts/write_docs.py`.
"""


def _heading(page: Path) -> str:
    return next(
        (line.lstrip("# ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# ")),
        page.stem,
    )


def _differs(path: str, text: str) -> bool:
    file = ROOT / path
    return not file.exists() or file.read_text(encoding="utf-8") != text


def _field_rows(kind: type) -> Iterator[str]:
    texts = report_schema.field_texts(kind)
    for name, hint in kind.__annotations__.items():
        shown = str(hint).replace("|", "\\|")
        yield f"| `{name}` | `{shown}` | {texts[name]} |"


def _help_texts() -> Iterator[tuple[str, str]]:
    os.environ.update(COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1")
    from typer.main import get_command
    from typer.testing import CliRunner

    from ClaireDSALib.cli.main import app

    def text(arguments: list[str]) -> str:
        result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
        return "\n".join(line.rstrip() for line in result.output.strip().splitlines())

    yield "claire-dsa", text([])
    for verb in get_command(app).commands:  # type: ignore[attr-defined]
        yield f"claire-dsa {verb}", text([verb])


def _model_table() -> str:
    from ClaireDSALib.models.catalogue import load_catalogue

    entries = [e for e in load_catalogue().entries if e.origin == "shipped"]
    if not entries:
        return "No model is shipped yet; `claire-dsa models list` shows what is installed."
    rows = [
        f"| `{e.name}` | {e.task} | {e.version} | {e.size_mb:.1f} MB | {e.licence} | {_figure(e)} |" for e in entries
    ]
    head = "| model | task | version | size | licence | measured, on data named here |\n|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def _figure(entry: object) -> str:
    figures = getattr(entry, "figures", ())
    return "; ".join(re.sub(r"\s+", " ", f"{f.name} {f.value:.3f} ({f.data})") for f in figures[:2])


if __name__ == "__main__":
    sys.exit(main())
