"""Small networks from export to the files of a run: any type, fixed shapes and free shapes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core import Signature, TensorSpec
from core.cli import main
from core.config import discovery
from core.config.settings import SLOTS
from core.measure.metrics import snr_db
from core.steps import example
from tests import nets
from tests.conftest import Command, Done
from tests.nets import NETS, Net, noise, rows

RECIPE = """\
title: a small network
target: cpu
precision: fp32
model: {{plugin: net, net: {net}}}
dataset: {{plugin: drawn, net: {net}}}
calibration: {{plugin: drawn, net: {net}}}
exporter: onnx
graph: [onnxsim]
dsp: none
chunker: whole
runtime: onnxruntime
evaluator: []
reporter: [json]
"""
Runs = Callable[..., Done]


@pytest.fixture
def runs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return a function that runs the recipe of a network."""
    monkeypatch.setattr(main, "discover", lambda: discovery.discover({"nets": nets}))

    def run(net: str, *arguments: str) -> Done:
        file = tmp_path / "small.yaml"
        file.write_text(RECIPE.format(net=net))
        return command(f"recipe={file}", f"output={tmp_path / 'out'}", *arguments)

    return run


def last(folder: Path) -> Path:
    """Return the folder of the last run."""
    return max((folder / "out" / "small").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def saved(folder: Path) -> dict[str, Any]:
    """Return the arrays that the last run saved."""
    return {file.stem: np.load(file) for file in last(folder).glob("*.npy")}


def expected(name: str, longer: int = 0) -> dict[str, Any]:
    """Return the outputs of a fresh module for the evaluation items."""
    net, found = NETS[name], {}
    data = nets.Drawn(nets.DrawnOptions(name, longer))
    for item in data.items("evaluation", Signature(net.inputs, net.outputs)):
        torch.manual_seed(0)
        module = net.make().eval()
        with torch.no_grad():
            out = module(*(torch.from_numpy(array[None]) for array in item.inputs.values()))
        tensors = (out,) if isinstance(out, torch.Tensor) else out
        for spec, tensor in zip(net.outputs, tensors, strict=True):
            found[f"{item.name.replace(' ', '-')}-{spec.name}"] = tensor[0].numpy()
    return found


def assert_right(folder: Path, name: str, least_db: float = 100.0, longer: int = 0) -> None:
    """Compare the files of the last run with a fresh module: types, shapes and values."""
    found, right = saved(folder), expected(name, longer)
    assert found.keys() == right.keys()
    for key, array in right.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape), key
        assert snr_db(array, found[key]) >= least_db, key


class Words(nn.Module):
    """Looks words up in a table of 40."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(40, 16), nn.Linear(16, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Look the words up."""
        return self.layer(self.table(ids))


class Types(nn.Module):
    """Has inputs and outputs of every type: words, a count, a mask, and signals of three widths."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(7, 8), nn.Linear(8, 5)

    def forward(self, ids: Any, count: Any, mask: Any, half: Any, wide: Any) -> tuple[Any, ...]:
        """Mix the inputs."""
        places = torch.arange(ids.shape[-1])
        hidden = self.table(ids) * (mask & (places < count)).unsqueeze(-1)
        scores = self.layer(hidden) + half.float().unsqueeze(-1)
        best = scores.argmax(-1)
        return (
            scores,
            best,
            best.to(torch.int32) + count,
            best > 2,
            (half.float() * 2).half(),
            wide * 0.5 + 1e-9,
        )


def _line(name: str, dtype: str = "float32", *lengths: int | str) -> TensorSpec:
    axes = ("place", "row")[: len(lengths)]
    return TensorSpec(name, axes, lengths, dtype)


NETS["words"] = Net(
    Words,
    (_line("ids", "int64", 20),),
    (_line("y", "float32", 20, 8),),
    {"ids": rows(40)},
)
NETS["types"] = Net(
    Types,
    (
        _line("ids", "int64", 12),
        _line("count", "int32", 1),
        _line("mask", "bool", 12),
        _line("half", "float16", 12),
        _line("wide", "float64", 12),
    ),
    (
        _line("scores", "float32", 12, 5),
        _line("best", "int64", 12),
        _line("shifted", "int32", 12),
        _line("high", "bool", 12),
        _line("halved", "float16", 12),
        _line("doubled", "float64", 12),
    ),
    {
        "ids": rows(7),
        "count": lambda random, shape: random.integers(3, 13, shape),
        "mask": lambda random, shape: random.random(shape) > 0.3,
        "half": noise,
        "wide": noise,
    },
)

EXPORTERS = {
    "onnx": (),
    "onnx_dynamo": ("exporter=onnx_dynamo",),
    "torch_export": ("exporter=torch_export", "runtime=torch", "graph=[]"),
    "none": ("exporter=none", "runtime=torch", "graph=[]"),
}


def test_an_index_is_fed_as_an_index(runs: Runs, tmp_path: Path) -> None:
    """An index input is exported with the recipe's data, because noise is no row of a table."""
    done = runs("words")
    assert (done.code, done.err) == (0, "")
    assert_right(tmp_path, "words")
    done = runs("words", "precision=a8w8")
    assert (done.code, done.err) == (0, "")
    assert_right(tmp_path, "words", 30)
    readme = (last(tmp_path) / "bundle" / "README.md").read_text()
    assert "`ids` (int64: place 20)" in readme
    assert "32-bit" not in readme


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_every_type_goes_in_and_comes_out(runs: Runs, tmp_path: Path, exporter: str) -> None:
    """int64, int32, bool, float16 and float64 keep their type from the data to the files."""
    done = runs("types", *EXPORTERS[exporter])
    assert (done.code, done.err) == (0, "")
    assert_right(tmp_path, "types", 55)


