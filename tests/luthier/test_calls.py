"""Runs, plans and sweeps from Python, on toys, inside a program that uses Hydra itself."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

import luthier
from luthier.hydra_state import own_hydra
from tests import toy
from tests.conftest import Command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toys_here(command: Command) -> None:  # it adds the toys
    """Let the toys be found, in a folder of the test's own."""


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """Return where results go."""
    return [f"store={tmp_path / 'store'}", f"output={tmp_path / 'out'}"]


@pytest.mark.usefixtures("toys_here")
def test_a_run_gives_arrays_and_figures_and_prints_nothing(
    recipe: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Outputs come by item and label; a second run takes everything from the store."""
    seen: list[tuple[str, float, float, str]] = []
    run = luthier.run(recipe, overrides=places, progress=lambda *told: seen.append(told))
    assert capsys.readouterr() == ("", "")
    assert "play" in {stage for stage, *_ in seen}
    outputs = next(iter(run.outputs.values()))
    assert list(outputs) == ["first", "second"]
    assert outputs["first"].dtype == np.float32
    assert outputs.axes["first"] == ("place",)
    assert run.held
    assert run.bundle == run.folder / "bundle"
    assert "<table>" in run._repr_html_()
    toy.RAN.clear()
    again = luthier.run(recipe, overrides=places)
    assert toy.RAN == []
    assert again.folder != run.folder
    assert np.array_equal(next(iter(again.outputs.values()))["first"], outputs["first"])


@pytest.mark.usefixtures("toys_here")
def test_outputs_are_there_although_the_store_keeps_nothing(
    recipe: Path, places: list[str]
) -> None:
    """Beyond the limit of a store what was played goes: then it is read, or played again."""
    kept = luthier.run(recipe, overrides=places).outputs
    for _ in range(2):  # the second one finds only the description
        run = luthier.run(recipe, overrides=[*places, "store_limit_gb=0"])
        assert not Path(
            next(s for s in run.record.stages if s.name == "play").artifact.path
        ).exists()
        for item, outputs in run.outputs.items():
            for label, array in outputs.items():
                assert np.array_equal(array, kept[item][label])


@pytest.mark.usefixtures("toys_here")
def test_what_progress_raises_in_a_run_comes_out_as_it_is(
    recipe: Path, places: list[str], tmp_path: Path
) -> None:
    """It is raised inside stages, and no plugin is named for it; no run is left."""
    mine = ZeroDivisionError("mine")

    def progress(*_: object) -> None:
        raise mine

    with pytest.raises(ZeroDivisionError) as raised:
        luthier.run(recipe, overrides=places, progress=progress)
    assert raised.value is mine
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert luthier.run(recipe, overrides=places).held


@pytest.mark.usefixtures("toys_here")
def test_a_plan_runs_nothing(recipe: Path, places: list[str]) -> None:
    """It has a row for each step, and shows as a table."""
    (plan,) = luthier.plan(recipe, overrides=places)
    assert plan.to_run == len(plan.steps) > 3
    assert toy.RAN == []
    assert "would run" in plan._repr_html_()


@pytest.mark.usefixtures("toys_here")
def test_a_sweep_gives_rows_and_a_frame(recipe: Path, places: list[str]) -> None:
    """Each point has its values, its status and its figures."""
    sweep = luthier.sweep(recipe, {"chunker.length": [4, 8]}, overrides=places)
    assert [row["chunker.length"] for row in sweep.rows] == ["4", "8"]
    assert {row["status"] for row in sweep.rows} == {"done"}
    assert sweep.winner is not None
    assert "<table>" in sweep._repr_html_()
    pytest.importorskip("pandas")
    assert list(sweep.frame["point"]) == [1, 2]


@pytest.mark.usefixtures("toys_here")
def test_a_broken_contract_is_an_error_unless_the_caller_looks(
    recipe: Path, places: list[str]
) -> None:
    """With `check=False` the run says that it was not held, and ships nothing."""
    wanted = [*places, "contract.min_snr_db=500"]
    with pytest.raises(luthier.LuthierError, match="contract"):
        luthier.run(recipe, overrides=wanted)
    run = luthier.run(recipe, overrides=wanted, check=False)
    assert not run.held
    assert run.bundle is None


@pytest.mark.usefixtures("toys_here")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: luthier.run("gian"), "no recipe is named"),
        (lambda: luthier.run("toy.yaml", input="no such file"), "does not exist"),
        (lambda: luthier.run("toy.yaml", overrides=["mode=list"]), "something else than a run"),
        (lambda: luthier.run("toy.yaml", overrides=["gain=3"]), "no option"),
        (lambda: luthier.plan("toy.yaml", overrides=["-m"]), "something else than a run"),
        (lambda: luthier.sweep("toy.yaml", {"chunker.length": "48"}), "no list of values"),
        (lambda: luthier.sweep("toy.yaml", {"chunker.length": ["4,8"]}), "cannot be swept"),
        (lambda: luthier.open("."), "neither the folder of a run nor a bundle"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_wrong_call_is_refused_in_words(call: Any, said: str) -> None:
    """The error has what is wrong, and what to do next; nothing runs."""
    with pytest.raises(luthier.LuthierError, match=said) as refused:
        call()
    assert refused.value.lines
    assert toy.RAN == []


def test_one_text_is_no_list_of_overrides() -> None:
    """Its characters would be words of their own."""
    with pytest.raises(TypeError, match="list of texts"):
        luthier.run("cpu_fp32", overrides="store=x")
    with pytest.raises(TypeError, match="list of texts"):
        luthier.open("cpu_fp32", overrides="store=x")
    with pytest.raises(TypeError, match="list of texts"):
        luthier.separate("x.wav", stems="vocals")


@pytest.mark.usefixtures("toys_here")
def test_a_program_with_a_hydra_of_its_own_keeps_it(
    recipe: Path, places: list[str], tmp_path: Path
) -> None:
    """Its store, its state and its arguments are as before, also in the middle of its own work."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "top.yaml").write_text("defaults:\n- model: mine\n- _self_\nb: 2\n")
    store = ConfigStore.instance()
    store.store(group="model", name="mine", node={"width": 3})
    arguments = list(sys.argv)
    try:
        with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
            luthier.run(recipe, overrides=places)
            with pytest.raises(luthier.LuthierError):
                luthier.run(recipe, overrides=[*places, "nothing=1"])
            assert compose("top") == {"model": {"width": 3}, "b": 2}
            assert GlobalHydra.instance().is_initialized()
        assert ConfigStore.instance() is store
        assert sys.argv == arguments
    finally:
        del store.repo["model"]["mine.yaml"]


@pytest.mark.usefixtures("toys_here")
def test_threads_take_turns(recipe: Path, places: list[str]) -> None:
    """Two threads at once both get their run."""
    runs: list[luthier.Run] = []
    threads = [
        threading.Thread(target=lambda: runs.append(luthier.run(recipe, overrides=places)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.folder for run in runs}) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_does_not_wait_for_a_thread_that_stayed_behind() -> None:
    """The thread may hold what a call needs, and is not there to release it."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with own_hydra():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it if it waits
        with own_hydra():
            os.kill(os.getpid(), signal.SIGKILL)
    done.set()
    thread.join()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.usefixtures("toys_here")
def test_a_recipe_file_of_an_earlier_call_is_forgotten(recipe: Path, places: list[str]) -> None:
    """Its name alone stands for nothing later."""
    luthier.plan(recipe, overrides=places)
    with pytest.raises(luthier.LuthierError, match="no recipe is named `toy`"):
        luthier.plan("toy", overrides=places)


def test_the_catalogue_has_what_a_recipe_can_name() -> None:
    """Recipes, targets, precisions, and plugins by kind."""
    found = luthier.list()
    assert "cpu_fp32" in found.recipes
    assert "s24" in found.targets
    assert "int8" in found.precisions
    assert "onnxruntime" in found.plugins["runtime"]


def test_importing_it_loads_nothing_heavy() -> None:
    """Plugins import it: no torch, numpy, Hydra or rich before something runs."""
    heavy = "torch numpy onnx hydra rich scipy"
    code = f"import luthier, sys; print([m for m in '{heavy}'.split() if m in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """What is listed can be fetched; anything else is no attribute, and no builtin is hidden."""
    for name in dir(luthier):
        assert getattr(luthier, name) is not None
    assert not set(dir(builtins)) & set(luthier.__all__)
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = luthier.nothing  # type: ignore[attr-defined]


def test_a_foreign_core_is_told_apart(tmp_path: Path) -> None:
    """A package `core` in the working folder would be taken for Luthier's."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('the foreign one ran')\n")
    code = f"import sys; sys.path.insert(1, {str(ROOT)!r}); import luthier"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "Python finds another one" in said.stderr
    assert "the foreign one ran" not in said.stderr


@pytest.mark.usefixtures("toys_here")
def test_a_sweep_tells_of_each_point(recipe: Path, places: list[str]) -> None:
    """The caller hears of each point when it ran; one that ran before is not told of again."""
    told: list[tuple[str, float, float]] = []

    def progress(stage: str, done: float, total: float, message: str) -> None:
        assert message.startswith("done, ")
        told.append((stage, done, total))

    luthier.sweep(recipe, {"chunker.length": [4, 8]}, overrides=places, progress=progress)
    assert told == [("length=4", 1, 2), ("length=8", 2, 2)]
    told.clear()
    luthier.sweep(recipe, {"chunker.length": [4, 8]}, overrides=places, progress=progress)
    assert told == []


@pytest.mark.usefixtures("toys_here")
def test_progress_that_raises_ends_a_sweep_with_its_own_error(
    recipe: Path, places: list[str]
) -> None:
    """The caller's error leaves as it is; what ran is kept, and the next call goes on there."""

    def stops(stage: str, *_: object) -> None:
        raise LookupError(stage)

    with pytest.raises(LookupError, match="length=4"):
        luthier.sweep(recipe, {"chunker.length": [4, 8]}, overrides=places, progress=stops)
    told: list[str] = []
    sweep = luthier.sweep(
        recipe,
        {"chunker.length": [4, 8]},
        overrides=places,
        progress=lambda stage, *_: told.append(stage),
    )
    assert told == ["length=8"]
    assert {row["status"] for row in sweep.rows} == {"done"}
