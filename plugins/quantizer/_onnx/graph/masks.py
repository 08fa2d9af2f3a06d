"""Replaces a value that a graph masks with by a moderate one, as far out as needed.

The graph decides how far that is: its outputs on calibration windows must stay as they are. On a
small attention with scores of ±5, 8 bits lose 27.1 dB with a mask of -16, as they do where scores
and softmax stay in float; 20.6 dB with a mask of -128, and 12.0 dB with one of -10,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from core import Notice, Tensors
from core.formats.onnx_graph import save
from core.formats.onnx_session import session_options
from core.measure.metrics import LIMIT_DB, snr_of_powers
from plugins.quantizer._onnx.graph.constants import failures
from plugins.quantizer._onnx.graph.powers import powers
from plugins.quantizer._onnx.graph.sentinels import Sentinel, sentinels_of

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


__all__ = ["nearer_masks"]

#: Windows that the graph is tested on, and the SNR in dB that counts as no change: beyond the SNR
#: that integers of 8 bits, or of 16, leave a network.
WINDOWS, SAME_DB = 4, 70.0
#: Distances to try: 4, and half an octave more each time, up to 16,384.
DISTANCES = tuple(2.0 ** (half / 2) for half in range(4, 29))
#: How many times farther out than these windows need the value goes: others may be louder.
MARGIN = 2.0**0.5
#: How often constants are searched for a further gap, and how many a notice names.
ROUNDS, NAMED = 3, 3


def nearer_masks(
    model: onnx.ModelProto, windows: Iterable[Tensors], scratch: Path, *, beyond: float = 0.0
) -> tuple[Notice, ...]:
    """Replace, in place, the values that `model` masks with; returns the notices about them.

    Expects lifted constants. Masks that do not lie `beyond` a magnitude stay as they are. So does a
    constant whose size matters to an output, and every constant of a graph that rejects these
    windows, or that computes NaN or infinity for them.
    """
    notices: list[Notice] = []
    held: list[Tensors] | None = None
    for _ in range(ROUNDS):
        sentinels = [sentinel for sentinel in sentinels_of(model) if sentinel.peak > beyond]
        if not sentinels:
            break
        held = list(islice(windows, WINDOWS)) if held is None else held
        far: list[Sentinel] = []
        distance = 0.0
        # The calibration reports a window that the graph rejects, with its input.
        with suppress(KeyError, *failures()):
            far, distance = _Trial(model, sentinels, held, scratch).chosen()
        if not far:
            break
        for sentinel in far:
            _replace(model, sentinel, distance)
        notices.append(_told(far, distance))
    return tuple(notices)


class _Trial:
    """A graph in which the distance of each sentinel is an input, and what it should compute."""

    def __init__(
        self,
        model: onnx.ModelProto,
        sentinels: Sequence[Sentinel],
        windows: Sequence[Tensors],
        scratch: Path,
    ) -> None:
        self._sentinels, self._windows = sentinels, windows
        self._ends = [value.name for value in model.graph.output]
        whole = _opened(model, scratch)
        self._expected = [self._run(whole, window, {}, self._ends) for window in windows]
        del whole
        self._session = _opened(_adjustable(model, sentinels), scratch)

    def chosen(self) -> tuple[list[Sentinel], float]:
        """Return the sentinels that may come nearer, and how near."""
        free = [sentinel for sentinel in self._sentinels if self._is_mask(sentinel)]
        if not self._holds(free, DISTANCES[-1]):
            free = [sentinel for sentinel in free if self._holds([sentinel], DISTANCES[-1])]
        if not free or not self._holds(free, DISTANCES[-1]):
            return [], 0.0
        low, high = 0, len(DISTANCES) - 1
        while low < high:
            middle = (low + high) // 2
            if self._holds(free, DISTANCES[middle]):
                high = middle
            else:
                low = middle + 1
        distance = MARGIN * DISTANCES[high]
        return [sentinel for sentinel in free if sentinel.peak >= MARGIN * distance], distance

    def _holds(self, free: Sequence[Sentinel], distance: float) -> bool:
        """Return whether the outputs stay as they are with the sentinels `free` at `distance`."""
        distances = {s.name: distance if s in free else s.peak for s in self._sentinels}
        for window, expected in zip(self._windows, self._expected, strict=True):
            got = self._run(self._session, window, distances, self._ends)
            if min(map(_agreement, expected, got), default=-LIMIT_DB) < SAME_DB:
                return False
        return bool(free)

    def _is_mask(self, sentinel: Sentinel) -> bool:
        """Return whether all factors of a sentinel are 0 or 1."""
        import numpy as np

        given = {s.name: s.peak for s in self._sentinels}
        names = list(sentinel.factors)
        return not names or all(
            np.isin(values, (0.0, 1.0)).all()
            for window in self._windows
            for values in self._run(self._session, window, given, names)
        )

    def _run(
        self, session: Any, window: Tensors, distances: Mapping[str, float], names: Sequence[str]
    ) -> list[Any]:
        import numpy as np

        given = {f"{n}/distance": np.array(v, np.float32) for n, v in distances.items()}
        feeds = {**window, **given}
        return list(session.run(names, {i.name: feeds[i.name] for i in session.get_inputs()}))


def _agreement(expected: Any, got: Any) -> float:
    """Return the SNR of one output in dB; integers agree wholly or not at all."""
    import numpy as np

    if not isinstance(expected, np.ndarray):
        return -LIMIT_DB
    if not np.issubdtype(expected.dtype, np.floating):
        return LIMIT_DB if np.array_equal(expected, got) else -LIMIT_DB
    return -LIMIT_DB if np.isnan(expected).any() else snr_of_powers(*powers(expected, got))


def _adjustable(model: onnx.ModelProto, sentinels: Sequence[Sentinel]) -> onnx.ModelProto:
    """Return a copy with an input for the distance of every sentinel, and factors as outputs."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    before: list[onnx.NodeProto] = []
    replaced = {sentinel.name for sentinel in sentinels}
    for sentinel in sentinels:
        name = sentinel.name
        distance, far, ones = (f"{name}/{part}" for part in ("distance", "far", "ones"))
        graph.input.append(helper.make_tensor_value_info(distance, TensorProto.FLOAT, []))
        maker = next((node for node in graph.node if name in node.output), None)
        if maker is not None:  # a ConstantOfShape, of one value
            _set_value(maker, sentinel.signs)
            maker.output[0] = ones
            after = helper.make_node("Mul", [ones, distance], [name])
            graph.node.insert(list(graph.node).index(maker) + 1, after)
            continue
        parts = {
            ones: sentinel.signs,
            f"{name}/out": np.asarray(sentinel.signs != 0),
            f"{name}/rest": sentinel.rest,
        }
        graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in parts.items())
        before.append(helper.make_node("Mul", [ones, distance], [far]))
        before.append(helper.make_node("Where", [f"{name}/out", far, f"{name}/rest"], [name]))
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    ends = {value.name for value in graph.output}
    for factor in dict.fromkeys(name for s in sentinels for name in s.factors):
        if factor not in ends:
            graph.output.append(onnx.ValueInfoProto(name=factor))
    return copied