def test_the_program_of_a_bundle_takes_every_type(runs: Runs, tmp_path: Path) -> None:
    """A bundle's program casts arrays to the model's types, and refuses one that cannot fit."""
    assert runs("types").code == 0
    (item, *_) = nets.Drawn(nets.DrawnOptions("types")).items(
        "evaluation", Signature(NETS["types"].inputs, ())
    )
    given = tmp_path / "given.npz"
    # A person's script leaves the types that NumPy chose.
    np.savez(given, **{**item.inputs, "count": item.inputs["count"].astype(np.int64)})
    program = [sys.executable, str(last(tmp_path) / "bundle" / "python" / "run.py")]
    subprocess.run([*program, str(given), str(tmp_path / "made")], check=True)
    with np.load(tmp_path / "made" / "outputs.npz") as made:
        for key, array in expected("types").items():
            if key.startswith("item-0-"):
                found = made[key.removeprefix("item-0-")]
                assert found.dtype == array.dtype
                assert snr_db(array, found) > 55
    np.savez(given, **{**item.inputs, "ids": item.inputs["ids"] + 0.5})
    done = subprocess.run(
        [*program, str(given), str(tmp_path / "made")], check=False, capture_output=True, text=True
    )
    assert "`ids` is float64; the model takes int64" in done.stderr


