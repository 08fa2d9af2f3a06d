"""The error budget: figures that can be worked out by hand, from files as the steps make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core import Array, Artifact, Fact, ModelInfo, Signature, Tensors, TensorSpec, Window
from core.formats.tensors import save
from core.measure.error_budget import losses, worst
from core.measure.error_budget_rows import OUTPUTS, Place, rows, write_places
from core.plugin.progress import Progress, silent
from core.plugin.values import Row
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions

if TYPE_CHECKING:
    from core.plugin.records import BudgetLine

LENGTH, TOTAL = 4000, 16000
SIGNATURE = Signature(
    (TensorSpec("mix", ("time",), ("time",), rates={"time": 8000.0}),),
    (
        TensorSpec(
            "stems", ("stem", "time"), (2, "time"), labels={"stem": ("voice", "rest")},
            rates={"time": 8000.0},
        ),
        TensorSpec("beat", ("time",), ("time",)),
    ),
)  # fmt: skip


def noise(seed: int, *shape: int, db: float = 0.0) -> Array:
    """Return white noise of the given power."""
    white = np.random.default_rng(seed).standard_normal(shape)
    return (10 ** (db / 20) * white).astype(np.float32)


def outputs(seed: int, length: int, db: float = 0.0) -> Tensors:
    """Return noise in the shapes of the outputs; the beat runs at a quarter of the rate."""
    return {"stems": noise(seed, 2, length, db=db), "beat": noise(seed + 1, length // 4, db=db)}


def plus(one: Tensors, other: Tensors) -> Tensors:
    """Return the sum of two sets of outputs."""
    return {name: one[name] + other[name] for name in one}


class Run:
    """A run of one item (`song`) whose results lie in a folder, as the steps leave them."""

    def __init__(
        self, folder: Path, total: int = TOTAL, starts: Sequence[int] = (4000, 8000)
    ) -> None:
        self.folder, self.total = folder, total
        self.chunker = OverlapAdd(OverlapAddOptions(LENGTH, 0.25))
        self.windows = [
            Window(n, {"time": at}, {"time": min(at + LENGTH, total)})
            for n, at in enumerate(starts)
        ]
        self.artifacts: dict[str, Artifact] = {}
        self.ideal = outputs(1, total)
        info = ModelInfo(SIGNATURE, (), ())
        self.add("model", {}, {}, info=info)

    def add(
        self,
        name: str,
        tensors: Tensors,
        facts: Mapping[str, Fact],
        *,
        info: ModelInfo | None = None,
        file: str = "main.safetensors",
    ) -> Path:
        """Keep what a step made."""
        folder = self.folder / name
        folder.mkdir()
        save(tensors, folder / file)
        self.artifacts[name] = Artifact(
            str(folder), str(folder / file), "tensors", "fp32", "0" * 64, 1, (), info, dict(facts)
        )
        return folder

    def whole(self, name: str, result: Tensors, window: Row, **facts: Fact) -> None:
        """Keep the result of a step over the whole input."""
        named = {f"song/{output}": array for output, array in result.items()}
        self.add(name, named, {"window": window, "device": "a CPU", **facts})

    def sample(self, cut: Tensors) -> list[Tensors]:
        """Keep the sampled windows: FP32 as in the whole result `cut`."""
        alone = [
            {
                name: array[..., scaled(w.start["time"], name) : scaled(w.stop["time"], name)]
                for name, array in cut.items()
            }
            for w in self.windows
        ]
        folder = self.add("sample", listed(alone), {"windows": len(alone)})
        places = [Place("song", "A Song", w, {"time": self.total}) for w in self.windows]
        write_places(places, folder)
        return alone

    def stage(self, name: str, made: Sequence[Tensors], **facts: Fact) -> Sequence[Tensors]:
        """Keep the outputs of one stage on the windows."""
        found: dict[str, Fact] = {"device": "a CPU", "seconds": [0.3, 0.1], **facts}
        self.add(name, listed(made), found, file=OUTPUTS)
        return made

    def rows(self, *stages: str, **unmeasured: Sequence[str]) -> dict[str, BudgetLine]:
        """Return the budget by its stages."""
        found = rows(self.chunker, self.artifacts, stages, unmeasured, silent())
        return {line.stage: line for line in found}


def scaled(position: int, name: str) -> int:
    return position // 4 if name == "beat" else position


def listed(windows: Sequence[Tensors]) -> Tensors:
    """Return the outputs of several windows under the names that the steps give them."""
    return {f"{n}/out/{name}": array for n, t in enumerate(windows) for name, array in t.items()}


def run_of(folder: Path, *, cut_db: float | None = -20.0) -> tuple[Run, list[Tensors]]:
    """Return a run whose cut errs at `cut_db`, with FP32 in its windows."""
    run = Run(folder)
    cut = run.ideal if cut_db is None else plus(run.ideal, outputs(10, TOTAL, cut_db))
    run.whole("ideal", run.ideal, {"time": 8000})
    run.whole("reference", cut, {"time": 8000} if cut_db is None else {"time": 4000})
    run.whole("play", plus(cut, outputs(30, TOTAL, -30)), "")
    return run, run.sample(cut)


def with_error(windows: Sequence[Tensors], seed: int, db: float) -> list[Tensors]:
    """Return windows with an error of their own each."""
    return [plus(w, outputs(seed + 2 * n, LENGTH, db)) for n, w in enumerate(windows)]


def test_every_row_is_what_its_errors_say(tmp_path: Path) -> None:
    """A row compares with the row before, and in total with the training's windows."""
    run, fp32 = run_of(tmp_path)
    exported = run.stage("budget.exporter", with_error(fp32, 40, -60))
    run.stage("budget.quantizer", with_error(exported, 50, -30))
    found = run.rows("exporter", "quantizer")
    assert list(found) == ["chunk", "exporter", "quantizer", "play"]
    near = {"abs": 0.2}
    assert found["chunk"].step_db == found["chunk"].total_db == pytest.approx(20, **near)
    assert found["chunk"].note == "windows of 0.50 s; the training had 1.00 s"
    assert found["exporter"].step_db == pytest.approx(60, **near)
    assert found["exporter"].total_db == pytest.approx(20, **near)
    assert found["quantizer"].step_db == pytest.approx(30, **near)
    assert found["quantizer"].snr_db == pytest.approx(30, **near), "the same windows"
    assert found["quantizer"].total_db == pytest.approx(19.59, **near)
    assert found["quantizer"].labels == ("voice", "rest", "beat")
    assert found["quantizer"].windows == 2
    assert found["quantizer"].seconds_per_window == 0.1, "the first window warms up"


