"""A sweep's files: JSON, CSV, and a page without injection."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import msgspec
import pytest

from core import NoOptions
from core.plugin.records import Axis, Point, SweepMetric, SweepRecord
from plugins.reporter._reading import presentable, short_names, spread_text
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from plugins.reporter.json import SWEEP_SCHEMA, JsonReport
from tests.plugins.reporter import sweeps


def written(record: SweepRecord, folder: Path, name: str) -> str:
    """Return one of the files of a sweep."""
    JsonReport(NoOptions()).luthier_sweep_finished(record=record, folder=str(folder))
    HtmlReport(HtmlReportOptions()).luthier_sweep_finished(record=record, folder=str(folder))
    return (folder / name).read_bytes().decode()


def rows(record: SweepRecord, folder: Path) -> list[dict[str, str]]:
    """Return the CSV's rows by the titles of its columns."""
    return list(csv.DictReader(io.StringIO(written(record, folder, "sweep.csv"), newline="")))


def test_the_json_reads_back_as_a_record(tmp_path: Path) -> None:
    """The JSON has its schema's name first and reads back as the record."""
    text = written(sweeps.sweep(), tmp_path, "sweep.json")
    assert next(iter(json.loads(text).items())) == ("schema", SWEEP_SCHEMA)
    assert msgspec.json.decode(text, type=SweepRecord) == presentable(sweeps.sweep())


@pytest.mark.parametrize("record", [sweeps.sweep(), sweeps.hostile()], ids=["usual", "hostile"])
def test_the_json_holds_to_its_schema(record: SweepRecord, tmp_path: Path) -> None:
    """The JSON fits the published schema, which refuses another version."""
    import jsonschema  # takes two seconds to load

    file = Path(__file__).parents[3] / "docs" / "schemas" / "sweep.schema.json"
    check = jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
    content = json.loads(written(record, tmp_path, "sweep.json"))
    check.validate(content)
    assert not check.is_valid({**content, "schema": "luthier.sweep/1"})


def test_what_is_no_number_was_not_measured(tmp_path: Path) -> None:
    """NaN and infinity are left out of every file, and zero is kept."""
    figures = {"sdr": 0.0, "latency": math.nan, "size": math.inf}
    points = tuple(dataclasses.replace(p, figures=figures) for p in sweeps.grid(sweeps.LENGTH))
    record = sweeps.sweep((sweeps.LENGTH,), points)
    kept = json.loads(written(record, tmp_path, "sweep.json"))["points"][0]["figures"]
    assert kept == {"sdr": 0.0}
    row = rows(record, tmp_path)[0]
    assert (row["SDR (dB)"], row["latency per window (ms)"]) == ("0.0", "")


@pytest.mark.parametrize("name", ["sweep.json", "sweep.csv", "sweep.html"])
def test_no_path_and_no_secret_is_in_it(tmp_path: Path, name: str) -> None:
    """No file of a sweep has a path or a secret in axes, reasons or commands."""
    home = tmp_path / "home of ana"
    record = sweeps.hostile()
    songs = (f"{home}/my song.flac", f"{home}/other.flac")
    points = tuple(
        dataclasses.replace(
            point,
            values={**point.values, "input": songs[point.number % 2], "hub.token": "hf_AbCdEf1"},
            why=f"no such file: {home.parent}/x.flac",
            command=f"python -m core 'input={songs[0]}' store=\"'{home}'\" hub.token=hf_AbCdEf1",
        )
        for point in record.points
    )
    axes = (Axis("input", songs), Axis("hub.token", ("hf_AbCdEf1",)))
    command = presentable(dataclasses.replace(record, points=points)).points[0].command
    assert command.startswith("python -m core 'input=my song.flac' 'store=home of ana' ")
    record = dataclasses.replace(record, axes=axes, points=points)
    text = written(record, tmp_path, name)
    assert str(tmp_path) not in text
    assert "hf_AbCdEf" not in text
    assert "my song.flac" in text


def test_a_swept_number_is_no_secret() -> None:
    """A swept number is kept although its option's name, `max_tokens`, looks like a secret."""
    axis = Axis("model.max_tokens", ("8", "16"))
    kept = presentable(sweeps.sweep((axis,), sweeps.grid(axis)))
    assert kept.axes == (axis,)
    assert kept.points[0].values == {"model.max_tokens": "8"}
    assert kept.points[0].command.endswith(" model.max_tokens=8")


def test_the_csv_has_a_row_per_point_and_units_in_its_head(tmp_path: Path) -> None:
    """The CSV has a row per point, units in its header, and a reason for refused points."""
    table = rows(sweeps.sweep(), tmp_path)
    assert len(table) == 16
    first, refused = table[0], table[12]
    assert list(first)[:4] == ["number", "chunker.length", "precision", "status"]
    assert float(first["SDR (dB)"]) == pytest.approx(sweeps.sweep().points[0].figures["sdr"])
    assert first["measured on"].startswith(f"{sweeps.CPU}: SDR, latency per window")
    assert (refused["status"], refused["size (B)"]) == ("refused", "")
    assert refused["why"] == sweeps.REFUSED
    assert [row["number"] for row in table if row["winner"] == "yes"] == ["5"]


