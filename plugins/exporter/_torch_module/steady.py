"""Proves that a module gives the same outputs for the same inputs each time, as a graph does.

A module that an export has changed would agree with that export. So every call here begins with a
copy of the module as it was opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from core import Array, Notice, StageError, Tensors, TorchModel
from core.measure.metrics import snr_db
from plugins.exporter._torch_module.calling import as_arrays, called, is_plain, ordered
from plugins.exporter._torch_module.frames import Frame, calling_frame
from plugins.exporter._torch_module.fresh import State, fresh
from plugins.exporter._torch_module.reason import PLAY, failed

__all__ = ["Expected", "expected_of"]

#: How many names and places a message has at most.
SHOWN = 4


@dataclass(frozen=True)
class Expected:
    """The `outputs` by name that a graph must compute: those of the core of `model`, to be traced.

    `notices` are the messages about the module.
    """

    outputs: dict[str, Array]
    model: TorchModel
    notices: tuple[Notice, ...] = ()


def expected_of(
    exporter: str, model: TorchModel, feeds: Tensors, tolerance_db: float | None
) -> Expected:
    """Call copies of `model.core` on `feeds`, and return the outputs of the first call.

    Raises StageError where a call fails; and, unless `tolerance_db` is None, where a second call
    gives another output: the core changes a buffer or a parameter, or draws random numbers. The
    message names which. A changed buffer that affects no output is a notice.
    """
    with fresh(model) as copied:
        before = State.of(copied.core)
        returned = _run(exporter, copied, feeds)
        first = as_arrays(model, returned)
        traced = model if is_plain(returned) else ordered(model)
        if tolerance_db is None:
            return Expected(first, traced)
        once = State.of(copied.core)
        second = as_arrays(model, _run(exporter, copied, feeds))
        twice = State.of(copied.core)
    parameters = before.changed_parameters(once)
    if parameters:
        raise _stateful(exporter, parameters, "its parameters before and after a call")
    output, again_db = _worst(first, second)
    if again_db >= tolerance_db:
        return Expected(first, traced, _harmless(once.changed(twice)))
    told = f"output `{output}` has {again_db:.1f} dB SNR between two calls of it"
    with fresh(model) as copied, _Draws() as draws:
        _run(exporter, copied, feeds)
    if draws.places:
        raise _random(exporter, told, draws.places)
    raise _stateful(exporter, before.changed(once), told)


def _run(exporter: str, model: TorchModel, feeds: Tensors) -> Any:
    try:
        return called(model, feeds)
    except StageError:
        raise
    except Exception as error:  # a module may raise anything
        raise failed(exporter, error) from error


def _worst(first: dict[str, Array], second: dict[str, Array]) -> tuple[str, float]:
    """Return the output that agrees least between two calls, and its SNR in dB."""
    import numpy as np

    worst = min(
        (
            snr_db(np.nan_to_num(array), np.nan_to_num(second[name]))
            if array.shape == second[name].shape
            else -float("inf"),
            name,
        )
        for name, array in first.items()
    )
    return worst[1], worst[0]


def _stateful(exporter: str, names: Sequence[str], told: str) -> StageError:
    some = ", ".join(f"`{name}`" for name in names[:SHOWN])
    why = f"it changes {some} each time it runs" if names else "its outputs change between calls"
    if names:
        helps = (
            "make it an input and an output of the module, or start each call with the same value"
        )
    else:
        helps = (
            "nothing in the module changes, and PyTorch draws no random numbers: look for "
            "Python's random numbers, a clock, or a value outside of the module"
        )
    return StageError(
        f"exporter `{exporter}` cannot export the model: {why}, and a graph keeps nothing from one "
        "window to the next",
        f"measured: {told}",
        helps,
        PLAY,
    )


def _random(exporter: str, told: str, places: Sequence[tuple[str, Frame | None]]) -> StageError:
    drawn = [f"{name} at {frame}" if frame else name for name, frame in places[:SHOWN]]
    return StageError(
        f"exporter `{exporter}` cannot export the model: it draws random numbers, and a graph "
        "would repeat the numbers of one call",
        f"measured: {told}",
        *(f"drawn by: {one}" for one in drawn),
        "take the noise as an input, or multiply it by 0; use dropout only in training",
        PLAY,
    )


def _harmless(names: Sequence[str]) -> tuple[Notice, ...]:
    if not names:
        return ()
    some = ", ".join(f"`{name}`" for name in names[:SHOWN])
    text = (
        f"the module changes {some} each time it runs, and a graph keeps no state; two calls with "
        "one input gave the same outputs, so no output seems to depend on it"
    )
    return (Notice("warning", text),)


@dataclass
class _Draws:
    """Records, while it is entered, which operators draw random numbers and from where."""

    def __post_init__(self) -> None:
        self.places: list[tuple[str, Frame | None]] = []
        self._mode: Any = None

    def __enter__(self) -> Self:
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        places = self.places

        class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
            """Lets every operator through."""

            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                if torch.Tag.nondeterministic_seeded in func.tags:
                    place = (str(func.overloadpacket), calling_frame())
                    if place not in places:
                        places.append(place)
                return func(*args, **(kwargs or {}))

        self._mode = Noting()  # type: ignore[no-untyped-call]  # torch's own
        self._mode.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._mode.__exit__(*exc)
