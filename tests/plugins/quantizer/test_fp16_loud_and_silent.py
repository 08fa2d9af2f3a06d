"""The bundled model in FP16 at the recipes' window: music, clipped music, silence.

Every window goes through the real STFT, which divides the window by its own deviation. So a loud
window reaches the core as loud as any other, and only its shape shows the clipping. A silent window
reaches the core as zeros. The core's outputs are then the answer of its biases alone, 15 to 20 dB
weaker than for music, and the SNR is that of this answer. A person hears this answer times the
deviation of the silence, which is 0: both precisions give silence, and no SNR is claimed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from core import Array, Artifact, Calibration, Tensors, Transform
from core.measure.metrics import snr_db
from plugins.dataset._generator import make_song
from plugins.dsp.stft import Stft
from plugins.exporter.onnx import Onnx
from plugins.model.htdemucs import HTDemucs, Layout
from plugins.quantizer.fp16 import Fp16
from tests.plugins.half_device import half_device
from tests.plugins.networks import artifact, played, work_in

SAMPLES = 45056
ENOUGH_DB = 60.0
#: The SNR of one output alone on a device that rounds every tensor; no recipe promises it.
STRICT_DB = 55.0


KINDS = ("music", "loud", "silent")


@dataclass(frozen=True)
class Case:
    """One layout of the model in FP32 and FP16, with its outputs for every kind of window."""

    floats: Artifact
    halves: Artifact
    transform: Transform
    expected: dict[str, Tensors]
    actual: dict[str, Tensors]
    strict: dict[str, Tensors]


@pytest.fixture(scope="module", params=["plain", pytest.param("npu", marks=pytest.mark.long)])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Export the model, convert it with the ranges of one window, and play every kind."""
    folder = tmp_path_factory.mktemp(request.param)
    model = HTDemucs(HTDemucs.Options(weights="bundled", layout=Layout[request.param]))
    made = model.fetch(work_in(folder / "model"))
    assert made.model is not None
    transform = Stft(Stft.Options()).bind(made.model)
    window = transform.forward({"mix": _music(1000)})[0]
    opened = model.open(artifact(made, made.model), {"time": SAMPLES})
    exported = Onnx(Onnx.Options(verify=False)).run(opened, window, work_in(folder / "export"))
    floats = artifact(exported, made.model)
    halved = Fp16(Fp16.Options(windows=1)).run(
        floats, Calibration(1, lambda: [window]), work_in(folder / "fp16")
    )
    halves = artifact(halved, made.model)
    given = {kind: transform.forward({"mix": _wave(kind)})[0] for kind in KINDS}
    strict = half_device(halves.path)
    return Case(
        floats,
        halves,
        transform,
        {kind: played(floats, feeds) for kind, feeds in given.items()},
        {kind: played(halves, feeds) for kind, feeds in given.items()},
        {kind: strict(feeds) for kind, feeds in given.items()},
    )


def _music(seed: int) -> Array:
    """Return the last window of a song of three seconds."""
    wave: Array = make_song(seed, 3.0).mixture.astype(np.float32)[:, -SAMPLES:]
    return wave


def _wave(kind: str) -> Array:
    """Return a window of music, of music 40 dB over full scale, or of silence."""
    music = _music(0)
    if kind == "loud":
        return np.clip(music * 100, -1, 1)
    return music * (kind != "silent")


@pytest.mark.parametrize("kind", KINDS)
def test_fp16_keeps_60_db(kind: str, case: Case) -> None:
    """Each output of the core has over 60 dB SNR in FP16 against FP32, on this CPU."""
    for name, value in case.expected[kind].items():
        assert np.square(value).mean() > 1e-4  # there is a signal to compare
        assert snr_db(value, case.actual[kind][name]) > ENOUGH_DB


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_stores_fp16_keeps_it_too(kind: str, case: Case) -> None:
    """With every FP16 tensor rounded, both outputs together keep 60 dB, and each alone 55 dB."""
    for name, value in case.expected[kind].items():
        assert snr_db(value, case.strict[kind][name]) > STRICT_DB
    assert snr_db(_joined(case.expected[kind]), _joined(case.strict[kind])) > ENOUGH_DB


def _joined(outputs: Tensors) -> Array:
    return np.concatenate([outputs[name].ravel() for name in sorted(outputs)])


def test_silence_stays_silent(case: Case) -> None:
    """Stems of silence are exactly zero, in FP32 and in FP16: their deviation is 0."""
    remembered = case.transform.forward({"mix": _wave("silent")})[1]
    for answers in (case.expected, case.actual, case.strict):
        assert not case.transform.inverse(answers["silent"], remembered)["stems"].any()


def test_long_norms_stay_and_the_rest_is_converted(case: Case) -> None:
    """Ranges keep less than half of the nodes in FP32 that the list without data keeps."""
    listed = Fp16(Fp16.Options()).run(
        case.floats,
        Calibration(0, lambda: ()),
        work_in(Path(case.halves.folder).parent / "listed"),
    )
    assert 0 < case.halves.number("float32_nodes") < float(str(listed.facts["float32_nodes"])) / 2
    assert case.halves.number("kept_long_sum") > 0
