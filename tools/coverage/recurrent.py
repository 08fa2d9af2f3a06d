"""Modules that go through a sequence step by step, or attend to all of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from tools.coverage.case import Case, noise, registered, tokens

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CASES"]

CASES: list[Case] = []
LENGTH, WIDTH = 24, 16


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


@registered(CASES, x=noise(1, LENGTH, WIDTH), outputs=("y", "state"))
class _Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.gru(x)
        return y, state.transpose(0, 1)


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _Rnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDTH)
        self.rnn = nn.RNN(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(self.into(x))[0]


@registered(CASES, x=noise(1, 8, WIDTH))
class _LstmCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        state = (torch.zeros(1, WIDTH), torch.zeros(1, WIDTH))
        steps = []
        for index in range(x.shape[1]):
            state = self.cell(x[:, index], state)
            steps.append(state[0])
        return torch.stack(steps, dim=1)


class _Attending(nn.Module):
    """One head of attention over `x (1, length, width)`; a subclass changes the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.register_buffer("later", torch.ones(LENGTH, LENGTH).triu(1) > 0)

    def scores(self, x: Tensor) -> Tensor:
        return self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(WIDTH)

    def mixed(self, scores: Tensor, x: Tensor) -> Tensor:
        return self.o(torch.softmax(scores, -1) @ self.v(x))


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _Attention(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.scores(x), x)


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _AttentionMaskInfinite(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.scores(x).masked_fill(self.later, -math.inf), x)


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _AttentionMaskLeast(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        least = torch.finfo(torch.float32).min
        return self.mixed(self.scores(x).masked_fill(self.later, least), x)


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _AttentionMaskAdded(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.scores(x) + self.later.float() * -1e9, x)


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _AttentionCausal(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        return self.o(functional.scaled_dot_product_attention(q, k, v, is_causal=True))


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _AttentionMaskBoolean(_Attending):
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        seen = ~self.later
        return self.o(functional.scaled_dot_product_attention(q, k, v, attn_mask=seen))


@registered(CASES, x=noise(1, LENGTH, WIDTH), length=lambda r: r.integers(8, LENGTH, (1,)))
class _AttentionPadding(_Attending):
    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        beyond = torch.arange(x.shape[1])[None] >= length[:, None]
        return self.mixed(self.scores(x).masked_fill(beyond[:, None], -math.inf), x)


@registered(CASES, x=noise(1, LENGTH, WIDTH), memory=noise(1, 10, WIDTH))
class _AttentionCross(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.attention(x, memory, memory, need_weights=False)[0]


@registered(CASES, x=noise(1, LENGTH, WIDTH))
class _TransformerLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 64, activation="gelu", batch_first=True, norm_first=True
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@registered(CASES, x=noise(1, LENGTH, WIDTH), free={"x": {1: "time"}, "y": {1: "time"}})
class _AttentionDynamic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.out(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(WIDTH), -1) @ v)


@registered(CASES, ids=tokens(40, 1, LENGTH))
class _EmbeddedTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, WIDTH)
        self.position = nn.Parameter(torch.randn(1, LENGTH, WIDTH) / 10)
        self.layer = nn.Linear(WIDTH, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layer(self.embedding(ids) + self.position)


@registered(CASES, ids=tokens(40, 1, LENGTH))
class _TiedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, WIDTH)
        self.middle = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = torch.tanh(self.middle(self.embedding(ids)))
        return functional.linear(self.middle(hidden), self.embedding.weight)
