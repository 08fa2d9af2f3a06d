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
    Listed,
    Model,
    NoOptions,
    Quantizer,
    Reporter,
    Runtime,
    Source,
)
from core.plugin.options import from_target
from core.plugin.progress import Progress
from core.plugin.reach import Reach, reaching
from core.plugin.stages import (
    Calibration,
    Joiner,
    Library,
    Made,
    Played,
    Saved,
    Session,
    Shipped,
    Split,
    TorchModel,
    Transform,
    Window,
    Work,
    outside,
)
from core.plugin.values import (
    Artifact,
    ArtifactSpec,
    Fact,
    FitFor,
    Item,
    Metric,
    ModelInfo,
    ModelSpec,
    Notice,
    Signature,
    Target,
    TensorSpec,
)

__all__ = [
    "Artifact",
    "ArtifactSpec",
    "Calibration",
    "Chunker",
    "Dataset",
    "DoesNotFitError",
    "Dsp",
    "Evaluator",
    "Exporter",
    "Fact",
    "FitFor",
    "Graph",
    "InputError",
    "Item",
    "Joiner",
    "Library",
    "Listed",
    "LuthierError",
    "Made",
    "Metric",
    "Model",
    "ModelInfo",
    "ModelSpec",
    "NoOptions",
    "Notice",
    "Played",
    "Progress",
    "Quantizer",
    "Reach",
    "Reporter",
    "Runtime",
    "Saved",
    "Session",
    "Shipped",
    "Signature",
    "Source",
    "Split",
    "StageError",
    "Target",
    "TensorSpec",
    "TorchModel",
    "Transform",
    "Window",
    "Work",
    "from_target",
    "hookimpl",
    "outside",
    "reaching",
    "threads",
]
__version__ = "0.1.0"
