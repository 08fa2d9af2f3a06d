"""Small torch networks as a model plugin with data of their own, for tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import (
    Artifact,
    Dataset,
    Item,
    Model,
    ModelInfo,
    ModelSpec,
    SavedFile,
    Signature,
    Split,
    StageContext,
    StageResult,
    Tensors,
    TensorSpec,
    TorchModel,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import nn


Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]


@dataclass(frozen=True)
class Net:
    """A network: `make` gives the torch module, `draw` gives an input of a shape, by its name.

    `lengths` are the lengths of the data along the free axes. `trained` holds the windows of the
    training; `planned` holds the lengths that a layout makes of them, where these lengths differ.
    `example` gives a window to record the network with, for the lengths of the free axes.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    draw: Mapping[str, Draw]
    lengths: Mapping[str, int] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    example: Callable[[Mapping[str, int]], Tensors] | None = None


def noise(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Return normally distributed noise of `shape`."""
    return random.standard_normal(shape)


def rows(count: int) -> Draw:
    """Return a function that draws indices of a table of `count` rows."""
    return lambda random, shape: random.integers(0, count, shape)


#: The networks, by the names that tests gave them.
NETS: dict[str, Net] = {}


@dataclass
class NetOptions:
    """The options of `net`."""

    net: str
    """Which of `NETS`."""
    seed: int = 0
    """The seed of its weights."""


class NetModel(Model[NetOptions]):
    """A small network with random weights."""

    name = "net"
    Options = NetOptions

    def plan(self) -> ModelSpec:
        """Return the axes and the windows of the training, the least that an author must give."""
        net = NETS[self.options.net]
        axes = tuple(dict.fromkeys(axis for spec in net.inputs for axis in spec.axes))
        return ModelSpec(axes, train_window={**net.trained, **net.planned})

    def identity(self) -> str:
        """Return the network's name and seed."""
        return f"{self.options.net}:{self.options.seed}"

    def fetch(self, work: StageContext) -> StageResult:
        """Write the name and the seed: the weights come from the seed."""
        net, file = NETS[self.options.net], work.folder / "seed.txt"
        file.write_text(self.identity())
        names = (tuple(s.name for s in specs) for specs in (net.inputs, net.outputs))
        info = ModelInfo(Signature(net.inputs, net.outputs), *names, train_window=dict(net.trained))
        return StageResult(file, "torch", "fp32", model=info)

    def example(self, info: ModelInfo, lengths: Mapping[str, int]) -> Tensors | None:
        """Return the example of the network, if it has one."""
        example = NETS[self.options.net].example
        return example(lengths) if example else None

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Make the module in training mode, as a careless plugin does."""
        import torch

        net = NETS[self.options.net]
        torch.manual_seed(self.options.seed)
        core = net.make()

        def reference(inputs: Tensors) -> Tensors:
            with torch.no_grad():
                given = (torch.from_numpy(inputs[spec.name][None]) for spec in net.inputs)
                out = core(*given)
            tensors = (out,) if isinstance(out, torch.Tensor) else out
            return {s.name: t[0].numpy() for s, t in zip(net.outputs, tensors, strict=True)}

        return TorchModel(artifact.info, core, reference)


@dataclass
class DrawnOptions:
    """The options of `drawn`."""

    net: str
    """Whose inputs to draw."""
    longer: int = 0
    """How much longer than the network's own all axes are that may have any length."""


class Drawn(Dataset[DrawnOptions]):
    """Draws the inputs of a network at random: 8 to calibrate on, 2 to evaluate on."""

    name = "drawn"
    axes = ("any",)
    Options = DrawnOptions

    def __init__(self, options: DrawnOptions) -> None:
        super().__init__(options)
        specs = NETS[options.net].inputs
        self.axes = tuple(dict.fromkeys(axis for spec in specs for axis in spec.axes))  # type: ignore[misc]  # those of its network

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id per seed."""
        count = {"calibration": 8, "evaluation": 2}[split]
        return tuple(f"{self.options}:{split}:{number}" for number in range(count))

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Draw one item after the other."""
        net = NETS[self.options.net]
        for number, name in enumerate(self.identity(split)):
            random = np.random.default_rng([split == "evaluation", number])
            inputs = {}
            for spec in signature.inputs:
                shape = tuple(
                    net.lengths[axis] + self.options.longer if isinstance(length, str) else length
                    for axis, length in zip(spec.axes, spec.shape, strict=True)
                )
                inputs[spec.name] = net.draw[spec.name](random, shape).astype(spec.dtype)
            yield Item(name, f"item {number}", inputs)

    def save(
        self, item: Item, outputs: Tensors, signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write every output as a file of NumPy."""
        saved = []
        for spec in signature.outputs:
            file = f"{item.name.replace(' ', '-')}-{spec.name}.npy"
            np.save(folder / file, outputs[spec.name])
            saved.append(SavedFile(file, spec.name, item.name))
        return saved


@hookimpl
def luthier_plugins() -> list[type[Any]]:
    """Add both plugins."""
    return [NetModel, Drawn]
