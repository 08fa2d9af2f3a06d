"""The contract of every chunker: windows cover the input, and joining undoes cutting."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, ClassVar

import msgspec
import pytest

from core.conformance.base import PluginSuite
from core.inference.drawn import drawn
from core.inference.windows import lengths_of
from core.plugin.values import ModelInfo, Signature

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["ChunkerSuite"]


class ChunkerSuite(PluginSuite):
    """Name a `signature` whose first input has the axes that the chunker cuts.

    `lengths` are the lengths of the cut axes to try; the other axes take the signature's lengths.
    `scale` is how much longer the output is than the input along every cut axis.
    """

    signature: ClassVar[Signature]
    lengths: ClassVar[list[dict[str, int]]]
    scale: ClassVar[int] = 1

    def inputs(self, lengths: dict[str, int]) -> Tensors:
        """Return inputs of `lengths`: noise, or zeros and ones."""
        return {spec.name: drawn(spec, lengths, seed=7) for spec in self.signature.inputs}

    def whole(self, inputs: Tensors) -> dict[str, int]:
        """Return the length of every axis."""
        return lengths_of(inputs, self.signature)

    def through(self, window: Tensors) -> Tensors:
        """Return the output for a window from a model that repeats every sample `scale` times."""
        import numpy as np

        source, target = self.signature.inputs[0], self.signature.outputs[0]
        array: Array = window[source.name]
        for index, axis in enumerate(source.axes):
            if axis in self.lengths[0]:
                array = np.repeat(array, self.scale, axis=index)
        return {target.name: array}

    @pytest.fixture(params=range(8))
    def case(self, request: pytest.FixtureRequest) -> dict[str, int]:
        """Return one of `lengths`."""
        number: int = request.param
        if number >= len(self.lengths):
            pytest.skip("`lengths` has fewer cases")
        return self.lengths[number]

    def test_windows_cover_the_input(self, case: dict[str, int]) -> None:
        """Every position of every cut axis is inside a window, and no window leaves the input."""
        import numpy as np

        covered = np.zeros(list(case.values()), dtype=bool)
        for window in self.make().split(self.whole(self.inputs(case))):
            for axis in window.start:
                assert 0 <= window.start[axis] < window.stop[axis] <= case[axis]
            covered[tuple(slice(window.start.get(a, 0), window.stop.get(a)) for a in case)] = True
        assert covered.all()

    def test_cut_gives_windows_of_one_size(self, case: dict[str, int]) -> None:
        """A cut window has exactly the lengths that `window()` promises, at the edges too."""
        chunker, inputs = self.make(), self.inputs(case)
        for window in chunker.split(self.whole(inputs)):
            cut = chunker.cut(inputs, window, self.signature)
            for spec in self.signature.inputs:
                for axis, size in chunker.window().items():
                    assert cut[spec.name].shape[spec.axis(axis)] == size

    def test_sampled_windows_are_cut_alike(self, case: dict[str, int]) -> None:
        """A window of the `sampler` is cut as by the chunker that gives the sampler."""
        import numpy as np

        chunker, inputs = self.make(), self.inputs(case)
        sampler = chunker.sampler()
        for window in sampler.split(self.whole(inputs)):
            ours, theirs = (one.cut(inputs, window, self.signature) for one in (chunker, sampler))
            for name, array in ours.items():
                np.testing.assert_array_equal(array, theirs[name])

    def test_join_undoes_cut(self, case: dict[str, int]) -> None:
        """With a model that only repeats samples, the joined output is the repeated input."""
        import numpy as np

        chunker, inputs = self.make(), self.inputs(case)
        lengths = self.whole(inputs)
        joiner = chunker.joiner(lengths, self.signature)
        for window in chunker.split(lengths):
            joiner.add(window, self.through(chunker.cut(inputs, window, self.signature)))
        joined, expected = joiner.result(), self.through(inputs)
        for name, array in expected.items():
            assert joined[name].dtype.name == self.signature.outputs[0].dtype
            np.testing.assert_allclose(joined[name], array, rtol=0, atol=1e-5)

    def test_the_program_that_it_ships_joins_alike(self, case: dict[str, int]) -> None:
        """The program for the device gives the same result as the chunker, to the last bit."""
        import numpy as np

        chunker, inputs = self.make(), self.inputs(case)
        of = self.signature
        info = ModelInfo(of, tuple(s.name for s in of.inputs), tuple(s.name for s in of.outputs))
        shipped = chunker.ships(info)
        if "python/join.py" not in shipped.sources:
            pytest.skip("the chunker ships no program, which is optional")
        lengths = self.whole(inputs)
        joiner = chunker.joiner(lengths, self.signature)
        for window in chunker.split(lengths):
            joiner.add(window, self.through(chunker.cut(inputs, window, self.signature)))
        metadata = {
            "signature": msgspec.to_builtins(self.signature),
            "chunking": {"window": dict(chunker.window()), **shipped.facts},
        }
        play = runpy.run_path(str(shipped.sources["python/join.py"]))["play"]
        played = play(inputs, metadata, self.through)
        for name, array in joiner.result().items():
            np.testing.assert_array_equal(array, played[name])
