"""What every dsp must keep: float32 in and out, and the length of the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from core.conformance.base import PluginSuite
from core.values import ModelInfo

if TYPE_CHECKING:
    from core.values import Tensors

__all__ = ["DspSuite"]


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
        """Return one window of noise."""
        import numpy as np

        random = np.random.default_rng(3)
        return {
            spec.name: random.standard_normal(
                [
                    self.window[axis] if isinstance(size, str) else size
                    for axis, size in zip(spec.axes, spec.shape, strict=True)
                ]
            ).astype(np.float32)
            for spec in self.info.signature.inputs
        }

    def test_forward_names_the_inputs_of_the_core(self) -> None:
        """The feeds are the core's inputs in order, float32, with a batch axis of 1 in front."""
        import numpy as np

        feeds, _ = self.make().bind(self.info).forward(self.piece())
        assert tuple(feeds) == self.info.core_inputs
        for array in feeds.values():
            assert array.dtype == np.float32
            assert array.shape[0] == 1

    def test_inverse_names_the_outputs(self) -> None:
        """The outputs are those of the signature, float32, with its axes and finite."""
        import numpy as np

        transform = self.make().bind(self.info)
        feeds, remembered = transform.forward(self.piece())
        outputs = transform.inverse(self.identity(feeds), remembered)
        for spec in self.info.signature.outputs:
            assert outputs[spec.name].dtype == np.float32
            assert outputs[spec.name].ndim == len(spec.axes)
            assert np.isfinite(outputs[spec.name]).all()

    def test_forward_leaves_its_input_alone(self) -> None:
        """The arrays of a window are not written to."""
        piece = self.piece()
        before = {name: array.copy() for name, array in piece.items()}
        self.make().bind(self.info).forward(piece)
        for name, array in before.items():
            assert (piece[name] == array).all()