def _set_value(maker: onnx.NodeProto, values: Any) -> None:
    """Give a ConstantOfShape another value."""
    from onnx import helper, numpy_helper

    del maker.attribute[:]
    value = numpy_helper.from_array(values.reshape(1))
    maker.attribute.append(helper.make_attribute("value", value))


def _opened(model: onnx.ModelProto, scratch: Path) -> Any:
    import onnx
    import onnxruntime

    copied = onnx.ModelProto()
    copied.CopyFrom(model)  # saving a graph with external weights empties it
    path = scratch / "masks.onnx"
    save(copied, path)
    return onnxruntime.InferenceSession(
        str(path), session_options(), providers=["CPUExecutionProvider"]
    )


def _replace(model: onnx.ModelProto, sentinel: Sentinel, distance: float) -> None:
    """Move the sentinel's values to `distance`, in place."""
    import numpy as np
    from onnx import numpy_helper

    values = np.asarray(sentinel.rest + sentinel.signs * np.float32(distance), np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == sentinel.name:
            tensor.CopyFrom(numpy_helper.from_array(values, sentinel.name))
            return
    for node in model.graph.node:
        if sentinel.name in node.output:
            _set_value(node, values)


def _told(replaced: Sequence[Sentinel], distance: float) -> Notice:
    """Return the notice about the replaced values."""
    names = [f"`{s.name}` (up to {s.peak:.3g} from 0)" for s in replaced[:NAMED]]
    more = f", and {len(replaced) - NAMED} more" if len(replaced) > NAMED else ""
    text = (
        f"{len(replaced)} constant(s) mask with values too large to share a range with a signal: "
        f"{', '.join(names)}{more}. {distance:.3g} from 0 gives the same outputs on calibration "
        "data and replaces them in the quantised graph"
    )
    return Notice("info", text)