def test_the_rows_add_up(tmp_path: Path) -> None:
    """The powers of the rows' own errors sum to that of the last row's total."""
    run, made = run_of(tmp_path)
    for number, db in enumerate((-35.0, -25.0, -22.0)):
        made = list(run.stage(f"budget.s{number}", with_error(made, 40 + 10 * number, db)))
    found = run.rows("s0", "s1", "s2")
    steps = [found[name].step_db for name in ("chunk", "s0", "s1", "s2")]
    summed = -10 * np.log10(sum(10 ** (-db / 10) for db in steps if db is not None))
    assert found["s2"].total_db == pytest.approx(summed, abs=0.1)


def test_a_cut_that_costs_most_is_the_largest_loss(tmp_path: Path) -> None:
    """The cut is the largest loss of any kind; among the stages alone, the quantizer is."""
    run, fp32 = run_of(tmp_path)
    run.stage("budget.quantizer", with_error(fp32, 50, -30))
    lines = list(run.rows("quantizer").values())
    assert [loss.line.stage for loss in losses(lines)] == ["chunk", "quantizer"]
    assert (found := worst(lines, cutting=True)) is not None
    assert found.line.stage == "chunk"
    assert (found := worst(lines)) is not None
    assert found.line.stage == "quantizer"


@pytest.mark.parametrize("window", [{"time": 8000}, {"time": 9000}, {}])
def test_windows_no_shorter_than_those_of_the_training_are_no_cut(
    tmp_path: Path, window: Row
) -> None:
    """Windows as long as the training's are no cut: FP32 in the recipe's windows is the base."""
    run = Run(tmp_path)
    other = plus(run.ideal, outputs(10, TOTAL, -10))
    run.whole("ideal", run.ideal, {"time": 8000})
    run.whole("reference", other, window)
    run.whole("play", plus(other, outputs(30, TOTAL, -30)), "")
    # Alone, a window is not what it becomes where others fade into it.
    fp32 = run.sample(plus(other, outputs(20, TOTAL, -5)))
    run.stage("budget.exporter", with_error(fp32, 40, -60))
    found = run.rows("exporter")
    assert list(found) == ["exporter", "play"]
    assert found["exporter"].total_db == found["exporter"].snr_db == pytest.approx(60, abs=1.5)
    assert found["exporter"].label_total_db == found["exporter"].label_snr_db
    assert found["play"].total_db == pytest.approx(found["play"].snr_db)


