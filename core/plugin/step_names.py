"""The names of the steps of a run, by which plans, reports and stores know them.

A rewriter's step is `graph.<plugin>`, and the comparison of a stage `budget.<step>`.
"""

from __future__ import annotations

__all__ = [
    "AGAINST",
    "BUDGET",
    "EVALUATE",
    "EXPORTER",
    "GOLDEN",
    "IDEAL",
    "MODEL",
    "PLAY",
    "PRECISION_CENSUS",
    "PROBE",
    "QUANTIZER",
    "RATE",
    "REFERENCE",
    "RUNTIME",
    "SAMPLE",
    "SATURATION",
    "SAVE",
    "TENSOR_ERROR",
]

MODEL = "model"
EXPORTER = "exporter"
QUANTIZER = "quantizer"
RUNTIME = "runtime"
SAMPLE = "sample"
SATURATION = "saturation"
TENSOR_ERROR = "tensor_error"
PRECISION_CENSUS = "precision_census"
PROBE = "probe"
REFERENCE = "reference"
IDEAL = "ideal"
AGAINST = "against"
PLAY = "play"
BUDGET = "budget"
EVALUATE = "evaluate"
RATE = "rate"
SAVE = "save"
GOLDEN = "golden"
