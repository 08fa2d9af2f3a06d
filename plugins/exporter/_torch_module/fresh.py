"""Copies of a torch module, so that no call of it changes what a later one computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core import TorchModel

if TYPE_CHECKING:
    import torch

__all__ = ["State", "fresh"]


@contextmanager
def fresh(model: TorchModel) -> Iterator[TorchModel]:
    """Yield the model with a copy of its core, in inference mode.

    Tracing and checking run a module, which changes one that counts, caches or keeps statistics.
    Parameters are shared with the copy, buffers and attributes are not. Where a module cannot be
    copied (it holds a file, a lock), its buffers are restored at the end.
    """
    copied = _copy(model.core)
    if copied is not None:
        yield replace(model, core=copied.eval())
        return
    before = {name: buffer.clone() for name, buffer in model.core.named_buffers()}
    try:
        yield replace(model, core=model.core.eval())
    finally:
        buffers = dict(model.core.named_buffers())
        for name, value in before.items():
            if name in buffers and buffers[name].shape == value.shape:
                buffers[name].detach().copy_(value)


def _copy(core: torch.nn.Module) -> torch.nn.Module | None:
    """Return a copy of a module, None where Python cannot make one."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in core.parameters()}
    for module in core.modules():
        for value in vars(module).values():
            # PyTorch cannot copy a tensor that was computed with gradients (an old weight norm's).
            if _is_tensor(value) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(core, memo)
    except Exception:  # whatever an attribute of the module raises
        return None


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


@dataclass(frozen=True)
class State:
    """What a module keeps between two calls, each part as something that can be compared."""

    parameters: Mapping[str, object]
    buffers: Mapping[str, torch.Tensor]
    attributes: Mapping[str, object]

    @classmethod
    def of(cls, core: torch.nn.Module) -> State:
        """Record a module's state; parameters are identified by place, version and sum."""
        return cls(
            {name: _mark(parameter) for name, parameter in core.named_parameters()},
            {name: buffer.detach().clone() for name, buffer in core.named_buffers()},
            dict(_attributes(core)),
        )

    def changed_parameters(self, later: State) -> list[str]:
        """Return the names of the parameters that differ in `later`."""
        return [
            name
            for name, mark in self.parameters.items()
            if mark is not None and later.parameters.get(name) != mark
        ]

    def changed(self, later: State) -> list[str]:
        """Return the names of the buffers and attributes whose values differ in `later`."""
        buffers = [
            name
            for name, value in self.buffers.items()
            if name in later.buffers and not _same(value, later.buffers[name])
        ]
        attributes = [
            name
            for name, value in self.attributes.items()
            if name in later.attributes and not _same(value, later.attributes[name])
        ]
        return [*buffers, *attributes]


def _mark(parameter: torch.Tensor) -> object:
    import torch

    if torch.nn.parameter.is_lazy(parameter) or not parameter.numel():
        return None
    values = parameter.detach()
    # A write through `.data` does not raise the version.
    total = float(
        (torch.view_as_real(values) if values.is_complex() else values).sum(dtype=torch.float64)
    )
    version = parameter._version  # noqa: SLF001  # torch has no public name for it
    return parameter.data_ptr(), version, total


def _attributes(core: torch.nn.Module) -> Iterator[tuple[str, object]]:
    """Yield the plain attributes of every module: numbers, texts, tensors, and lists of them."""
    for path, module in core.named_modules():
        for name, value in vars(module).items():
            if name in _OWN:
                continue
            kept = _kept(value)
            if kept is not None:
                yield f"{path}.{name}" if path else name, kept


#: What PyTorch keeps in every module.
_OWN = frozenset({
    "training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set",
    "_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook", "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
})  # fmt: skip


def _kept(value: object, depth: int = 4) -> object:
    """Return a value so that it can be compared after the module changed it; None for others."""
    import numpy as np

    if _is_tensor(value):
        return value.detach().clone()  # type: ignore[attr-defined]  # a tensor
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    inside: Any = None
    if isinstance(value, list | tuple) and depth:
        inside = dict(enumerate(value))
    elif isinstance(value, dict) and depth:
        inside = value
    kept = {key: _kept(one, depth - 1) for key, one in (inside or {}).items()}
    return None if inside is None or any(one is None for one in kept.values()) else kept


def _same(first: Any, second: Any) -> bool:
    import numpy as np

    if _is_tensor(first) and _is_tensor(second):
        both = first.shape == second.shape
        return both and bool(((first == second) | (first.isnan() & second.isnan())).all())
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            _same(one, second[key]) for key, one in first.items()
        )
    return type(first) is type(second) and bool(first == second)