def test_a_dead_output_is_not_hidden_by_a_loud_one(tmp_path: Path) -> None:
    """A dead output counts although another one has 40 dB more power."""
    run = Run(tmp_path)
    run.ideal = {**run.ideal, "stems": run.ideal["stems"] * 100}
    for name in ("ideal", "reference", "play"):
        run.whole(name, run.ideal, {"time": 8000})
    fp32 = run.sample(run.ideal)
    run.stage("budget.quantizer", [{**w, "beat": np.zeros_like(w["beat"])} for w in fp32])
    line = run.rows("quantizer")["quantizer"]
    assert dict(zip(line.labels, line.label_step_db, strict=True)) == (
        {"voice": 200.0, "rest": 200.0, "beat": pytest.approx(0, abs=0.01)}
    )
    (loss,) = losses([line])
    assert loss.worst.db == pytest.approx(0, abs=0.01)


def test_a_dead_label_is_not_hidden_by_a_loud_one(tmp_path: Path) -> None:
    """A lost quiet stem has 0 dB in its row, although all stems together have 10 dB."""
    run = Run(tmp_path)
    loud = np.array([[10**0.5], [1.0]], np.float32)
    run.ideal = {**run.ideal, "stems": run.ideal["stems"] * loud}
    for name in ("ideal", "reference", "play"):
        run.whole(name, run.ideal, {"time": 8000})
    fp32 = run.sample(run.ideal)
    voice_alone = np.array([[1.0], [0.0]], np.float32)
    run.stage("budget.quantizer", [{**w, "stems": w["stems"] * voice_alone} for w in fp32])
    (loss,) = losses([run.rows("quantizer")["quantizer"]])
    assert loss.line.step_db == pytest.approx(10.4, abs=0.3)
    assert (loss.worst.label, loss.worst.db) == ("rest", pytest.approx(0, abs=0.01))


def test_what_compiles_only_is_compared_on_the_windows_that_it_ran(tmp_path: Path) -> None:
    """A compiled row is compared with the row before on its own windows, and has no total."""
    run, fp32 = run_of(tmp_path)
    made = run.stage("budget.quantizer", with_error(fp32, 50, -30))
    run.stage("probe", [plus(made[1], outputs(60, LENGTH, -40))], numbers=[1.0])
    line = run.rows("quantizer")["probe"]
    assert line.step_db == pytest.approx(40, abs=0.2)
    assert (line.windows, line.total_db, line.label_total_db) == (1, None, ())
    assert line.note.startswith("1 of the 2 windows")


def test_a_probe_of_every_window_is_a_row_like_the_others(tmp_path: Path) -> None:
    """A probe of every window has a total, because it shares one set of windows."""
    run, fp32 = run_of(tmp_path)
    run.stage("probe", with_error(fp32, 60, -40), numbers=[0.0, 1.0])
    line = run.rows()["probe"]
    assert line.total_db == pytest.approx(19.96, abs=0.2)
    assert not line.note


def test_the_whole_input_is_told_apart(tmp_path: Path) -> None:
    """The whole input has no row before it, since it was measured on all windows."""
    run, _ = run_of(tmp_path)
    line = run.rows()["play"]
    assert (line.step_db, line.windows) == (None, 0)
    assert line.total_db == pytest.approx(19.59, abs=0.2)
    assert line.snr_db == pytest.approx(30, abs=0.2)
    assert line.note == "all of its windows, so it is not compared with the rows above"


