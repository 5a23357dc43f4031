"""The table and the page: documented, loadable, harmless, and counted right."""

import dataclasses
import re

import pytest

from ClaireDSALib.cohort import page
from ClaireDSALib.cohort.columns import VOLATILE, columns
from ClaireDSALib.cohort.index import PlannedUnit
from ClaireDSALib.cohort.recipe import BundleRef, Recipe
from ClaireDSALib.cohort.store import Store, UnitResult
from ClaireDSALib.cohort.summary import GALLERY, summarise
from ClaireDSALib.cohort.table import harmless, read_rows, write_csv, write_failures, write_table
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.pipeline.report import Perfusion, Quality
from ClaireDSALib.pipeline.settings import Settings
from Testing.unit.cohort.conftest import ROOT
from Testing.unit.cohort.quick_analyst import LABELS, made_up_result, made_up_run

pytest.importorskip("pyarrow", reason="cohorts need pyarrow")
pd = pytest.importorskip("pandas", reason="tables are read back with pandas")

RECIPE = Recipe(Settings(), {"labels": BundleRef("tiny", "1.0", "f" * 64)}, LABELS, {}, "0.0", "0" * 64)


@pytest.fixture
def fill(an_index, tmp_path):
    """Put made-up results into a store and write the table; returns its path."""
    store = Store(tmp_path / "results")
    recipe_key = RECIPE.sha256

    def write(results):
        for number, (unit, result, moment) in enumerate(results):
            an_index.put_plan(f"study {number}", "digest", [PlannedUnit(unit, moment)], [])
            store.commit(unit.key(recipe_key), result, {})
        write_table(tmp_path / "cohort.parquet", an_index, store, RECIPE)
        return tmp_path / "cohort.parquet"

    return write


def _one(name, *, centre="", moment="20240506070809.0", patient="p", **identity):
    unit = Unit(f"content {name}", (name,), (f"{name}.dcm",), 1, centre, patient)
    return unit, made_up_result(made_up_run(name, acquired_at=moment, **identity)), moment


def test_the_table_loads_in_pandas_with_the_documented_columns(fill):
    table = pd.read_parquet(fill([_one("aa01"), _one("aa02", centre="north")]))
    assert table.columns.tolist() == [column.name for column in columns(LABELS)]
    first = table.set_index("run_id").loc["aa01"]
    report = made_up_run("aa01")
    assert first["p_projection_ap"] == pytest.approx(report.labels[0].probabilities[0])
    assert first["label_device"] == "", "a label that was not answered has no class"
    assert pd.isna(first["p_device_absent"])
    assert first["verdict"] == ("usable" if report.suitability.suitable else "not_usable")
    assert first["thrombus_present"] == report.thrombus.present
    assert first["labels_bundle"] == "tiny 1.0"
    assert first["year"] == 2024


def test_quality_and_perfusion_have_columns(fill):
    run = dataclasses.replace(
        made_up_run("aa01"),
        quality=Quality("poor", {"good": 0.1, "acceptable": 0.2, "poor": 0.7}, "network"),
        perfusion=Perfusion("automatic", (1.0, 2.0), 4, 0.5, {"tmax": 2.5, "mtt": 4.0, "cbf": 0.2, "cbv": 0.8}, 0.3),
        timings_s={"perfusion": 0.4, "a step of tomorrow": 1.0},
    )
    (row,) = read_rows(fill([(Unit("c", ("aa01",), ("x.dcm",), 1, "", "p"), made_up_result(run), "")]))
    assert (row["quality_grade"], row["quality_poor"]) == ("poor", 0.7)
    assert (row["perfusion_tmax_s"], row["perfusion_mtt_s"], row["perfusion_late_share"]) == (2.5, 4.0, 0.3)
    assert row["perfusion_s"] == 0.4


def test_every_column_is_documented():
    text = (ROOT / "docs" / "cohorts.md").read_text()
    documented = dict(re.findall(r"^\| `([\w<>]+)` \| (\w+) \|", text, re.M))
    fixed = {column.name: column.kind for column in columns({})}
    patterns = {"label_<name>": "text", "p_<name>_<class>": "real"}
    assert documented == {**fixed, **patterns}


def test_columns_of_time_are_the_only_ones_that_may_differ():
    assert set(VOLATILE) <= {column.name for column in columns({})}
    assert not {"verdict", "error", "thrombus_probability"} & set(VOLATILE)


