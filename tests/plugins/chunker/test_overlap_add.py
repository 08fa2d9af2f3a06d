"""The chunker `overlap_add` cuts and joins as demucs does, for any length."""

from __future__ import annotations

import itertools
import runpy
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from hypothesis import given, settings
from hypothesis import strategies as st

from core import Array, InputError, Item, ModelInfo, Signature, StageError, Tensors, TensorSpec
from core.inference.windows import play_with, spread
from core.measure.metrics import snr_db
from core.plugin.progress import silent
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions, Uncut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MIX = TensorSpec("mix", ("channel", "time"), (2, "time"))
STEMS = TensorSpec("stems", ("stem", "channel", "time"), (2, 2, "time"))
SEPARATION = Signature((MIX,), (STEMS,))
SAME = Signature((MIX,), (replace(MIX, name="same"),))
EXACT_DB = 100.0


def noise(length: int, seed: int = 0) -> Array:
    """Return stereo noise (2, time)."""
    return np.random.default_rng(seed).standard_normal((2, length)).astype(np.float32)


def run(
    chunker: OverlapAdd, x: Array, signature: Signature, model: Callable[[Tensors], Tensors]
) -> Array:
    """Play `x` through `model` window by window, as the core does."""
    outputs = play_with(model, Item("x", "x", {"mix": x}), signature, chunker, silent())
    result: Array = outputs[signature.outputs[0].name]
    return result


def repeated(piece: Tensors) -> Tensors:
    """Return the window at three times the rate."""
    return {"same": np.repeat(piece["mix"], 3, axis=-1)}


@pytest.fixture(scope="module")
def demucs() -> Iterator[HTDemucs]:
    """Give demucs's model, small, with random weights, which takes chunks of any length."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small take 20 times as long on two busy cores
    torch.manual_seed(0)
    yield HTDemucs(
        ["a", "b"],
        channels=8,
        nfft=1024,
        t_layers=1,
        t_heads=2,
        bottom_channels=16,
        use_train_segment=False,
    ).eval()
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("total", "length", "overlap", "power"),
    [
        (1, 1024, 0.25, 1.0),
        (700, 1024, 0.25, 1.0),
        (900, 1024, 0.25, 1.0),
        (1024, 1024, 0.0, 1.0),
        (4 * 768, 1024, 0.25, 1.0),
        (4 * 768 + 1, 1024, 0.25, 1.0),
        (3 * 1024, 1024, 0.0, 2.0),
        (5000, 1024, 0.5, 1.5),
        (5000, 1001, 0.75, 1.0),
        (3333, 999, 0.1, 3.0),
    ],
)
def test_a_song_comes_out_as_demucs_applies_its_model(
    demucs: HTDemucs, total: int, length: int, overlap: float, power: float
) -> None:
    """The result equals `apply_model(split=True, shifts=0)` on a real, time-variant network."""
    x = noise(total)

    def model(piece: Tensors) -> Tensors:
        with torch.no_grad():
            return {"stems": demucs(torch.from_numpy(piece["mix"])[None])[0].numpy()}

    expected = apply_model(
        demucs,
        torch.from_numpy(x)[None],
        shifts=0,
        split=True,
        overlap=overlap,
        transition_power=power,
        segment=Fraction(length, demucs.samplerate),
    )
    chunker = OverlapAdd(OverlapAddOptions(length, overlap, power))
    actual = run(chunker, x, SEPARATION, model)
    assert actual.shape == (2, 2, total)
    assert actual.dtype == np.float32
    assert snr_db(expected[0].numpy(), actual) > EXACT_DB


WINDOWS = st.builds(
    OverlapAddOptions,
    length=st.integers(8, 300),
    overlap=st.floats(0, 0.85),
    power=st.floats(1, 40),
)


@settings(max_examples=100, deadline=None)
@given(total=st.integers(1, 2000), options=WINDOWS, seed=st.integers(0, 999))
def test_cutting_and_joining_is_the_identity(
    total: int, options: OverlapAddOptions, seed: int
) -> None:
    """Joined windows equal the input that was cut, for all options."""
    x = noise(total, seed)
    y = run(OverlapAdd(options), x, SAME, lambda piece: {"same": piece["mix"]})
    assert snr_db(x, y) > EXACT_DB


@settings(max_examples=60, deadline=None)
@given(total=st.integers(1, 1000), options=WINDOWS)
def test_outputs_at_a_multiple_of_the_rate_are_joined_in_place(
    total: int, options: OverlapAddOptions
) -> None:
    """Outputs at three times the input's rate are joined with every sample in its place."""
    x = noise(total)
    y = run(OverlapAdd(options), x, SAME, repeated)
    assert snr_db(np.repeat(x, 3, axis=-1), y) > EXACT_DB


