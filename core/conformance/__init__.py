"""Test suites for plugin authors: subclass the one of your kind, name your class, run pytest.

    from core.conformance import ChunkerSuite

    class TestTiles(ChunkerSuite):
        plugin = Tiles
        options = TilesOptions(size=16)
        signature = ...

Every suite needs pytest, which Luthier itself does not install: pip install pytest
"""

from core.conformance.base import PluginSuite
from core.conformance.chunker import ChunkerSuite
from core.conformance.converter import ExporterSuite, GraphSuite, QuantizerSuite, RuntimeSuite
from core.conformance.dataset import DatasetSuite
from core.conformance.dsp import DspSuite
from core.conformance.model import ModelSuite
from core.conformance.observer import EvaluatorSuite, ReporterSuite

__all__ = [
    "ChunkerSuite",
    "DatasetSuite",
    "DspSuite",
    "EvaluatorSuite",
    "ExporterSuite",
    "GraphSuite",
    "ModelSuite",
    "PluginSuite",
    "QuantizerSuite",
    "ReporterSuite",
    "RuntimeSuite",
]
