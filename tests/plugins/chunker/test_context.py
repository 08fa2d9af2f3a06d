"""The chunker `context`: its contract, and a network whose receptive field the context covers."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from core import Array, InputError, Item, ModelInfo, Signature, StageError, TensorSpec
from core.conformance import ChunkerSuite
from core.inference.windows import lengths_of, play_with, spread
from core.plugin.progress import silent
from plugins.chunker.context import Context, ContextOptions

if TYPE_CHECKING:
    from core import Tensors

MIX = TensorSpec("mix", ("channel", "time"), (2, "time"))
SAME = Signature((MIX,), (TensorSpec("same", ("channel", "time"), (2, "time")),))
LENGTHS = [{"time": total} for total in (1, 7, 16, 17, 96)]
TAPS = np.random.default_rng(0).standard_normal(7).astype(np.float32)


class TestContext(ChunkerSuite):
    """Context on both sides, more on the left; inputs shorter than it, and longer."""

    plugin = Context
    options = ContextOptions(length=16, left=5, right=2)
    signature = SAME
    lengths = LENGTHS


class TestWithoutContext(ChunkerSuite):
    """Windows side by side, with an output of twice the rate."""

    plugin = Context
    options = ContextOptions(length=16, left=0, right=0)
    signature = SAME
    lengths = LENGTHS
    scale = 2


def filtered(piece: Tensors) -> Tensors:
    """Filter every channel over 7 samples, 3 on each side; zeros lie beyond the ends."""
    return {"same": np.stack([np.convolve(row, TAPS, "same") for row in piece["mix"]])}


def noise(total: int) -> Array:
    """Return stereo noise (2, time)."""
    return np.random.default_rng(total).standard_normal((2, total)).astype(np.float32)


@pytest.mark.parametrize(("total", "side"), [(40, 3), (200, 3), (200, 10)])
def test_context_as_wide_as_the_receptive_field_leaves_no_seam(total: int, side: int) -> None:
    """Joined windows equal the filter over the whole input; with less context they do not."""
    item = Item("x", "x", {"mix": noise(total)})
    chunker = Context(ContextOptions(length=32, left=side, right=side))
    played = play_with(filtered, item, SAME, chunker, silent())["same"]
    np.testing.assert_allclose(played, filtered(item.inputs)["same"], atol=1e-5)
    narrow = Context(ContextOptions(length=32, left=2, right=2))
    played = play_with(filtered, item, SAME, narrow, silent())["same"]
    assert np.abs(played - filtered(item.inputs)["same"]).max() > 0.1


def test_sampled_windows_are_those_of_the_split() -> None:
    """What is measured on is a window that playing uses, of full extent where there is one."""
    chunker = Context(ContextOptions(length=16, left=5, right=3))
    inputs = {"mix": noise(100)}
    split = [(w.start, w.stop) for w in chunker.split(lengths_of(inputs, SAME))]
    picked = spread(4, inputs, chunker, SAME)
    assert len(picked) == 4
    for window in picked:
        assert (window.start, window.stop) in split
        assert window.stop["time"] - window.start["time"] == 8


@pytest.mark.parametrize("total", [1, 9, 40, 77])
def test_the_program_of_the_bundle_joins_alike(total: int) -> None:
    """The Python code gives the same bits, also for an output of half the rate."""
    chunker = Context(ContextOptions(length=16, left=4, right=2))

    def halved(piece: Tensors) -> Tensors:
        return {"same": piece["mix"][:, ::2]}

    info = ModelInfo(SAME, ("mix",), ("same",))
    part = chunker.ships(info)
    play = runpy.run_path(str(part.sources["python/join.py"]))["play"]
    metadata = {"chunking": dict(part.facts), "signature": msgspec.to_builtins(SAME)}
    made = play({"mix": noise(total)}, metadata, halved)
    item = Item("x", "x", {"mix": noise(total)})
    np.testing.assert_array_equal(
        play_with(halved, item, SAME, chunker, silent())["same"], made["same"]
    )


def test_lengths_that_cannot_be_are_refused() -> None:
    """Windows that are all context, negative context, and a length that no model gives."""
    with pytest.raises(ValueError, match="leave nothing of windows of 16 samples"):
        ContextOptions(length=16, left=8, right=8)
    with pytest.raises(ValueError, match="`left` is -1"):
        ContextOptions(left=-1)
    left = Context(ContextOptions(length="model", left=8, right=8))
    assert left.with_training_window({"time": 20}).window() == {"time": 20}
    with pytest.raises(InputError, match="gives no length along `time`"):
        left.with_training_window({})
    with pytest.raises(InputError, match="leave nothing of windows of 16"):
        left.with_training_window({"time": 16})
    with pytest.raises(ValueError, match="leave nothing"):
        Context(ContextOptions(length=32, left=8, right=8)).resized({"time": 10})


def test_an_output_without_the_axis_is_refused_with_who_joins_it() -> None:
    """Scores of a whole sound have no place to be cut to; the message names a chunker that can."""
    scores = Signature((MIX,), (TensorSpec("scores", ("class",), (10,)),))
    with pytest.raises(StageError, match="without_axis=mean"):
        Context(ContextOptions()).joiner({"time": 10}, scores)