class Classes(nn.Module):
    """Gives scores to 10 classes, from exactly 256 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        return self.layer(x)


class Filter(nn.Module):
    """Filters a line of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(2, 2, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter the line."""
        return self.layer(x)


class Level(Filter):
    """Gives two numbers for a line of any length: outputs without the axis to cut."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter the line, and average."""
        return self.layer(x).square().mean(-1)


class Stubborn(Filter):
    """Gives two numbers by a ramp; a tracer takes the length of the ramp as a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weight the filtered line, and average."""
        return (self.layer(x) * torch.linspace(0, 1, int(x.shape[-1]))).mean(-1)


class Fixed(Filter):
    """Filters a line of one length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter the line."""
        return self.layer(x.reshape(1, 2, 64))


class Counting(Filter):
    """Multiplies by the number of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count the call, and multiply."""
        self.calls += 1
        return self.layer(x) * self.calls


def _rows(name: str, *lengths: int | str) -> TensorSpec:
    return TensorSpec(name, ("channel", "place")[: len(lengths)], lengths)


LONG = {"place": 100}
NETS["classes"] = Net(Classes, (TensorSpec("x", ("a",), (256,)),),
                      (TensorSpec("y", ("b",), (10,)),), {"x": noise})  # fmt: skip
NETS["filter"] = Net(Filter, (_rows("x", 2, "place"),), (_rows("y", 2, "place"),), {"x": noise},
                     LONG)  # fmt: skip
NETS["level"] = Net(Level, (_rows("x", 2, "place"),), (_rows("y", 2),), {"x": noise}, LONG)
NETS["blocks"] = Net(Filter, (_rows("x", 2, "place"),), (_rows("y", 2, "place"),), {"x": noise},
                     LONG, {"place": 42}, {"place": 44})  # fmt: skip
NETS["stubborn"] = Net(Stubborn, (_rows("x", 2, "place"),), (_rows("y", 2),), {"x": noise},
                       LONG)  # fmt: skip
NETS["fixed"] = Net(Fixed, (_rows("x", 2, 64),), (_rows("y", 2, 64),), {"x": noise})
NETS["counting"] = Net(Counting, (_rows("x", 2, 64),), (_rows("y", 2, 64),), {"x": noise})

CUT = ("chunker=overlap_add", "chunker.axis=place")


@pytest.mark.parametrize("arguments", [(), ("exporter.dynamic=true",)])
def test_a_network_of_fixed_shape_just_runs(
    runs: Runs, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """A network of fixed shape runs without any change, also with `exporter.dynamic=true`."""
    done = runs("classes", *arguments)
    assert (done.code, done.err) == (0, "")
    assert_right(tmp_path, "classes")


def advised(done: Done) -> list[dict[str, str]]:
    """Return the overrides in each line of a refusal, exactly as the line has them."""
    found = []
    for line in done.err.splitlines()[1:]:
        words = re.findall(r"(?<![\w.])([a-z_]+(?:\.\w+)*)=([^\s,;()]+)", line)
        given = {key: value for key, value in words if key.partition(".")[0] in SLOTS}
        if given and "..." not in given.values():
            found.append(given)
    return found


@pytest.mark.parametrize(
    ("net", "arguments"),
    [
        ("classes", ("chunker=overlap_add", "chunker.axis=a", "chunker.length=256")),
        ("filter", ()),
        ("filter", ("chunker=overlap_add", "chunker.length=model", "chunker.axis=place")),
        ("level", ()),
        ("stubborn", CUT),
        ("fixed", (*CUT, "chunker.length=32")),
        ("counting", ()),
        ("filter", ("exporter=none", *CUT)),
    ],
)
def test_the_advice_of_a_refusal_leads_on(runs: Runs, net: str, arguments: tuple[str, ...]) -> None:
    """The overrides that a refusal names lead to a finished run, and never back to the refusal."""
    ended = 0

    def follow(given: dict[str, str], path: tuple[str, ...]) -> None:
        nonlocal ended
        done = runs(net, *(f"{key}={value}" for key, value in given.items()))
        if done.code == 0:
            assert path, "this is no refusal"
            ended += 1
            return
        what = done.err.splitlines()[0]
        assert what not in path, (*path, what)
        ways = advised(done)
        assert ways, done.err
        for way in ways:
            # Another plugin in a slot has its own options.
            kept = {k: v for k, v in given.items() if k.partition(".")[0] not in way}
            follow({**kept, **way}, (*path, what))

    follow(dict(argument.split("=", 1) for argument in arguments), ())
    assert ended


def test_a_module_that_changes_is_refused_and_played_with_a_warning(
    runs: Runs, tmp_path: Path
) -> None:
    """A module that changes at each call is not exported; it plays itself, with a warning."""
    done = runs("counting")
    assert done.code == 1
    assert "changes `calls` each time it runs" in done.err
    assert not (tmp_path / "out" / "small").exists() or not list(
        (tmp_path / "out" / "small").iterdir()
    )
    done = runs("counting", "exporter=none", "graph=[]", "runtime=torch")
    assert done.code == 0
    report = json.loads((last(tmp_path) / "report.json").read_text())
    (notice,) = report["notices"]
    assert notice["severity"] == "danger"
    assert "gave another output when it was called again" in notice["text"]


def test_windows_that_a_layout_rounds_up_are_those_of_the_training(
    runs: Runs, tmp_path: Path
) -> None:
    """The budget has no line for cutting at the layout's training length, and one at another."""
    rows = {}
    for length in ("model", "40"):
        done = runs("blocks", *EXPORTERS["none"], *CUT, f"chunker.length={length}")
        assert (done.code, done.err) == (0, "")
        report = json.loads((last(tmp_path) / "report.json").read_text())
        rows[length] = [line["stage"] for line in report["budget"]]
    assert "chunk" not in rows["model"]
    assert "chunk" in rows["40"]


class Reading(nn.Module):
    """Reads a text that begins with the mark 1, at a speed: lengthens what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(40, 8), nn.Linear(8, 4)

    def forward(self, ids: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
        """Read the text; a log of the speed is not a number unless the speed is above zero."""
        return self.layer(self.table(ids)) * speed.log()[:, None, None]


def _text(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    text = random.integers(2, 40, shape)
    text[0] = 1
    return text


def _speed(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return random.uniform(0.5, 2.0, shape)


def _reading(low: float = 0.5, **more: Any) -> Net:
    """Return a network of words with a range, and a speed of rank 0 that starts at `low`."""
    return Net(
        Reading,
        (
            TensorSpec("ids", ("token",), ("token",), "int64", range=(1, 39)),
            TensorSpec("speed", (), (), range=(low, 2.0)),
        ),
        (TensorSpec("said", ("token", "band"), ("token", 4)),),
        {"ids": _text, "speed": _speed},
        {"token": 12},
        {"token": 12},
        **more,
    )


def test_ranges_make_an_example(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a range is drawn from it, so no data is needed to export; a scalar keeps its rank.

    Two texts of one recipe, one longer than the other, come from the same graph.
    """
    monkeypatch.setitem(NETS, "reading", _reading())
    # A function whose call would show that the example came from data.
    monkeypatch.setattr(example, "_real", lambda *_: pytest.fail("the recipe's data was read"))
    done = runs("reading", "exporter.dynamic=true", "dataset.longer=7")
    assert (done.code, done.err) == (0, ""), done.err
    assert_right(tmp_path, "reading", longer=7)


def test_data_out_of_range_is_refused(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the model does not take is named with its item, before anything is played."""
    monkeypatch.setitem(NETS, "reading", _reading(low=1.9))
    done = runs("reading", "exporter.dynamic=true")
    assert done.code == 1
    assert "for the input `speed`" in done.err
    assert "the model takes values from 1.9 to 2" in done.err


def test_a_model_gives_its_own_example(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example of the model's own is recorded; one of another type is refused with its name."""
    seen: list[dict[str, int]] = []

    def own(lengths: Any) -> Any:
        seen.append(dict(lengths))
        return {"ids": np.array([1, 5, 6], np.int64), "speed": np.array(0.7, np.float32)}

    monkeypatch.setitem(NETS, "reading", _reading(example=own))
    done = runs("reading", "exporter.dynamic=true")
    assert (done.code, done.err) == (0, "")
    assert seen == [{"token": 12}]
    assert_right(tmp_path, "reading")

    def wrong(_: Any) -> Any:
        return {"ids": np.array([1, 5, 6], np.int32), "speed": np.array(0.7, np.float32)}

    monkeypatch.setitem(NETS, "reading", _reading(example=wrong))
    done = runs("reading", "exporter.dynamic=true", f"store={tmp_path / 'another'}")
    assert done.code == 2
    assert "the example of model `net` gives int32 for the input `ids`" in done.err


def test_scores_of_windows_are_averaged(runs: Runs, tmp_path: Path) -> None:
    """An output without the cut axis is the mean of its windows, also from the bundle's program."""
    done = runs(
        "level", *CUT, "chunker.length=40", "chunker.overlap=0", "chunker.without_axis=mean"
    )
    assert (done.code, done.err) == (0, "")
    net, found = NETS["level"], saved(tmp_path)
    torch.manual_seed(0)
    module = net.make().eval()
    items = list(
        nets.Drawn(nets.DrawnOptions("level")).items("evaluation", Signature(net.inputs, ()))
    )
    for item in items:
        x = torch.from_numpy(item.inputs["x"])
        # 40, 40 and 20 of 100: around the last 20 lie those before, and zeros behind the end.
        last_one = torch.nn.functional.pad(x[:, 70:], (0, 10))
        pieces = torch.stack([x[:, :40], x[:, 40:80], last_one])
        with torch.no_grad():
            scores = module(pieces).numpy()
        expected = (0.4 * scores[0] + 0.4 * scores[1] + 0.2 * scores[2]).astype(np.float32)
        assert snr_db(expected, found[f"{item.name.replace(' ', '-')}-y"]) > 100
    given = tmp_path / "given.npz"
    np.savez(given, **items[0].inputs)
    program = [sys.executable, str(last(tmp_path) / "bundle" / "python" / "run.py")]
    subprocess.run([*program, str(given), str(tmp_path / "made")], check=True)
    with np.load(tmp_path / "made" / "outputs.npz") as made:
        assert snr_db(found["item-0-y"], made["y"]) > 100
