"""Measures the cost of rounding to integers for every layer, so that no loss stays unnoticed.

A layer is compared with itself in float on the same input: this counts only its own loss, not that
of layers before it. The whole program is compared on the same windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core import Notice, StageError
from core.formats.torch_export import constant, operator
from core.formats.torch_outputs import by_name

if TYPE_CHECKING:
    import torch

__all__ = ["Found", "Loss", "Loudest", "check_outputs", "losses", "noise_losses", "notices_of"]

#: How many of the loudest windows are tested: a quiet one has no range to lose.
WINDOWS = 2
#: A layer, or the whole program, below this is reported: 8 bits that fit give 30 dB and more.
POOR_DB = 12.0
#: A value that is off by more than this part of itself is lost.
LOST = 0.5
#: Rows of noise that replace windows where there are none.
NOISE = 64
#: Layers that a fact or a message names.
NAMES = 3


@dataclass
class Loss:
    """The loss of a layer: energies of its float result and of the error, and how many values.

    `lost` of `count` values are off by more than half of themselves.
    """

    path: str
    signal: float = 0.0
    noise: float = 0.0
    lost: int = 0
    count: int = 0

    def add(self, expected: torch.Tensor, actual: torch.Tensor) -> None:
        """Add a result and its expected value."""
        difference = (actual.double() - expected.double()).abs()
        size = expected.double().abs()
        self.signal += float(size.square().sum())
        self.noise += float(difference.square().sum())
        self.lost += int((difference > LOST * size).sum())
        self.count += expected.numel()

    @property
    def snr_db(self) -> float:
        """Return the signal-to-noise ratio in dB; infinite where nothing is lost."""
        if self.noise <= 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf

    @property
    def share(self) -> float:
        """Return the part of the values that are lost, whatever their size."""
        return self.lost / max(1, self.count)

    def __str__(self) -> str:
        """Name the layer, its dB and the part of its values that are lost."""
        return f"{self.path}: {self.snr_db:.1f} dB, {self.share:.0%} of its values lost"


@dataclass(frozen=True)
class Found:
    """The losses of all layers and, where windows are at hand, of the outputs."""

    layers: list[Loss]
    outputs: list[Loss] = field(default_factory=list)

    @property
    def weakest(self) -> list[Loss]:
        """Return the layers that lost most, the worst first."""
        return sorted(self.layers, key=lambda one: (one.snr_db > POOR_DB, -one.share))[:NAMES]


class Loudest:
    """Keeps the loudest windows of a stream, and no others."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, tuple[torch.Tensor, ...]]] = []

    def add(self, arguments: tuple[torch.Tensor, ...]) -> None:
        """Keep a window if it is among the loudest."""
        energy = sum(float(t.double().square().sum()) for t in arguments if t.is_floating_point())
        self._kept.append((energy, arguments))
        self._kept.sort(key=lambda pair: -pair[0])
        del self._kept[WINDOWS:]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the windows that were kept."""
        return (arguments for _, arguments in self._kept)


def losses(
    program: torch.export.ExportedProgram,
    module: torch.fx.GraphModule,
    chosen: Mapping[str, str],
    weights: Mapping[str, torch.Tensor],
    windows: Loudest,
    names: Sequence[str],
) -> Found:
    """Return the losses of the layers and outputs of `module` against the float `program`.

    `chosen` are the paths of the quantised nodes by name, `weights` their weights in float, `names`
    the names of the outputs.
    """
    layers = {name: Loss(path) for name, path in chosen.items()}
    outputs = {name: Loss(f"output `{name}`") for name in names}
    reference = program.module(check_guards=False)
    for arguments in windows:
        actual = by_name(_listener(module, layers, weights).run(*arguments), names)
        for name, expected in by_name(reference(*arguments), names).items():
            if expected.is_floating_point():
                outputs[name].add(expected, actual[name])
    return Found(list(layers.values()), [one for one in outputs.values() if one.count])


def check_outputs(
    program: torch.export.ExportedProgram,
    module: torch.fx.GraphModule,
    windows: Loudest,
    names: Sequence[str],
) -> tuple[Notice, ...]:
    """Return the notices about `module`, the float `program` in 16 bits, on `windows`.

    Raises StageError where it gives values that are not finite and the program gives finite ones.
    """
    import torch

    outputs = {name: Loss(f"output `{name}`") for name in names}
    reference = program.module(check_guards=False)
    for arguments in windows:
        with torch.no_grad():
            expected = by_name(reference(*arguments), names)
            actual = by_name(module(*arguments), names)
        for name, tensor in expected.items():
            if tensor.is_floating_point():
                if bool((tensor.isfinite() & ~actual[name].isfinite()).any()):
                    raise _not_finite(name, module, arguments)
                outputs[name].add(tensor, actual[name])
    poor = [one for one in outputs.values() if one.count and one.snr_db < POOR_DB]
    if not poor:
        return ()
    text = (
        f"16 bits are too few for {'; '.join(map(str, poor[:NAMES]))} on calibration windows; "
        "take bfloat16 (precision=bf16), or keep more in FP32: quantizer.keep_float32=[...]"
    )
    return (Notice("warning", text),)


def _not_finite(
    output: str, module: torch.fx.GraphModule, arguments: tuple[torch.Tensor, ...]
) -> StageError:
    """Return the error for a program in 16 bits that computes NaN or infinity; names where."""
    import torch

    first: list[torch.fx.Node] = []

    class Watcher(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, torch.Tensor) and result.is_floating_point() and not first:
                given = [self.env[node] for node in n.all_input_nodes]
                whole = all(bool(t.isfinite().all()) for t in given if isinstance(t, torch.Tensor))
                if n.op == "call_function" and whole and not result.isfinite().all():
                    first.append(n)
            return result

    with torch.no_grad():
        Watcher(module).run(*arguments)
    where = ", ".join(f"`{node.name}` ({operator(node)})" for node in first)
    return StageError(
        f"output `{output}` is not finite in 16 bits, but is in FP32",
        f"first not finite: {where}" if where else "",
        "measured: the loudest windows of calibration data",
        "take bfloat16, which has the range of FP32: precision=bf16",
        "or keep more in FP32: quantizer.keep_float32=[<operator, node or module>]",
    )


def noise_losses(
    module: torch.fx.GraphModule, chosen: Mapping[str, str], weights: Mapping[str, torch.Tensor]
) -> Found:
    """Return the losses of the weights of `module`'s linear layers, on noise for windows."""
    import torch

    generator = torch.Generator().manual_seed(0)
    layers = []
    for node in module.graph.nodes:
        if node.name in chosen:
            weight = weights[node.name]
            noise = torch.randn(NOISE, weight.shape[1], generator=generator)
            loss = Loss(chosen[node.name])
            loss.add(node.target(noise, weight), node.target(noise, _rounded(module, node)))
            layers.append(loss)
    return Found(layers)


