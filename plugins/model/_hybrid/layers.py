"""The encoders and decoders of HTDemucs for an NPU: 4-D, with the same weights.

One class serves both branches. Frequency is the height and frames are the width of
`(1, channel, frequency, frame)`; time is folded into `(1, channel, row, column)`, as `columns.py`
says. `Any` marks a layer of demucs, whose own types say no more than `Module`.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from plugins.model._hybrid.columns import joined
from plugins.model._hybrid.gates import Gate, apart
from plugins.model._hybrid.norms import FrequencyNorm, PlaneNorm

__all__ = ["Decoder", "Encoder", "conv_2d"]


def conv_2d(source: nn.Module, *, upright: bool) -> nn.Conv2d:
    """Return the 2-D form of a 1-D convolution; a 2-D one is returned as it is.

    Its time runs along the height if `upright`, else along the width. Raises `ValueError` for
    anything but a convolution: an LSTM or attention in a residual has no NPU form.
    """
    if isinstance(source, nn.Conv2d):
        return source
    if not isinstance(source, nn.Conv1d):
        found = type(source).__name__
        raise ValueError(  # noqa: TRY004  # the model is wrong, not the caller
            f"model `HTDemucs` has a `{found}` where its NPU form supports only convolutions\n"
            "  possible: the plain core, plugins.model._hybrid.split"
        )

    def along(size: int, other: int) -> tuple[int, int]:
        return (size, other) if upright else (other, size)

    conv = nn.Conv2d(
        source.in_channels,
        source.out_channels,
        along(source.kernel_size[0], 1),
        along(source.stride[0], 1),
        along(int(source.padding[0]), 0),
        along(source.dilation[0], 1),
    )
    conv.weight = nn.Parameter(source.weight.detach().unsqueeze(-1 if upright else -2))
    conv.bias = source.bias
    return conv


class Residual(nn.Module):
    """demucs's `DConv`: dilated residual convolutions along time, without folding frequency.

    `size` is (rows, columns) of folded time, or (bins, frames).
    """

    def __init__(self, source: Any, *, upright: bool, size: tuple[int, int]) -> None:
        """Share the weights of `source`; raises `ValueError` when it holds LSTM or attention."""
        super().__init__()
        self.layers = nn.ModuleList()
        self.scales = nn.ParameterList()
        for layer in source.layers:
            squeeze, norm1, activation, expand, norm2, gate, scale = _seven(layer)
            first, last = (conv_2d(conv, upright=upright) for conv in (squeeze, expand))
            steps: tuple[nn.Module, ...]
            if upright:
                plane = ((1, -1, 1, 1), (1, 2, 3))
                gated = Gate(last, PlaneNorm(norm2, *plane, parts=2))
                squeezed = joined(first, size, int(first.dilation[0]))
                steps = (squeezed, PlaneNorm(norm1, *plane), activation, gated)
            else:
                norms = [FrequencyNorm(norm, size[1]) for norm in (norm1, norm2)]
                steps = (first, norms[0], activation, last, norms[1], gate)
            self.layers.append(nn.Sequential(*steps))
            # Not folded into norm2, whose 8-bit gains would then span the scale and the gate.
            self.scales.append(nn.Parameter(scale.scale.detach().reshape(1, -1, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Add each layer's output to `(1, channel, height, width)`."""
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = x + scale * layer(x)
        return x


def _seven(layer: Any) -> list[Any]:
    """Return the parts of one layer of a `DConv`, which has seven unless it holds more."""
    parts = list(layer)
    conv_2d(parts[3], upright=True)  # refuses what demucs inserts here: an LSTM or attention
    return parts


def _refuse(layer: Any) -> None:
    """Raise `ValueError` for the layers of the family that have no NPU form."""
    if type(layer).__name__ == "MultiWrap" or layer.norm or layer.empty or not layer.pad:
        raise ValueError(
            "model `HTDemucs` has layers without an NPU form: frequency bands (`multi_freqs`),"
            " norms outside the residuals (`norm_starts` below `depth`) or merged branches"
            " (`depth` above 4)\n"
            "  possible: the plain core, plugins.model._hybrid.split"
        )


def _parts(source: Any, size: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    """Return the residual and the gated rewrite of a layer, or identities where it has none."""
    upright = not source.freq
    dconv: nn.Module = nn.Identity()
    rewrite: nn.Module = nn.Identity()
    if source.dconv:
        dconv = Residual(source.dconv, upright=upright, size=size)
    if source.rewrite:
        conv = conv_2d(source.rewrite, upright=upright)
        rewrite = Gate(conv)
        if upright and conv.kernel_size[0] > 1:
            rewrite = joined(rewrite, size, 1)
    return dconv, rewrite


class Encoder(nn.Module):
    """One encoder of either branch: strided convolution, GELU, residual, gated 1x1 rewrite."""

    def __init__(self, source: Any, *, height: int, width: int) -> None:
        """Share the weights of `source` for an input of `height` rows of `width`.

        That is samples in columns, or bins by frames.
        """
        super().__init__()
        _refuse(source)
        conv = conv_2d(source.conv, upright=not source.freq)
        size, stride = (height, width), source.stride
        self.conv = conv if source.freq else joined(conv, size, stride, stride)
        # demucs pads the waveform to whole strides; the spectrogram's bins always are.
        self.missing = 0 if source.freq else -height % stride
        self.dconv, self.rewrite = _parts(source, (-(-height // stride), width))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(1, channel, height, width)` to `(1, channel', height / stride, width)`."""
        if self.missing:
            x = functional.pad(x, (0, 0, 0, self.missing))
        x = functional.gelu(apart(self.conv(x)))
        return cast("Tensor", self.rewrite(self.dconv(x)))


class Decoder(nn.Module):
    """One decoder of either branch: skip, gated rewrite, residual, transposed convolution."""

    def __init__(self, source: Any, *, height: int, width: int) -> None:
        """Share the weights of `source` for an output of `height` rows of `width`.

        That is samples in columns, or bins by frames.
        """
        super().__init__()
        _refuse(source)
        size = (-(-height // source.stride), width)
        self.dconv, self.rewrite = _parts(source, size)
        self.last, self.height = source.last, height
        self.crop = bool(height % source.stride)
        old = source.conv_tr
        shape = (old.in_channels, old.out_channels, source.kernel_size, 1)
        # `padding` crops what demucs cuts off afterwards: no slice of the largest tensors.
        conv = nn.ConvTranspose2d(
            *shape[:2], shape[2:], stride=(source.stride, 1), padding=(source.pad, 0)
        )
        conv.weight = nn.Parameter(old.weight.detach().reshape(shape))
        conv.bias = old.bias
        self.conv_tr = conv if source.freq else joined(conv, size, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map `(1, channel, h, width)` to `(1, channel', height, width)`."""
        x = self.conv_tr(self.dconv(self.rewrite(x + skip)))
        if self.crop:
            x = x[:, :, : self.height]
        return x if self.last else functional.gelu(apart(x))
