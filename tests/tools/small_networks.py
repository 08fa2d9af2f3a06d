"""The small modules of the sweep as plugins: a model per module, and windows of random inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import (
    Artifact,
    Dataset,
    Item,
    Model,
    ModelSpec,
    SavedFile,
    Signature,
    Split,
    StageContext,
    StageResult,
    TorchModel,
    hookimpl,
)
from tools.coverage.case import Case
from tools.coverage.modules import MODULES
from tools.coverage.prepare import info_of
from tools.coverage.torch_reference import computed

#: The axes that an input of a module may have.
AXES = ("axis1", "axis2", "axis3", "axis4", "time")


@dataclass
class NetworkOptions:
    """The options of both plugins."""

    network: str
    """Its name in the sweep."""

    @property
    def case(self) -> Case:
        """Return the case of the network."""
        return next(case for case in MODULES if case.name == self.network)


class SmallNetwork(Model[NetworkOptions]):
    """One of the small modules, with the weights that its seed gives."""

    name = "small_network"
    Options = NetworkOptions

    def plan(self) -> ModelSpec:
        """Return all possible axes."""
        return ModelSpec(AXES)

    def identity(self) -> str:
        """Return the name of the network."""
        return self.options.network

    def fetch(self, work: StageContext) -> StageResult:
        """Write the name to a file; the seed gives the weights."""
        file = work.folder / "name.txt"
        file.write_text(self.options.network)
        case = self.options.case
        feeds = case.feeds(0)
        return StageResult(file, "torch", "fp32", model=info_of(case, feeds, computed(case, feeds)))

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Make a fresh module."""
        case = self.options.case

        def reference(inputs: Mapping[str, Any]) -> dict[str, Any]:
            outputs = computed(case, {name: inputs[name][None] for name in case.inputs})
            return {name: array[0] for name, array in outputs.items()}

        return TorchModel(artifact.info, case.make(), reference)


class SmallWindows(Dataset[NetworkOptions]):
    """Random inputs: 44 windows to calibrate on, two others to evaluate on."""

    name = "small_windows"
    axes = AXES
    Options = NetworkOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id per seed."""
        seeds = range(44) if split == "calibration" else range(1000, 1002)
        return tuple(f"{self.options.network} {seed}" for seed in seeds)

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Draw the inputs."""
        for name in self.identity(split):
            feeds = self.options.case.feeds(int(name.rpartition(" ")[2]))
            yield Item(name, name, {key: array[0] for key, array in feeds.items()})

    def save(
        self, item: Item, outputs: Mapping[str, Any], signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write every output unchanged."""
        saved = []
        for name, array in outputs.items():
            file = f"{item.name.replace(' ', '_')}_{name}.npy"
            np.save(folder / file, array)
            saved.append(SavedFile(file, name, item.name))
        return saved


@hookimpl
def luthier_plugins() -> list[type[SmallNetwork | SmallWindows]]:
    """Add both plugins."""
    return [SmallNetwork, SmallWindows]
