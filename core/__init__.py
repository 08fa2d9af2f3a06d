"""Luthier fits a PyTorch model to the device that will play it. This is what plugins import."""

import os

from core.telemetry import SILENT

os.environ.update(SILENT)  # before anything that sends is imported

from core.errors import DoesNotFitError, InputError, LuthierError, StageError
from core.exchange import (
    Calibration,
    Joiner,
    Library,
    Listed,
    Made,
    Played,
    Saved,
    Session,
    Shipped,
    Source,
    Split,
    TorchModel,
    Transform,
    Window,
    Work,
    outside,
)
from core.hooks import hookimpl
from core.kinds import (
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
from core.options import from_target
from core.progress import Progress
from core.reach import Reach, reaching
from core.share import threads
from core.values import (
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
