"""Optimisation profiles: the lengths that an engine serves along each free axis of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import StageError

__all__ = ["Free", "Profile", "check_ranges", "fitting", "free_axes", "resolved", "shapes"]

#: Least, best and greatest length along an axis.
Range = tuple[int, int, int]
#: The range of every axis of every input, fixed axes included.
Profile = Mapping[str, Sequence[Range]]
_ENDS = 3


@dataclass(frozen=True)
class Free:
    """A free axis of an input: its index, and the name that a recipe calls it by."""

    input: str
    index: int
    name: str


def check_ranges(profiles: Sequence[Mapping[str, Sequence[int]]]) -> None:
    """Raise ValueError for a profile whose ranges are not least, best, greatest."""
    for profile in profiles:
        for axis, ends in profile.items():
            if len(ends) != _ENDS or not 1 <= ends[0] <= ends[1] <= ends[2]:
                raise ValueError(
                    f"`profiles` gives `{axis}` {list(ends)}; give the least, the best and the "
                    "greatest length, such as [1, 4, 8]"
                )


def shapes(path: Path) -> dict[str, list[int | str]]:
    """Return the shape of every input of the ONNX file; a free axis has a name for its length."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {
        value.name: [
            axis.dim_value
            if axis.HasField("dim_value")
            else axis.dim_param or f"{value.name}[{index}]"
            for index, axis in enumerate(value.type.tensor_type.shape.dim)
        ]
        for value in graph.input
        if value.name not in weights
    }


def free_axes(shapes: Mapping[str, Sequence[int | str]]) -> list[Free]:
    """Return the free axes, in the order of the inputs."""
    return [
        Free(name, index, length)
        for name, shape in shapes.items()
        for index, length in enumerate(shape)
        if isinstance(length, str)
    ]


def resolved(
    shapes: Mapping[str, Sequence[int | str]],
    profiles: Sequence[Mapping[str, Sequence[int]]],
    path: Path,
) -> list[Profile]:
    """Return the ranges of all axes for each profile; none for a graph without a free axis.

    Raises StageError for a free axis without a range, and for a range of an axis that is not free.
    """
    free = free_axes(shapes)
    names = list(dict.fromkeys(axis.name for axis in free))
    example = f"runtime.profiles=[{{{', '.join(f'{name}: [1, 4, 8]' for name in names)}}}]"
    known = f"free axes: {', '.join(names) or 'none'}"
    if free and not profiles:
        raise StageError(
            f"the graph leaves `{free[0].name}` of `{free[0].input}` free, and TensorRT builds for "
            "ranges of lengths",
            f"at: {path}",
            f"give each free axis its least, best and greatest length: {example}",
            "or export it for one length: exporter.dynamic=false",
        )
    for profile in profiles:
        for axis in profile:
            if axis not in names:
                raise StageError(
                    f"`profiles` gives a range for `{axis}`, which is no free axis of the graph",
                    f"at: {path}",
                    known,
                    f"give: {example}" if names else "leave it out: runtime.profiles=[]",
                )
        for one in free:
            if one.name not in profile:
                raise StageError(
                    f"a profile gives no range for the free axis `{one.name}` of `{one.input}`",
                    f"at: {path}",
                    f"give: {example}",
                )
    return [
        {
            name: [_range(profile[n]) if isinstance(n, str) else (n, n, n) for n in shape]
            for name, shape in shapes.items()
        }
        for profile in profiles
        if free
    ]


def _range(ends: Sequence[int]) -> Range:
    least, best, greatest = ends
    return least, best, greatest


def fitting(profiles: Sequence[Profile], given: Mapping[str, Sequence[int]]) -> int:
    """Return the index of the first profile that the shapes of a window fit.

    Raises StageError that names the axis which fits none of them.
    """
    misfits = [_misfit(profile, given) for profile in profiles]
    for index, misfit in enumerate(misfits):
        if not misfit:
            return index
    raise StageError(
        f"the window does not fit the engine: {misfits[0]}",
        *(f"nor its profile {index + 1}: {text}" for index, text in enumerate(misfits[1:], 1)),
        "cut windows of a length in the range (chunker.length), or build the engine for this one: "
        "runtime.profiles",
    )


def _misfit(profile: Profile, given: Mapping[str, Sequence[int]]) -> str:
    """Return why a window does not fit one profile; "" where it does."""
    for name, ranges in profile.items():
        shape = given[name]
        if len(shape) != len(ranges):
            return f"`{name}` has {len(shape)} axes, the engine takes {len(ranges)}"
        for index, (length, (least, _, greatest)) in enumerate(zip(shape, ranges, strict=True)):
            if not least <= length <= greatest:
                takes = f"{least}" if least == greatest else f"{least} to {greatest}"
                return f"axis {index} of `{name}` is {length} long, the engine takes {takes}"
    return ""