def test_only_the_places_of_the_sampled_windows_count(tmp_path: Path) -> None:
    """The cut is measured exactly where the windows lie, on outputs of any rate."""
    run = Run(tmp_path, starts=(4001, 9003))
    error = outputs(10, TOTAL, -20)
    for name, array in run.ideal.items():
        outside = np.ones(array.shape[-1], bool)
        for w in run.windows:
            first, last = (round(w.start["time"] * array.shape[-1] / TOTAL),
                           round(w.stop["time"] * array.shape[-1] / TOTAL))  # fmt: skip
            outside[first:last] = False
        array[..., outside] *= 1e4
        error[name][..., outside] *= 1e6
    cut = plus(run.ideal, error)
    run.whole("ideal", run.ideal, {"time": 8000})
    run.whole("reference", cut, {"time": 4000})
    run.whole("play", cut, "")
    run.sample(cut)
    line = run.rows()["chunk"]
    assert line.labels == ("voice", "rest", "beat")
    assert line.label_step_db == pytest.approx((20, 20, 20), abs=0.5)


def test_progress_counts_the_rows(tmp_path: Path) -> None:
    """Each compared stage reports how many rows there are, with no number of all of them."""
    run, fp32 = run_of(tmp_path)
    run.stage("budget.exporter", with_error(fp32, 40, -60))
    told: list[tuple[float, float, str]] = []
    progress = Progress(lambda *one: told.append(one))
    rows(run.chunker, run.artifacts, ["exporter"], {}, progress)
    assert told == [(2, 0, "exporter")]


def test_an_item_shorter_than_a_window_counts_without_its_padding(tmp_path: Path) -> None:
    """Padding around a short item does not count: the result ends with the item."""
    run = Run(tmp_path, total=1200, starts=(0,))
    for name in ("ideal", "reference", "play"):
        run.whole(name, run.ideal, {"time": 4000})
    before = (LENGTH - 1200) // 2
    padded = {
        "stems": np.pad(run.ideal["stems"], ((0, 0), (before, before))),
        "beat": np.pad(run.ideal["beat"], (before // 4, before // 4)),
    }
    folder = run.add("sample", listed([padded]), {"windows": 1})
    write_places([Place("song", "A Song", run.windows[0], {"time": 1200})], folder)
    noisy = {name: array + np.float32(0.1) for name, array in padded.items()}
    inside = {
        "stems": np.pad(np.full((2, 1200), 0.1, np.float32), ((0, 0), (before, before))),
        "beat": np.pad(np.full(300, 0.1, np.float32), (before // 4, before // 4)),
    }
    run.stage("budget.exporter", [noisy])
    run.stage("budget.quantizer", [plus(padded, inside)])
    found = run.rows("exporter", "quantizer")
    assert found["exporter"].step_db == pytest.approx(20, abs=0.3)
    # They differ in the padding alone.
    assert found["quantizer"].step_db is not None
    assert found["quantizer"].step_db > 120


def test_what_plays_nowhere_is_named_in_the_next_row(tmp_path: Path) -> None:
    """A stage that nothing plays is named in the next row, which holds the loss of both."""
    run, fp32 = run_of(tmp_path)
    run.stage("budget.runtime", with_error(fp32, 40, -60))
    line = run.rows("runtime", runtime=["exporter", "quantizer"])["runtime"]
    assert line.note == "with exporter and quantizer, which no runtime of the recipe plays here"


def test_of_several_items_the_furthest_off_is_the_whole(tmp_path: Path) -> None:
    """The worst item stands for the whole, because a mean hides it."""
    run, _ = run_of(tmp_path)
    places = [
        Place(item, item.title(), run.windows[0], {"time": TOTAL}) for item in ("song", "worst")
    ]
    for name in ("ideal", "reference", "play"):
        file = Path(run.artifacts[name].path)
        song = _loaded(file)
        lost = 0.5 if name == "play" else 1.0
        save(song | {k.replace("song", "worst"): lost * v for k, v in song.items()}, file)
    file = Path(run.artifacts["sample"].path)
    save(_loaded(file), file)
    write_places(places, file.parent)
    line = run.rows()["play"]
    assert line.note.startswith("Worst, the worst of 2 items;")
    assert line.total_db == pytest.approx(6, abs=0.3)


def _loaded(file: Path) -> dict[str, Array]:
    from core.formats.tensors import load

    return dict(load(file))
