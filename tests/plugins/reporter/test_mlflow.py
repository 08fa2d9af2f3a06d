"""The reporter `mlflow` against a real SQLite store, read back with MLflow's own client."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from core import StageError
from core.conformance import ReporterSuite
from core.errors import StoreError
from core.plugin.records import RunRecord, SweepRecord
from core.run.folder import new_folder
from plugins.reporter._mlflow.address import artifacts_beside, first_line, resolved
from plugins.reporter._mlflow.tracker import plain
from plugins.reporter.mlflow import Mlflow, MlflowOptions
from tests.optional import needs
from tests.plugins.reporter import sweeps

pytestmark = needs("mlflow", "needs mlflow-skinny: pip install 'luthier[mlflow]'")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of the module's one store, because making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


@pytest.fixture
def reporter(uri: str, request: pytest.FixtureRequest) -> Mlflow:
    """Return a reporter with an experiment for this test."""
    return Mlflow(MlflowOptions(uri=uri, experiment=request.node.name))


def runs(reporter: Mlflow, condition: str = "") -> list[Any]:
    """Return the runs of the reporter's experiment, read by MLflow's client."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=reporter.options.uri)
    experiment = client.get_experiment_by_name(reporter.options.experiment)
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], condition, max_results=1000))


def files(reporter: Mlflow, run: Any) -> list[str]:
    """Return the names of a run's artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=reporter.options.uri)
    return sorted(found.path for found in client.list_artifacts(run.info.run_id))


def leave(folder: Path, record: SweepRecord) -> Path:
    """Write the other reporters' files of a sweep, and return its folder."""
    place = folder / "s24_int8" / "sweep-1f2e3d4c"
    place.mkdir(parents=True)
    for point in record.points:
        if point.folder:
            (place / point.folder / "bundle").mkdir(parents=True)
            (place / point.folder / "report.json").write_text("{}")
            (place / point.folder / "bundle" / "model.onnx").write_text("x")
    (place / "sweep.html").write_text("<!doctype html>")
    return place


class TestMlflow(ReporterSuite):
    """`mlflow` keeps every reporter's contract; its store lies elsewhere."""

    plugin = Mlflow

    @pytest.fixture(autouse=True)
    def _give(self, record: RunRecord, uri: str) -> None:
        type(self).record = record
        type(self).options = MlflowOptions(uri=uri, experiment="conformance")


def test_a_run_is_read_back(reporter: Mlflow, record: RunRecord, tmp_path: Path) -> None:
    """A logged run has flat options, metrics by item and label, tags, times and the reports."""
    (tmp_path / "report.html").write_text("<!doctype html>")
    (tmp_path / "recipe.lock.yaml").write_text(record.config)
    reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    (run,) = runs(reporter)
    assert run.data.params["chunker.length"] == "44100"
    assert run.data.params["model.plugin"] == "htdemucs"
    assert run.data.metrics["sdr/Evening Song: vocals"] == 7.88
    assert run.data.metrics["budget_snr_db/quantizer"] == 35.9
    assert run.data.metrics["budget_step_db/graph.onnxsim"] == 131.1
    assert run.data.metrics["budget_total_db/quantizer"] == 27.9
    assert "budget_total_db/probe" not in run.data.metrics
    assert run.data.metrics["accelerator_coverage/probe"] == 735 / 738
    assert "accelerator_coverage/play" not in run.data.metrics
    assert run.data.metrics["cold_start"] == 412.0
    assert run.data.metrics["cold_start/open"] == 380.4
    assert run.data.metrics["nodes/probe/HTP _emulated_ w8a8"] == 735
    assert run.data.metrics["nodes/probe/CPU fp32 not asked"] == 3
    assert run.data.tags["luthier.target_took_part"] == "no"
    assert run.data.tags["luthier.contract"] == "missed"
    assert (run.info.status, run.info.end_time - run.info.start_time) == ("FINISHED", 104_600)
    assert files(reporter, run) == ["recipe.lock.yaml", "report.html"]


def test_the_description_says_where_numbers_come_from(
    reporter: Mlflow, record: RunRecord, tmp_path: Path
) -> None:
    """The note has a table with the device of each metric, because MLflow's metrics have none."""
    reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    note = runs(reporter)[0].data.tags["mlflow.note.content"]
    assert "took no part in this run" in note
    assert "| latency | median | 121 ms | CPU (ONNX Runtime 1.31.1) |" in note


def test_no_path_and_no_secret_is_logged(
    reporter: Mlflow, record: RunRecord, tmp_path: Path
) -> None:
    """No path and no secret is logged, because other people see a server."""
    reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    logged = str(runs(reporter)[0].data.to_dictionary())
    assert "hf_AbCdEf123456" not in logged
    assert runs(reporter)[0].data.params["dataset.path"] == "evening song.flac"
    assert str(tmp_path.parent) not in logged


