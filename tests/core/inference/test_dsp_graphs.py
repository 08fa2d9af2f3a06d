"""The dsp through the graphs that ship: where a runtime can, the same tensors as the methods'."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import StageContext
from core.conformance.dsp import assert_near
from core.inference.dsp_graphs import with_dsp_graphs
from core.plugin.progress import silent
from plugins.dsp.stft import Stft, StftOptions
from plugins.runtime.onnxruntime import OnnxRuntime
from plugins.runtime.torch import TorchRuntime
from tests.plugins.dsp.test_stft import info, noise

INFO = info(64, normalise=True)
TRANSFORM = Stft(StftOptions()).bind(INFO)


def test_a_runtime_of_graphs_plays_the_dsp_too(tmp_path: Path) -> None:
    """Both directions agree with NumPy's, and no file is left in the work folder."""
    mix = {"mix": noise(0, 2, 500)}
    runtime, work = OnnxRuntime(OnnxRuntime.Options()), StageContext(tmp_path, silent())
    with with_dsp_graphs(TRANSFORM, runtime, {"time": 500}, INFO, work) as transform:
        assert transform is not TRANSFORM
        feeds, remembered = transform.forward(mix)
        outputs = {"time_out": feeds["mix"][:, None], "spec_out": feeds["mag"][:, None]}
        made = transform.inverse(outputs, remembered)
    expected, _ = TRANSFORM.forward(mix)
    assert_near(expected, feeds)
    assert_near(TRANSFORM.inverse(outputs, remembered), made)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(expected["mix"], feeds["mix"])


def test_others_keep_the_methods(tmp_path: Path) -> None:
    """NumPy's methods serve runtimes that open no graphs, and inputs without a window."""
    graphs, torch = OnnxRuntime(OnnxRuntime.Options()), TorchRuntime(TorchRuntime.Options())
    work = StageContext(tmp_path, silent())
    with with_dsp_graphs(TRANSFORM, torch, {"time": 500}, INFO, work) as transform:
        assert transform is TRANSFORM
    with with_dsp_graphs(TRANSFORM, graphs, {}, INFO, work) as transform:
        assert transform is TRANSFORM
