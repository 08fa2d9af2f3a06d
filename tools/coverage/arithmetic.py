"""Modules of matrix products, indices, reductions and everything between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from tools.coverage.case import Case, integers, noise, registered, tokens

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CASES"]

CASES: list[Case] = []
ROWS = noise(1, 12, 16)


@registered(CASES, x=noise(1, 64))
class _BiasOfOneRow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(64, 10) / 8)
        self.b = nn.Parameter(torch.randn(1, 10))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b, x, self.w)


@registered(CASES, x=noise(1, 64))
class _BiasOfOneNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(64, 10) / 8)
        self.b = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b, x, self.w, beta=0.5, alpha=2)


@registered(CASES, x=noise(1, 8), z=noise(1, 6))
class _Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(8, 6, 5)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.layer(x, z)


@registered(CASES, x=ROWS, z=ROWS)
class _Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4, 8) / 4)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        heads = torch.einsum("bthc,hcd->bhtd", x.reshape(1, 12, 4, 4), self.w)
        return torch.einsum("bhtd,bsc->bhtsd", heads, z).mean(3)


@registered(CASES, x=noise(1, 10), outputs=("loud", "quiet"))
class _LoudAndQuiet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared, self.loud, self.quiet = nn.Linear(10, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.loud.weight.data *= 1e3
        self.quiet.weight.data *= 1e-3
        self.quiet.bias.data *= 1e-3

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.shared(x))
        return self.loud(hidden), self.quiet(hidden)


@registered(CASES, x=noise(1, 10), z=noise(1, 10), outputs=("sum", "product"))
class _SharedLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(10, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.layer(x), self.layer(self.layer(z))
        return self.out(a + b), self.out(a * b)


@registered(CASES, x=noise(1, 10), outputs=("first", "second"))
class _DictOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(10, 8), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"first": self.a(x), "second": self.b(x)}


@registered(CASES, x=noise(1, 10), outputs=("first", "second"))
class _NestedOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(10, 8), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> tuple[list[Tensor]]:
        return ([self.a(x), self.b(x)],)


@registered(CASES, x=noise(1, 8, 16))
class _StatefulBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(x) * self.calls


@registered(CASES, x=ROWS)
class _Gathered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.register_buffer("places", torch.randint(0, 12, (1, 20, 16)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.gather(self.linear(x), 1, self.places)


@registered(CASES, x=ROWS, place=integers(*range(12)))
class _Scattered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 8)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        hidden = self.linear(x)
        at = (place // 2)[..., None].expand_as(hidden)
        return torch.zeros_like(hidden).scatter_add(1, at, hidden)


@registered(CASES, x=ROWS)
class _IndexSelect(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.register_buffer("order", torch.tensor([3, 1, 7, 7, 0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.index_select(1, self.order))[:, [0, 2, 4]]


@registered(CASES, ids=tokens(6, 1, 12))
class _OneHot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.linear(functional.one_hot(ids, 6).float())


@registered(CASES, x=ROWS, outputs=("y", "place"))
class _TopAndSorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        best, place = torch.topk(self.linear(x), 6, dim=-1)
        return torch.sort(best, dim=1).values, place


@registered(CASES, x=ROWS, outputs=("label",))
class _Classified(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).argmax(-1)


@registered(CASES, x=ROWS)
class _WhereAndClip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.linear(x).clamp(-1, 1.5)
        return torch.where(hidden > 0, hidden, 0.1 * x).clamp(min=-0.2)


@registered(CASES, x=ROWS)
class _Cumulated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.cumsum(x, 1) / torch.arange(1, 13)[:, None])


@registered(CASES, x=ROWS)
class _SplitAndJoined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d = self.linear(x).chunk(4, -1)
        first, second = torch.split(torch.cat([a, d], -1), [5, 11], -1)
        joined = torch.cat([torch.stack([b, c], 2).flatten(2), first, second], -1)
        return joined.roll(1, 1).flip(2)


@registered(CASES, x=ROWS, outputs=("a", "b"))
class _Softmaxes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.linear(x)
        return hidden.softmax(1), hidden.log_softmax(-1)


@registered(CASES, x=ROWS, outputs=("mean", "spread", "most", "norm", "log"))
class _Reductions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.linear(x)
        return (
            y.mean(1), y.var(-1), y.amax((1, 2)), y.norm(dim=-1, keepdim=True), y.logsumexp(1)
        )  # fmt: skip


@registered(CASES, x=ROWS)
class _Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 32)
        self.slope = nn.PReLU(16)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.glu(self.linear(x), -1)
        for act in (
            functional.gelu, functional.silu, functional.elu, functional.softplus,
            functional.hardswish, functional.mish, torch.tanh,
        ):  # fmt: skip
            y = act(y + x)
        return self.slope(y.transpose(1, 2))


@registered(CASES, x=noise(1, 10))
class _Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).square().sum()


@registered(CASES, x=ROWS)
class _Powers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return (y.abs() + 0.1) ** 1.5 / (1 + y.exp()) - torch.rsqrt(y * y + 0.5) + y.sin()


@registered(CASES, x=ROWS)
class _Nothing(nn.Module):
    """No operator with weights: hardly anything can be quantised."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(1, -1)