def _rounded(module: torch.fx.GraphModule, node: Any) -> torch.Tensor:
    """Return the weights of a quantised node as its integers represent them."""
    import torch

    dequantise = node.args[1]
    given = [
        constant(module, argument) if isinstance(argument, torch.fx.Node) else argument
        for argument in dequantise.args
    ]
    result = dequantise.target(*given)
    assert isinstance(result, torch.Tensor)
    return result


def _listener(
    module: torch.fx.GraphModule, layers: Mapping[str, Loss], weights: Mapping[str, torch.Tensor]
) -> torch.fx.Interpreter:
    """Return an interpreter that runs `module` and adds each layer's loss to `layers`."""
    import torch

    class Listener(torch.fx.Interpreter):
        def __init__(self) -> None:
            super().__init__(module)
            # The float tensor that each quantised one came from, while a layer still reads it.
            self.sources: dict[str, torch.Tensor] = {}
            self.waiting: dict[str, int] = {}
            for node in module.graph.nodes:
                if node.name in layers:
                    rounds = _rounds(node)
                    self.waiting[rounds] = self.waiting.get(rounds, 0) + 1

        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            if n.name in self.waiting:
                self.sources[n.name] = self.env[n.args[0]]  # type: ignore[index]
            if n.name in layers:
                rounds = _rounds(n)
                rest = self.fetch_args_kwargs_from_env(n)[0][2:]
                expected = n.target(self.sources[rounds], weights[n.name], *rest)  # type: ignore[operator]
                layers[n.name].add(expected, result)
                self.waiting[rounds] -= 1
                if not self.waiting[rounds]:
                    del self.sources[rounds]
            return result

    return Listener()


def _rounds(node: Any) -> str:
    """Return the name of the node that rounds the input of a layer."""
    return str(node.args[0].args[0].name)


def notices_of(found: Found) -> tuple[Notice, ...]:
    """Return the notices: layers that lost most of their result, and a program that did."""
    told = []
    poor = sorted((o for o in found.layers if o.snr_db < POOR_DB), key=lambda one: one.snr_db)
    if poor:
        more = f" and {len(poor) - NAMES} more" if len(poor) > NAMES else ""
        text = (
            f"8 bits are too few for {'; '.join(map(str, poor[:NAMES]))}{more}; "
            f"to keep them in float: quantizer.exclude=[{','.join(o.path for o in poor[:NAMES])}]"
        )
        told.append(Notice("warning", text))
    worst = min(found.outputs, key=lambda one: one.snr_db, default=None)
    if worst is not None and worst.snr_db < POOR_DB:
        weakest = found.weakest
        text = (
            f"{worst.path} of the quantised program has {worst.snr_db:.1f} dB against the float "
            f"one on calibration windows; weakest layers: {'; '.join(map(str, weakest))}"
        )
        if not poor:
            text += f"; to keep a layer in float: quantizer.exclude=[{weakest[0].path}]"
        told.append(Notice("warning", text))
    return tuple(told)
