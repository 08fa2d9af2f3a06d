"""Luthier fits a PyTorch model to the device that will play it. This is what plugins import."""

import os

from core.machine.telemetry import SILENT

os.environ.update(SILENT)  # before anything that sends is imported

from core.errors import DoesNotFitError, InputError, LuthierError, StageError
from core.machine.cores import threads
from core.plugin.hooks import hookimpl
from core.plugin.kinds import (
    Chunker,
    Dataset,
    Dsp,
    Evaluator,
    Exporter,
    Graph,
    Model,
    NoOptions,
    Quantizer,
    Reporter,
    Runtime,
)
from core.plugin.listable import ListableDataset, Source
from core.plugin.options import from_target
from core.plugin.placement import Placed, Placement
from core.plugin.progress import Progress
from core.plugin.reach import Reach, reaching
from core.plugin.stages import (
    BundlePart,
    Calibration,
    EvaluatedItem,
    Joiner,
    LinkedLibrary,
    Requirement,
    SavedFile,
    Session,
    Split,
    StageContext,
    StageResult,
    TorchModel,
    Transform,
    Window,
    outside,
)
from core.plugin.values import (
    Array,
    Artifact,
    ArtifactSpec,
    Fact,
    FitFor,
    Item,
    LimitSpec,
    Metric,
    ModelInfo,
    ModelSpec,
    Notice,
    Signature,
    Target,
    Tensors,
    TensorSpec,
)

__all__ = [
    "Array",
    "Artifact",
    "ArtifactSpec",
    "BundlePart",
    "Calibration",
    "Chunker",
    "Dataset",
    "DoesNotFitError",
    "Dsp",
    "EvaluatedItem",
    "Evaluator",
    "Exporter",
    "Fact",
    "FitFor",
    "Graph",
    "InputError",
    "Item",
    "Joiner",
    "LimitSpec",
    "LinkedLibrary",
    "ListableDataset",
    "LuthierError",
    "Metric",
    "Model",
    "ModelInfo",
    "ModelSpec",
    "NoOptions",
    "Notice",
    "Placed",
    "Placement",
    "Progress",
    "Quantizer",
    "Reach",
    "Reporter",
    "Requirement",
    "Runtime",
    "SavedFile",
    "Session",
    "Signature",
    "Source",
    "Split",
    "StageContext",
    "StageError",
    "StageResult",
    "Target",
    "TensorSpec",
    "Tensors",
    "TorchModel",
    "Transform",
    "Window",
    "from_target",
    "hookimpl",
    "outside",
    "reaching",
    "threads",
]
__version__ = "0.1.0"