def test_a_point_of_a_sweep_is_left_to_the_sweep(
    reporter: Mlflow, record: RunRecord, tmp_path: Path
) -> None:
    """The run of a sweep's point logs nothing; the sweep logs it."""
    child = dataclasses.replace(record, sweep="1f2e3d4c")
    reporter.luthier_run_finished(record=child, folder=str(tmp_path))
    assert runs(reporter) == []


def test_a_sweep_is_a_run_with_a_child_a_point(reporter: Mlflow, tmp_path: Path) -> None:
    """A sweep is a parent run with one child run per point.

    A child has the values as parameters, the figures as metrics, and the result as its status.
    """
    record = sweeps.sweep()
    reporter.luthier_sweep_finished(record=record, folder=str(leave(tmp_path, record)))
    (parent,) = runs(reporter, "tags.`luthier.role` = 'sweep'")
    children = runs(reporter, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(children) == 16
    assert parent.data.metrics["points/refused"] == 2
    assert parent.data.tags["luthier.winner"] == "length=44100 precision=fp16"
    assert files(reporter, parent) == ["sweep.html"]
    by_name = {run.info.run_name: run for run in children}
    taken = by_name["length=44100 precision=fp16"]
    assert taken.data.params == {"chunker.length": "44100", "precision": "fp16"}
    assert taken.data.metrics["sdr"] == record.points[4].figures["sdr"]
    assert taken.data.tags["luthier.winner"] == "yes"
    assert f"- SDR: 7.37 dB, on {sweeps.CPU}" in taken.data.tags["mlflow.note.content"]
    assert files(reporter, taken) == ["report.json"]
    assert by_name["length=88200 precision=w8a16"].info.status == "FAILED"
    refused = by_name["length=176400 precision=fp16"]
    assert (refused.info.status, refused.data.tags["luthier.why"]) == ("KILLED", sweeps.REFUSED)


def test_a_sweep_that_goes_on_is_not_logged_twice(reporter: Mlflow, tmp_path: Path) -> None:
    """A continued sweep updates its earlier points and adds only the new ones."""
    whole = sweeps.sweep((sweeps.LENGTH,), winner=2)
    failed = dataclasses.replace(whole.points[0], status="failed", why="killed", figures={})
    begun = dataclasses.replace(whole, points=(failed, *whole.points[1:3]))
    place = leave(tmp_path, whole)
    reporter.luthier_sweep_finished(record=begun, folder=str(place))
    for _ in range(2):
        reporter.luthier_sweep_finished(record=whole, folder=str(place))
    found = runs(reporter)
    assert len(found) == 5
    first = next(run for run in found if run.info.run_name == "length=22050")
    assert (first.info.status, first.data.tags["luthier.status"]) == ("FINISHED", "done")
    assert first.data.metrics["sdr"] == whole.points[0].figures["sdr"]


def test_points_whose_paths_share_a_name_stay_apart(reporter: Mlflow, tmp_path: Path) -> None:
    """Points whose paths have the same file name are separate runs."""
    point = sweeps.grid(sweeps.SEED)[0]
    songs = (f"{tmp_path}/a/song.flac", f"{tmp_path}/b/song.flac")
    points = tuple(
        dataclasses.replace(point, number=number, values={"input": song}, folder="")
        for number, song in enumerate(songs, 1)
    )
    record = sweeps.sweep((), points, winner=1)
    reporter.luthier_sweep_finished(record=record, folder=str(leave(tmp_path / "out", record)))
    children = runs(reporter, "tags.`luthier.role` = 'point'")
    assert [run.data.params["input"] for run in children] == ["song.flac", "song.flac"]


def test_the_bundle_goes_along_where_it_is_asked_for(uri: str, tmp_path: Path) -> None:
    """The bundle is logged if the option `bundle` is set; by default only reports are."""
    record = sweeps.sweep((sweeps.SEED,), winner=1)
    reporter = Mlflow(MlflowOptions(uri=uri, experiment="bundled", bundle=True))
    reporter.luthier_sweep_finished(record=record, folder=str(leave(tmp_path, record)))
    children = runs(reporter, "tags.`luthier.role` = 'point'")
    assert [files(reporter, run) for run in children] == [["bundle", "report.json"]] * 2


def test_the_default_is_a_file_in_the_output_folder(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default store is `outputs/mlflow/runs.db`, with its artifacts beside it.

    MLFLOW_TRACKING_URI does not change this. A `?` or `%20` in the folder's name is kept literally,
    and no file is written beside the folder.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    name = "is it? per%20cent # +&= ü"
    with new_folder(tmp_path / name, record.recipe) as place:
        (place.partial / "report.json").write_text("{}")
        Mlflow(MlflowOptions()).luthier_run_finished(record=record, folder=str(place.partial))
    home = tmp_path / name / "mlflow"
    assert sorted(path.name for path in home.iterdir()) == ["artifacts", "runs.db"]
    assert len(list(home.rglob("report.json"))) == 1
    with sqlite3.connect(home / "runs.db") as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_given_address_is_escaped_like_any(tmp_path: Path) -> None:
    """`%3F` in a given address is a `?` in the file's name, for the store and its artifacts."""
    address = resolved(f"sqlite:///{tmp_path}/what%3F/runs.db", str(tmp_path), "s24_int8")
    assert artifacts_beside(address) == f"{tmp_path.as_uri()}/what%3F/artifacts"
    assert [path.name for path in tmp_path.iterdir()] == ["what?"]


def test_a_folder_whose_name_is_no_text_is_told(record: RunRecord, tmp_path: Path) -> None:
    """A folder whose name no address can hold is an error, not a store in another place."""
    folder = tmp_path / os.fsdecode(b"\xff") / "cpu_fp32" / "2026-11-20"
    with pytest.raises(StoreError, match="no address can name") as caught:
        Mlflow(MlflowOptions()).luthier_run_finished(record=record, folder=str(folder))
    assert "output=..." in str(caught.value)


def test_a_file_that_is_no_store_is_told_at_once(record: RunRecord, tmp_path: Path) -> None:
    """A file that is no database is an error at once; MLflow alone would retry for 102 s."""
    (tmp_path / "runs.db").write_text("not a database, and longer than its header of 100 bytes" * 9)
    reporter = Mlflow(MlflowOptions(uri=f"sqlite:///{tmp_path}/runs.db"))
    began = time.monotonic()
    with pytest.raises(StageError, match="file is not a database"):
        reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    assert time.monotonic() - began < 20


def test_options_that_are_none_are_refused() -> None:
    """A `?` in a path is refused, because SQLAlchemy would cut the file's name there.

    A real option after the `?` is accepted.
    """
    with pytest.raises(ValueError, match="%3F"):
        MlflowOptions(uri="sqlite:///is it?/runs.db")
    assert MlflowOptions(uri="sqlite:///runs.db?timeout=5").uri.endswith("?timeout=5")


def test_telemetry_is_off_before_mlflow_is_there() -> None:
    """Luthier turns telemetry off in the environment, which MLflow reads on import."""
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


def test_a_server_that_is_not_there_is_said_to_be(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absent server is an error with its address, and without the token.

    The message says which results are kept, and how to continue.
    """
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok_AbCdEf")
    reporter = Mlflow(MlflowOptions(uri="http://127.0.0.1:9"))
    with pytest.raises(
        StageError, match="MLflow did not accept the results: the server does not answer"
    ) as caught:
        reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    told = str(caught.value)
    assert "at: http://127.0.0.1:9, experiment `luthier`" in told
    assert "reporter.mlflow.uri=sqlite:///runs.db" in told
    assert "tok_AbCdEf" not in told


@pytest.mark.parametrize(
    "uri",
    ["https://ana:pw@host", "http://tok@host/x", "https://host/?token=x", "postgresql://u:p@h/d"],
)
def test_an_address_with_a_secret_is_refused(uri: str) -> None:
    """An address with a secret is refused, because the lock file would keep it.

    The message names the environment variables to use.
    """
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD"):
        MlflowOptions(uri=uri)


def test_plain_addresses_are_taken() -> None:
    """Addresses of files and hosts, and a folder with an `@`, are accepted."""
    for uri in ("", "sqlite:///runs.db", "http://host:5000", "sqlite:////home/a@b/runs.db"):
        assert MlflowOptions(uri=uri).uri == uri


def test_somebody_elses_message_is_cleaned() -> None:
    """Secrets in addresses are removed from MLflow's error messages."""
    told = first_line("cannot reach https://ana:pw@host/?token=abc&x=1\nmore")
    assert told == "cannot reach https://host/?token=(hidden)&x=1"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sdr/AC/DC <b>live</b>: all", "sdr/AC/DC _b_live_/b_: all"),
        ("../x", "x"),
        ("/a//b/", "a/b"),
        ("", "_"),
    ],
)
def test_keys_are_what_mlflow_takes(key: str, expected: str) -> None:
    """Keys for MLflow have no markup and no path that leads out."""
    assert plain(key) == expected
