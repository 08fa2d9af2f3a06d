"""The STFT as ONNX graphs equals the transform, for all options and lengths."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import Signature, Tensors, Transform, outside
from core.conformance import DspSuite
from core.conformance.dsp import assert_near, run_graph
from plugins.dsp._spectral.factors import factors
from plugins.dsp.stft import Edges, Nyquist, Stft, StftOptions
from tests.plugins.dsp.test_stft import FEW, SEEDS, info, noise


def core_outputs(feeds: Tensors, stems: int, seed: int) -> Tensors:
    """Return noise of the shapes that a core gives for `feeds`."""
    rng = np.random.default_rng(seed)
    shapes = {"time_out": feeds["mix"].shape[1:], "spec_out": feeds["mag"].shape[1:]}
    return {
        name: rng.standard_normal((1, stems, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def assert_graphs_equal(transform: Transform, mix: Tensors, stems: int = 2, seed: int = 0) -> None:
    """Send noise through both directions of the graphs and of the methods."""
    (length,) = {array.shape[-1] for array in mix.values()}
    with tempfile.TemporaryDirectory() as folder:
        graphs = transform.graphs({"time": length}, Path(folder)) or {}
        feeds, remembered = transform.forward(mix)
        made = run_graph(graphs["forward"], {outside(name): a for name, a in mix.items()})
        assert made.keys() == {*feeds, *remembered}
        assert_near(feeds, {name: made[name] for name in feeds})
        rest = {name: made[name] for name in remembered}
        outputs = core_outputs(feeds, stems, seed)
        expected = transform.inverse(outputs, remembered)["stems"]
        given_back = run_graph(graphs["inverse"], {**outputs, **rest})
    assert_near({outside("stems"): expected}, given_back)


@FEW
@given(
    nfft=st.sampled_from([8, 16, 24, 64, 120, 512]),
    # With fewer samples the two summed halves may cancel, and only rounding is left.
    length=st.integers(16, 3000),
    channels=st.integers(1, 3),
    stems=st.integers(1, 3),
    normalise=st.booleans(),
    nyquist=st.sampled_from(Nyquist),
    edges=st.sampled_from(Edges),
    seed=SEEDS,
)
def test_graphs_equal_the_transform(
    nfft: int,
    length: int,
    channels: int,
    stems: int,
    normalise: bool,
    nyquist: Nyquist,
    edges: Edges,
    seed: int,
) -> None:
    """Both graphs equal the transform for all windows, edges, Nyquist options and lengths."""
    transform = Stft(StftOptions(nyquist, edges)).bind(info(nfft, channels, stems, normalise))
    assert_graphs_equal(transform, {"mix": noise(seed, channels, length)}, stems, seed)


@pytest.mark.parametrize("edges", Edges)
def test_graphs_of_the_size_that_htdemucs_needs_equal_the_transform(edges: Edges) -> None:
    """The graphs equal the transform for 44,100 samples, an FFT of 4,096, and four stems."""
    transform = Stft(StftOptions(edges=edges)).bind(info(4096, 2, 4, normalise=True))
    mix = 0.1 * noise(3, 2, 44100) + np.float32(0.02)
    assert_graphs_equal(transform, {"mix": mix}, stems=4)


def test_graphs_of_silence_give_silence(tmp_path: Path) -> None:
    """The graph of a silent window gives zeros and does not divide by a spread of zero."""
    transform = Stft(StftOptions()).bind(info(64, normalise=True))
    graphs = transform.graphs({"time": 500}, tmp_path) or {}
    made = run_graph(graphs["forward"], {outside("mix"): np.zeros((2, 500), np.float32)})
    assert all((array == 0).all() for array in made.values())


def test_without_a_window_there_are_no_graphs(tmp_path: Path) -> None:
    """An input that is not cut gets no graphs, because a graph has one length."""
    transform = Stft(StftOptions()).bind(info(64))
    assert transform.graphs({}, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_window_function_and_the_sizes_are_told() -> None:
    """The shipped facts name the window function and the sizes, so a person can write the STFT."""
    facts = Stft(StftOptions(Nyquist.keep, Edges.whole)).ships(info(64, normalise=True)).facts
    assert (facts["nfft"], facts["hop"], facts["nyquist"]) == (64, 16, "kept")
    assert "hann" in str(facts["window_function"])
    assert "std of n - 1" in str(facts["normalisation"])
    facts = Stft(StftOptions(Nyquist.drop)).ships(info(64, normalise=False)).facts
    assert (facts["nyquist"], facts["normalisation"]) == (
        "dropped, and zero in the inverse",
        "none",
    )


@pytest.mark.parametrize("free", ["channel", "stem"])
def test_without_a_number_of_channels_or_stems_there_are_no_graphs(
    tmp_path: Path, free: str
) -> None:
    """A graph has fixed sizes: a model with a free number of channels or stems gets none."""
    model = info(64)
    (mix,), (stems,) = model.signature.inputs, model.signature.outputs
    if free == "channel":
        mix = dataclasses.replace(mix, shape=("channel", "time"))
    else:
        stems = dataclasses.replace(stems, shape=("stem", 2, "time"), labels={})
    model = dataclasses.replace(model, signature=Signature((mix,), (stems,)))
    assert Stft(StftOptions()).bind(model).graphs({"time": 500}, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nfft", [8, 24, 4096])
@pytest.mark.parametrize("keep_nyquist", [False, True])
def test_the_factors_are_the_dft(nfft: int, keep_nyquist: bool) -> None:
    """Two products and a twiddle give the result of NumPy's FFT, in the same order."""
    split = factors(nfft, nfft // 4, keep_nyquist)
    x = np.random.default_rng(0).standard_normal(nfft)
    frame = x.reshape(split.rows, split.columns).T
    first, twiddle = (real + 1j * imaginary for real, imaginary in (split.first(), split.twiddle()))
    turned = (frame @ first) * twiddle
    stacked = split.second() @ np.concatenate([turned.real, turned.imag])
    found = (stacked[: split.bands] + 1j * stacked[split.bands :]).ravel()
    expected = np.fft.rfft(x)[: nfft // 2 + keep_nyquist]
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4 * np.sqrt(nfft))


class TestStft(DspSuite):
    """The plugin `stft` passes the suite that authors use."""

    plugin = Stft
    info = info(512, normalise=True)
    window = {"time": 3000}  # noqa: RUF012  # the suite's own declaration

    def identity(self, feeds: Tensors) -> Tensors:
        """Return both tensors as the outputs of the one stem."""
        return {"time_out": feeds["mix"][:, None], "spec_out": feeds["mag"][:, None]}
