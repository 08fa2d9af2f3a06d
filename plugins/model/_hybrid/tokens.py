"""The cross-domain transformer of HTDemucs on rank-2 tokens `(token, channel)`.

Attention does not mind the order of its tokens, so the frequency branch is laid out
`(frequency, time)`, which is how an NPU keeps it in memory, and not `(time, frequency)` as in
demucs. Rank 2 makes every linear layer one fully connected operation with its bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from demucs.transformer import MyGroupNorm, create_2d_sin_embedding
from torch import Tensor, nn

from plugins.model._hybrid.norms import PlaneNorm

__all__ = ["TokenTransformer"]


def _norm(norm: nn.Module) -> nn.Module:
    """Return the rank-2 form of a norm of the transformer."""
    return PlaneNorm(norm, (-1,), (0, 1)) if isinstance(norm, MyGroupNorm) else norm


class TokenAttention(nn.Module):
    """Multi-head attention without mask on rank-2 tokens, sharing the weights of torch's."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Split the packed projection; the scale `1/sqrt(head)` goes into the query's weights."""
        super().__init__()
        self.heads = attention.num_heads
        self.width = attention.embed_dim // attention.num_heads
        weights = attention.in_proj_weight.detach().chunk(3)
        biases = attention.in_proj_bias.detach().chunk(3)
        scale = self.width**-0.5
        self.query = _linear(weights[0] * scale, biases[0] * scale)
        self.key = _linear(weights[1], biases[1])
        self.value = _linear(weights[2], biases[2])
        self.out = _linear(attention.out_proj.weight.detach(), attention.out_proj.bias.detach())

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.heads, self.width)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Attend from `q (token, channel)` to `k (other token, channel)`."""
        query = self._split(self.query(q)).permute(1, 0, 2)
        key = self._split(self.key(k)).permute(1, 2, 0)
        value = self._split(self.value(k)).permute(1, 0, 2)
        mixed = torch.softmax(query @ key, dim=-1) @ value
        merged = mixed.permute(1, 0, 2).reshape(-1, self.heads * self.width)
        return cast("Tensor", self.out(merged))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    layer.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return layer


class TokenLayer(nn.Module):
    """One transformer layer of either kind: self-attention, or cross-attention to `memory`."""

    activation: Callable[[Tensor], Tensor]

    def __init__(self, layer: Any, *, crosses: bool) -> None:
        """Share the weights of `layer`; raises `ValueError` for sparse or post-norm layers."""
        super().__init__()
        if layer.sparse or not layer.norm_first:
            raise ValueError(
                "model `HTDemucs` has sparse attention (`t_sparse_*_attn`) or norms behind their"
                " layers (`t_norm_first=False`), which have no NPU form\n"
                "  possible: the plain core, plugins.model._hybrid.split"
            )
        self.attention = TokenAttention(layer.cross_attn if crosses else layer.self_attn)
        self.norm_query = _norm(layer.norm1)
        self.norm_memory = _norm(layer.norm2) if crosses else None
        self.norm_feed = _norm(layer.norm3 if crosses else layer.norm2)
        self.norm_out = _norm(layer.norm_out) if layer.norm_out else nn.Identity()
        self.linear1 = layer.linear1
        self.activation = layer.activation
        # Layer scale is linear: folded into the layer before it, it costs nothing.
        _fold(self.attention.out, layer.gamma_1)
        self.linear2 = _linear(layer.linear2.weight.detach(), layer.linear2.bias.detach())
        _fold(self.linear2, layer.gamma_2)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Transform tokens `x (token, channel)`; self-attention ignores `memory`."""
        query = self.norm_query(x)
        key = query if self.norm_memory is None else self.norm_memory(memory)
        x = x + self.attention(query, key)
        x = x + self.linear2(self.activation(self.linear1(self.norm_feed(x))))
        return cast("Tensor", self.norm_out(x))


def _fold(layer: nn.Linear, gamma: Any) -> None:
    """Multiply the output of `layer` by the layer scale `gamma`, in place."""
    if isinstance(gamma, nn.Identity):
        return
    scale = gamma.scale.detach()
    layer.weight.data *= scale[:, None]
    layer.bias.data *= scale


class TokenTransformer(nn.Module):
    """The whole cross-domain transformer for one chunk length."""

    position: Tensor
    position_t: Tensor

    def __init__(self, source: Any, plane: tuple[int, int], folded: tuple[int, int]) -> None:
        """Prepare for a spectrogram of `plane` (rows, frames) and a waveform of (rows, columns)."""
        super().__init__()
        channels = source.layers[0].linear1.in_features
        self.plane, self.folded = (*plane, channels), (*folded, channels)
        self.norm_in, self.norm_in_t = _norm(source.norm_in), _norm(source.norm_in_t)
        embed: Any = create_2d_sin_embedding
        image = embed(channels, *plane, max_period=source.max_period)
        rows, columns = folded
        device = torch.device("cpu")
        line = source._get_pos_embedding(rows * columns, 1, channels, device)  # noqa: SLF001
        line = line.detach().reshape(columns, rows, channels).transpose(0, 1)
        weight = source.weight_pos_embed
        self.register_buffer("position", weight * image[0].flatten(1).t().contiguous())
        self.register_buffer("position_t", weight * line.reshape(-1, channels))
        first_crosses = source.classic_parity == 1
        crosses = [(index % 2 == 0) == first_crosses for index in range(source.num_layers)]
        self.layers = nn.ModuleList(
            TokenLayer(layer, crosses=c) for layer, c in zip(source.layers, crosses, strict=True)
        )
        self.layers_t = nn.ModuleList(
            TokenLayer(layer, crosses=c) for layer, c in zip(source.layers_t, crosses, strict=True)
        )

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(1, channel, rows, frames)` and `(1, channel, rows, columns)` to the same shapes."""
        channels = self.plane[-1]
        tokens = x.permute(0, 2, 3, 1).reshape(-1, channels)
        tokens_t = xt.permute(0, 2, 3, 1).reshape(-1, channels)
        tokens = self.norm_in(tokens) + self.position
        tokens_t = self.norm_in_t(tokens_t) + self.position_t
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            tokens, tokens_t = layer(tokens, tokens_t), layer_t(tokens_t, tokens)
        x = tokens.reshape(1, *self.plane).permute(0, 3, 1, 2)
        return x, tokens_t.reshape(1, *self.folded).permute(0, 3, 1, 2)