def test_a_unit_that_failed_has_a_row_for_each_of_its_runs(fill, tmp_path):
    unit = Unit("content", ("aa01", "aa02"), ("a.dcm",), 1, "north", "p")
    path = fill([(unit, UnitResult("failed", reason="=cmd|' /C calc'!A0"), "")])
    rows = list(read_rows(path))
    assert [(row["run_id"], row["status"]) for row in rows] == [("aa01", "failed"), ("aa02", "failed")]
    write_failures(tmp_path / "failures.csv", path)
    write_csv(tmp_path / "cohort.csv", path)
    for name in ("failures.csv", "cohort.csv"):
        assert "'=cmd" in (tmp_path / name).read_text()
        assert pd.read_csv(tmp_path / name)["run_id"].tolist() == ["aa01", "aa02"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(text):
    assert harmless(text) == f"'{text}"
    assert harmless(-1.5) == -1.5
    assert harmless("fine") == "fine"


def test_halves_are_told_by_time(fill):
    rows = list(read_rows(fill([_one(f"aa{k:02d}", moment=f"2024050{k + 1}000000.0") for k in range(4)])))
    assert [row["half"] for row in rows] == ["first", "first", "second", "second"]


def test_dates_are_in_the_table_only_when_asked(fill, an_index, tmp_path):
    path = fill([_one("aa01")])
    assert next(read_rows(path))["acquired_on"] == ""
    write_table(path, an_index, Store(tmp_path / "results"), RECIPE, with_dates=True)
    assert next(read_rows(path))["acquired_on"] == "2024-05-06"


def test_results_of_another_recipe_are_not_in_the_table(fill, an_index, tmp_path):
    fill([_one("aa01")])
    other = dataclasses.replace(RECIPE, version="9.9")
    assert write_table(tmp_path / "other.parquet", an_index, Store(tmp_path / "results"), other).runs == 0


def test_the_summary_counts_what_the_rows_say(fill):
    path = fill([_one(f"{k:04x}", centre="north" if k % 2 else "south", patient=f"p{k // 2}") for k in range(40)])
    rows = list(read_rows(path))
    found = summarise(rows, LABELS)
    assert found.runs == 40
    assert len(found.patients) == 20
    assert found.verdicts["usable"] == sum(row["verdict"] == "usable" for row in rows)
    assert found.groups["centre"]["north"].total() == 20
    assert found.excluded_by["projection"] == sum(row["excluded_by"] == "projection" for row in rows)
    assert found.classes["projection"]["ap"] == sum(row["label_projection"] == "ap" for row in rows)
    assert found.thrombus["present"] == sum(row["thrombus_present"] for row in rows)
    scores = sorted((row["outlier_score"] for row in rows), reverse=True)
    assert [one.score for one in found.gallery] == scores[:GALLERY]


def test_a_change_between_years_is_drift_and_none_is_none(fill):
    """Twenty runs in one year are all AP, twenty in the next all lateral; devices stay half and half."""
    results = []
    for k in range(40):
        year, p = (2023, 0.9) if k < 20 else (2024, 0.1)
        run = made_up_run(f"{k:04x}", acquired_at=f"{year}0506070809.0")
        device = 0.9 if k % 2 else 0.1
        labels = (
            dataclasses.replace(run.labels[0], probabilities=(p, 1 - p), predicted="ap" if p > 0.5 else "lateral"),
            dataclasses.replace(
                run.labels[1],
                answered=True,
                probabilities=(device, 1 - device),
                predicted="absent" if device > 0.5 else "present",
            ),
        )
        unit = Unit(f"content {k}", (run.run_id,), ("x.dcm",), 1, "", f"p{k}")
        results.append((unit, made_up_result(dataclasses.replace(run, labels=labels)), f"{year}0506"))
    projection, device = summarise(read_rows(fill(results)), LABELS).drift()
    assert projection.distance == 1.0
    assert projection.p_value < 1e-6
    assert device.distance == 0.0
    assert device.p_value > 0.9


def test_the_page_shows_the_figures_and_asks_for_nothing(fill, tmp_path):
    results = [_one(f"{k:04x}", centre="<b>north</b>", moment=f"{2020 + k % 3}0101000000.0") for k in range(30)]
    found = summarise(read_rows(fill(results)), LABELS)
    text = page.render(found, page.Counter({"not a <DICOM> file": 2}), RECIPE, Store(tmp_path / "results"))
    for wanted in ("30</b>", "&lt;b&gt;north&lt;/b&gt;", "not a &lt;DICOM&gt; file", "not a medical device", "Drift"):
        assert wanted in text
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", text)
    assert "http://" not in text
    assert "https://" not in text
    assert "{{" not in text
    for heading in re.findall(r'aria-labelledby="([\w-]+)"', text):
        assert f'id="{heading}"' in text