@settings(max_examples=60, deadline=None)
@given(total=st.integers(1, 1000), options=WINDOWS)
def test_outputs_at_half_the_rate_fill_their_length(total: int, options: OverlapAddOptions) -> None:
    """Constant windows at half the rate join to a constant, without a gap from rounding."""
    options = replace(options, length=2 * options.length)
    y = run(
        OverlapAdd(options),
        np.ones((2, total), np.float32),
        SAME,
        lambda _: {"same": np.ones((2, options.length // 2), np.float32)},
    )
    assert y.shape == (2, (total + 1) // 2)
    np.testing.assert_allclose(y, 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(total=st.integers(1, 2000), options=WINDOWS)
def test_every_window_is_whole_and_every_sample_covered(
    total: int, options: OverlapAddOptions
) -> None:
    """Every window has full length, none is empty, and together they cover every sample."""
    chunker = OverlapAdd(options)
    covered = np.zeros(total, bool)
    for window in chunker.split({"channel": 2, "time": total}):
        assert window.start["time"] < window.stop["time"] <= total
        piece = chunker.cut({"mix": noise(total)}, window, SAME)["mix"]
        assert piece.shape == (2, chunker.window()["time"])
        covered[window.start["time"] : window.stop["time"]] = True
    assert covered.all()


def test_a_short_piece_lies_in_the_middle_of_what_surrounds_it() -> None:
    """A short last window is filled up with the song before it and with zeros after its end."""
    x = np.arange(1, 11, dtype=np.float32)[None].repeat(2, axis=0)
    chunker = OverlapAdd(OverlapAddOptions(length=8, overlap=0.25))
    last = chunker.split({"time": 10})[-1]
    piece = chunker.cut({"mix": x}, last, SAME)["mix"]
    np.testing.assert_array_equal(piece[0], [5, 6, 7, 8, 9, 10, 0, 0])


def test_windows_that_the_core_picks_for_measuring_are_whole() -> None:
    """Windows from `core.inference.windows.spread` have full length, also in a shorter song."""
    chunker = OverlapAdd(OverlapAddOptions(length=64))
    for total in (10, 64, 1000):
        item = {"mix": noise(total)}
        for window in spread(3, item, chunker, SAME):
            assert chunker.cut(item, window, SAME)["mix"].shape == (2, 64)


def test_inputs_without_the_axis_go_to_every_window() -> None:
    """An input without a time axis, such as a conditioning vector, goes uncut to every window."""
    signature = Signature((MIX, TensorSpec("style", ("feature",), (3,))), SAME.outputs)
    chunker = OverlapAdd(OverlapAddOptions(length=8))
    inputs = {"mix": noise(20), "style": np.ones(3, np.float32)}
    piece = chunker.cut(inputs, chunker.split({"time": 20})[1], signature)
    np.testing.assert_array_equal(piece["style"], inputs["style"])


def test_outputs_without_the_axis_are_refused() -> None:
    """An output without a time axis, such as a label of the whole song, is refused."""
    signature = Signature((MIX,), (TensorSpec("genre", ("class",), (10,)),))
    with pytest.raises(StageError, match="`genre`, which has no axis `time`"):
        OverlapAdd(OverlapAddOptions()).joiner({"time": 10}, signature)


SCORES = Signature((MIX,), (replace(STEMS, name="scores", axes=("class",), shape=(2,)),))


@pytest.mark.parametrize(
    ("how", "expected"),
    # Windows of 8, 8 and 4 samples, whose scores are their numbers.
    [("mean", 0.8), ("max", 2.0), ("min", 0.0), ("first", 0.0), ("last", 2.0)],
)
def test_outputs_without_the_axis_are_joined_as_the_recipe_says(how: str, expected: float) -> None:
    """A mean counts windows by their length; the program for the device does the same."""
    chunker = OverlapAdd(OverlapAddOptions(length=8, overlap=0.0, without_axis=Uncut(how)))

    def numbered() -> Callable[[Tensors], Tensors]:
        count = itertools.count()
        return lambda _: {"scores": np.full(2, next(count), np.float32)}

    found = run(chunker, noise(20), SCORES, numbered())
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-6)
    part = chunker.ships(ModelInfo(SCORES, ("mix",), ("scores",)))
    play = runpy.run_path(str(part.sources["python/join.py"]))["play"]
    metadata = {"chunking": dict(part.facts), "signature": msgspec.to_builtins(SCORES)}
    np.testing.assert_array_equal(play({"mix": noise(20)}, metadata, numbered())["scores"], found)


def test_a_mean_of_whole_numbers_is_refused() -> None:
    """A class is no number to average: the message names what can be taken."""
    best = Signature((MIX,), (TensorSpec("best", ("class",), (1,), "int64"),))
    with pytest.raises(StageError, match="takes the mean of floats only, and `best` is none"):
        OverlapAdd(OverlapAddOptions(without_axis=Uncut.mean)).joiner({"time": 10}, best)


def test_a_missing_window_is_noticed() -> None:
    """A joiner that misses a window raises an error and does not fill the gap with zeros."""
    chunker = OverlapAdd(OverlapAddOptions(length=8))
    joiner = chunker.joiner({"time": 20}, SAME)
    first = chunker.split({"time": 20})[0]
    joiner.add(first, {"same": noise(8)})
    with pytest.raises(ValueError, match="no window covers 12"):
        joiner.result()


def test_resized_changes_only_the_length() -> None:
    """`resized` changes the window's length, keeps overlap and power, and ignores other axes."""
    chunker = OverlapAdd(OverlapAddOptions(length=64, overlap=0.5, power=2.0))
    longer = chunker.resized({"time": 128})
    assert longer.window() == {"time": 128}
    assert OverlapAddOptions(128, 0.5, 2.0) == longer.options
    assert chunker.resized({"height": 9}) is chunker


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": 0}, "holds 1 to"),
        ({"length": 10**12}, "holds 1 to"),
        ({"overlap": 1.0}, "from 0 to 0.99"),
        ({"overlap": 0.999999999}, "from 0 to 0.99"),
        ({"overlap": float("nan")}, "from 0 to 0.99"),
        ({"power": float("inf")}, "give 1 or more"),
        ({"power": float("nan")}, "give 1 or more"),
        ({"length": 2, "overlap": 0.9}, "no step between windows"),
        ({"power": 0.5}, "give 1 or more"),
    ],
)
def test_windows_that_cannot_be_are_refused(values: dict[str, float], message: str) -> None:
    """An option without sense is refused, and the message says the permitted values."""
    with pytest.raises(ValueError, match=message):
        OverlapAddOptions(**values)  # type: ignore[arg-type]  # mixed types, one per case


def test_the_highest_overlap_is_one() -> None:
    """The bounds that the error names are allowed."""
    for overlap in (0.0, 0.99):
        assert OverlapAddOptions(length=1000, overlap=overlap).overlap == overlap


def test_more_windows_than_a_device_gets_through_are_counted_before_they_are_made() -> None:
    """A song of four hours in windows of one sample is refused before any window is made."""
    chunker = OverlapAdd(OverlapAddOptions(length=1, overlap=0))
    with pytest.raises(StageError, match=r"635,040,000 samples into 635,040,000 windows"):
        chunker.split({"time": 4 * 3600 * 44_100})


def test_a_length_can_be_left_to_the_model() -> None:
    """`length=model` takes the model's training window; without that window it is an error."""
    left = OverlapAdd(OverlapAddOptions(length="model", overlap=0.5))
    with pytest.raises(ValueError, match="no model gave its length"):
        left.window()
    chunker = left.with_training_window({"time": 12})
    assert dict(chunker.window()) == {"time": 12}
    assert chunker.options.stride == 6
    assert chunker.with_training_window({"time": 99}) is chunker
    with pytest.raises(InputError, match="gives no length along `time`"):
        left.with_training_window({"height": 12})


def test_a_number_in_quotes_is_one() -> None:
    """A length in quotes, as from a shell or a YAML file, is a number; a word is refused."""
    assert OverlapAddOptions(length="12") == OverlapAddOptions(length=12)
    with pytest.raises(ValueError, match="give a number of samples, or model"):
        OverlapAddOptions(length="a dozen")


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "float16", "float64"])
def test_outputs_keep_their_type(dtype: str) -> None:
    """The joined output has the type of the windows, for floats, whole numbers and truth values."""
    line = TensorSpec("mix", ("channel", "time"), (1, "time"), dtype)
    of = Signature((line,), (replace(line, name="same"),))
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (1, 50))
    x = values.astype(dtype)
    chunker = OverlapAdd(OverlapAddOptions(length=16, overlap=0.5))
    seen = run(chunker, x, of, lambda piece: {"same": piece["mix"]})
    assert seen.dtype == x.dtype
    np.testing.assert_array_equal(seen, x)


def test_a_whole_number_is_that_of_the_window_whose_middle_is_nearest() -> None:
    """Whole numbers come from the window with the nearest middle and are never averaged.

    The mean of two classes would be a third class.
    """
    line = TensorSpec("mix", ("channel", "time"), (1, "time"), "int64")
    of = Signature((line,), (replace(line, name="same"),))
    count = iter(range(9))
    chunker = OverlapAdd(OverlapAddOptions(length=8, overlap=0.5))
    seen = run(
        chunker,
        np.zeros((1, 12), np.int64),
        of,
        lambda piece: {"same": np.full_like(piece["mix"], next(count))},
    )
    assert seen.tolist() == [[0] * 6 + [1] * 4 + [2] * 2]