def test_quotes_and_commas_survive_the_csv(tmp_path: Path) -> None:
    """Quotes and commas in a value do not move the CSV's columns."""
    table = rows(sweeps.hostile(), tmp_path)
    assert {row["model.name"] for row in table} >= {'a "quoted", name', sweeps.HOSTILE}
    assert {row["status"] for row in table} == {"done", "failed"}


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path) -> None:
    """A formula such as `=cmd|...` gets an apostrophe, and a negative number gets none."""
    axis = Axis("+gain", ("-6", "=cmd|' /C calc'!A0", "@x", "-x"))
    record = sweeps.sweep((axis,), sweeps.grid(axis))
    table = rows(record, tmp_path)
    assert [row["'+gain"] for row in table] == ["-6", "'=cmd|' /C calc'!A0", "'@x", "'-x"]


def test_markup_in_words_stays_words(tmp_path: Path) -> None:
    """Markup in a value ends neither the page nor its data."""
    page = written(sweeps.hostile(), tmp_path, "sweep.html")
    assert sweeps.HOSTILE not in page
    data = page.split('type="application/json">')[1].split("</script>")[0]
    assert json.loads(data)["points"][0]["values"]["model.name"] == sweeps.HOSTILE
    assert page.count("<script") == 7


def test_the_page_names_the_device_of_every_figure(tmp_path: Path) -> None:
    """The page names the device of every figure below the table, with points if they differ."""
    points = [*sweeps.grid(sweeps.LENGTH)]
    emulator = "HTP emulator on x86-64"
    points[1] = dataclasses.replace(points[1], devices={**points[1].devices, "sdr": emulator})
    page = written(sweeps.sweep((sweeps.LENGTH,), tuple(points)), tmp_path, "sweep.html")
    assert f"Measured on {emulator}: SDR of point 2." in page
    assert f"Measured on {sweeps.CPU}: SDR of points 1, 3 and 4." in page
    assert "No device is named for size." in page


def test_no_winner_is_said_to_be_none(tmp_path: Path) -> None:
    """A sweep without a winner says so and why."""
    page = written(sweeps.sweep(winner=None), tmp_path, "sweep.html")
    assert "No point is taken" in page
    assert "no point holds the contract" in page


def test_a_measure_gets_the_title_that_people_know() -> None:
    """A known metric gets its usual title."""
    figure = SweepMetric("si_sdr", "si sdr", "dB", "higher", objective=True)
    record = dataclasses.replace(sweeps.sweep(), figures=(figure,))
    assert presentable(record).figures[0].title == "SI-SDR"


def test_axes_are_short_as_long_as_they_differ() -> None:
    """An axis has its short name unless another axis has the same one."""
    axes = (Axis("chunker.length", ("1",)), Axis("model.length", ("1",)), Axis("precision", ("1",)))
    assert short_names(axes) == {
        "chunker.length": "chunker.length",
        "model.length": "model.length",
        "precision": "precision",
    }
    assert short_names(axes[1:]) == {"model.length": "length", "precision": "precision"}


def test_the_spread_of_times_is_in_every_file(tmp_path: Path) -> None:
    """The spread of times is in the CSV and on the page, with a mark for points under load."""
    record = sweeps.timed(sweeps.sweep(), loaded=(5,))
    row = rows(record, tmp_path)[4]
    median = record.points[4].figures["latency"]
    assert float(row["latency per window (ms) 5th percentile"]) == pytest.approx(0.9 * median)
    assert float(row["latency per window (ms) 95th percentile"]) == pytest.approx(1.2 * median)
    assert row["cores that others kept busy"] == "1.3"
    refused = rows(record, tmp_path)[12]
    assert refused["latency per window (ms) 5th percentile"] == ""
    assert refused["cores that others kept busy"] == ""
    page = written(record, tmp_path, "sweep.html")
    assert page.count(" under load</small>") == 1
    assert "5 to 95 %: 43 to 57 ms, under load" in page
    assert "Below each time are its 5th and its 95th percentile." in page
    assert "Below each time" not in written(sweeps.sweep(), tmp_path, "sweep.html")


@pytest.mark.parametrize(
    ("unit", "median", "ends", "said"),
    [
        ("ms", 133.0, (37.6, 410.2), "38 to 410 ms"),
        ("ms", 1421.0, (1210.0, 1980.0), "1.2 to 2.0 s"),
        ("ms", 1.234, (1.1, 2.5), "1.1 to 2.5 ms"),
        ("×", 0.352, (0.31, 0.4), "0.31 to 0.40×"),
    ],
)
def test_a_spread_has_the_unit_of_its_time(
    unit: str, median: float, ends: tuple[float, float], said: str
) -> None:
    """A spread has the unit and the digits of its time."""
    figure = SweepMetric("t", "time", unit, "lower")
    point = Point(1, {}, "done", "", figures={"t": median}, spreads={"t": ends})
    assert spread_text(figure, point) == said
    assert spread_text(dataclasses.replace(figure, name="other"), point) == ""


def test_a_spread_that_is_no_number_was_not_measured(tmp_path: Path) -> None:
    """A spread with NaN is left out of the JSON."""
    record = sweeps.timed(sweeps.sweep())
    broken = {"latency": (math.nan, 2.0)}
    points = tuple(dataclasses.replace(p, spreads=broken) for p in record.points)
    record = dataclasses.replace(record, points=points)
    assert json.loads(written(record, tmp_path, "sweep.json"))["points"][0]["spreads"] == {}
