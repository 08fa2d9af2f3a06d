"""ONNX's recurrent layers in PyTorch, step by step and with gradients.

Formulas and the order of gates as in ONNX's description of LSTM (i, o, f, c) and GRU (z, r, h).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from plugins.quantizer._qat.values import Attributes, Inputs, Operator, UnknownFormError

__all__ = ["RECURRENT"]

#: One step: a layer's product with the window, its hidden state and its cell, to the next two.
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
_ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def _activations(
    attributes: Attributes, standard: list[str], direction: int
) -> list[Callable[..., Tensor]]:
    if attributes.get("clip"):
        raise UnknownFormError("it clips the inputs of its gates")
    names = [str(n) for n in map(_text, attributes.get("activations", standard * 2))]
    count = len(standard)
    chosen = names[direction * count : (direction + 1) * count]
    unknown = [name for name in chosen if name.lower() not in _ACTIVATIONS]
    if unknown:
        raise UnknownFormError(f"its activation `{unknown[0]}` is not supported")
    return [_ACTIVATIONS[name.lower()] for name in chosen]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _lstm(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, recurrence, bias, lengths, hidden, cell, peepholes = (*inputs, *[None] * 8)[:8]
    if peepholes is not None or attributes.get("input_forget", 0):
        raise UnknownFormError("it has peepholes, or couples input and forget gates")

    def step_of(direction: int) -> tuple[Tensor, Step]:
        gate, update, out = _activations(attributes, ["Sigmoid", "Tanh", "Tanh"], direction)
        projected = _projected(x, weight, bias, direction)
        again = recurrence[direction].t()
        added = 0 if bias is None else bias[direction].chunk(2)[1]

        def step(now: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            i, o, f, g = (now + h @ again + added).chunk(4, -1)
            c = gate(f) * c + gate(i) * update(g)
            return gate(o) * out(c), c

        return projected, step

    return _run(attributes, x, lengths, hidden, cell, step_of)


def _gru(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, recurrence, bias, lengths, hidden = (*inputs, *[None] * 6)[:6]

    def step_of(direction: int) -> tuple[Tensor, Step]:
        gate, update = _activations(attributes, ["Sigmoid", "Tanh"], direction)
        projected = _projected(x, weight, bias, direction)
        gates, last = recurrence[direction].t().split([2 * (size := recurrence.shape[2]), size], 1)
        zeros = x.new_zeros(3 * size)
        own = zeros if bias is None else bias[direction].chunk(2)[1]
        before = bool(attributes.get("linear_before_reset", 0))

        def step(now: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            z, r = gate(now[..., : 2 * size] + h @ gates + own[: 2 * size]).chunk(2, -1)
            fresh, added = now[..., 2 * size :], own[2 * size :]
            inner = r * (h @ last + added) if before else (r * h) @ last + added
            return (1 - z) * update(fresh + inner) + z * h, c

        return projected, step

    return _run(attributes, x, lengths, hidden, None, step_of)[:2]


def _rnn(attributes: Attributes, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, recurrence, bias, lengths, hidden = (*inputs, *[None] * 6)[:6]

    def step_of(direction: int) -> tuple[Tensor, Step]:
        (update,) = _activations(attributes, ["Tanh"], direction)
        again = recurrence[direction].t()
        added = 0 if bias is None else bias[direction].chunk(2)[1]
        return _projected(x, weight, bias, direction), lambda now, h, c: (
            update(now + h @ again + added),
            c,
        )

    return _run(attributes, x, lengths, hidden, None, step_of)[:2]


def _projected(x: Tensor, weight: Tensor, bias: Tensor | None, direction: int) -> Tensor:
    """Return the product of all steps with the weights of one direction."""
    result: Tensor = x @ weight[direction].t()
    return result if bias is None else result + bias[direction].chunk(2)[0]


def _run(
    attributes: Attributes,
    x: Tensor,
    lengths: Tensor | None,
    hidden: Tensor | None,
    cell: Tensor | None,
    step_of: Callable[[int], tuple[Tensor, Step]],
) -> tuple[Tensor, ...]:
    """Return all hidden states, shape (steps, directions, batch, size), and the last two states."""
    if attributes.get("layout", 0):
        raise UnknownFormError("its batch lies along the first axis (layout)")
    if lengths is not None and bool((lengths != x.shape[0]).any()):
        raise UnknownFormError("its sequences have several lengths")
    way = _text(attributes.get("direction", "forward"))
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[way]
    states, last_hidden, last_cell = [], [], []
    for direction, turned in enumerate(backward):
        projected, step = step_of(direction)
        size = attributes["hidden_size"]
        zeros = x.new_zeros(x.shape[1], size)
        h = zeros if hidden is None else hidden[direction]
        c = zeros if cell is None else cell[direction]
        order = range(x.shape[0])
        found: list[Tensor] = []
        for index in reversed(order) if turned else order:
            h, c = step(projected[index], h, c)
            found.append(h)
        states.append(torch.stack(found[::-1] if turned else found))
        last_hidden.append(h)
        last_cell.append(c)
    return torch.stack(states, 1), torch.stack(last_hidden), torch.stack(last_cell)


RECURRENT: Mapping[str, Operator] = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}
