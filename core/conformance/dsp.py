"""The contract of every dsp: the types of the signature, and the length of the window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from core.conformance.base import PluginSuite
from core.inference.drawn import drawn
from core.plugin.stages import outside
from core.plugin.values import ModelInfo

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["DspSuite", "assert_near", "run_graph"]

#: The least SNR of a graph against the method that it replaces.
EXACT_DB = 120.0


def run_graph(file: Path, feeds: Tensors) -> Tensors:
    """Run an ONNX file on the CPU; every input that it names must be in `feeds`."""
    import onnxruntime

    from core.formats.onnx_session import session_options

    session = onnxruntime.InferenceSession(
        str(file), session_options(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    given = {value.name: feeds[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, given), strict=True))


def assert_near(expected: Tensors, actual: Tensors) -> None:
    """Compare tensors by name."""
    from core.measure.metrics import snr_db

    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        assert snr_db(array, actual[name]) >= EXACT_DB, name


class DspSuite(PluginSuite):
    """Name the `info` of a model that the dsp fits, and the `window` lengths to try.

    `identity` maps the core's inputs to the outputs of a core that changes nothing.
    """

    info: ClassVar[ModelInfo]
    window: ClassVar[dict[str, int]]

    def identity(self, feeds: Tensors) -> Tensors:
        """Return the core's outputs for a core that changes nothing."""
        return dict(zip(self.info.core_outputs, feeds.values(), strict=True))

    def piece(self) -> Tensors:
        """Return one window: noise, or zeros and ones."""
        specs = self.info.signature.inputs
        return {spec.name: drawn(spec, self.window, seed=3) for spec in specs}

    def test_forward_names_the_inputs_of_the_core(self) -> None:
        """The feeds are the core's inputs in order, with a batch axis of 1 in front.

        They have the signature's types; a feed that it does not name (a spectrogram) is float32.
        """
        feeds, _ = self.make().bind(self.info).forward(self.piece())
        types = {spec.name: spec.dtype for spec in self.info.signature.inputs}
        assert tuple(feeds) == self.info.core_inputs
        for name, array in feeds.items():
            assert array.dtype.name == types.get(name, "float32")
            assert array.shape[0] == 1

    def test_inverse_names_the_outputs(self) -> None:
        """The outputs are those of the signature, of its types, with its axes and finite."""
        import numpy as np

        transform = self.make().bind(self.info)
        feeds, remembered = transform.forward(self.piece())
        outputs = transform.inverse(self.identity(feeds), remembered)
        for spec in self.info.signature.outputs:
            assert outputs[spec.name].dtype.name == spec.dtype
            assert outputs[spec.name].ndim == len(spec.axes)
            assert np.isfinite(outputs[spec.name]).all()

    @pytest.fixture
    def graphs(self, tmp_path: Path) -> Mapping[str, Path]:
        """Return the transform's graphs, written for the suite's window."""
        written = self.make().bind(self.info).graphs(self.window, tmp_path)
        if not written:
            pytest.skip("the dsp writes no graphs, which are optional")
        return dict(written)

    def test_its_graphs_equal_the_transform(self, graphs: Mapping[str, Path]) -> None:
        """Both directions agree with the methods to 120 dB or more, names and shapes included.

        The remembered tensors are internal to the dsp: only the inverse's outputs are compared.
        """
        transform, piece = self.make().bind(self.info), self.piece()
        feeds, remembered = transform.forward(piece)
        made = run_graph(graphs["forward"], {outside(name): a for name, a in piece.items()})
        assert made.keys() == {*feeds, *remembered}
        assert_near(feeds, {name: made[name] for name in feeds})
        rest = {name: made[name] for name in remembered}
        outputs = self.identity(feeds)
        expected = {
            outside(name): array for name, array in transform.inverse(outputs, remembered).items()
        }
        assert_near(expected, run_graph(graphs["inverse"], {**outputs, **rest}))

    def test_its_graphs_are_small_and_always_the_same(
        self, graphs: Mapping[str, Path], tmp_path: Path
    ) -> None:
        """Under 1 MB each, so that every app can carry them; equal bytes when written again."""
        again = tmp_path / "again"
        again.mkdir()
        written = self.make().bind(self.info).graphs(self.window, again)
        for name, file in graphs.items():
            assert file.stat().st_size < 1_000_000
            assert file.read_bytes() == written[name].read_bytes()

    def test_forward_leaves_its_input_alone(self) -> None:
        """`forward` does not write to the arrays of a window."""
        piece = self.piece()
        before = {name: array.copy() for name, array in piece.items()}
        self.make().bind(self.info).forward(piece)
        for name, array in before.items():
            assert (piece[name] == array).all()
