"""The comparison with FP32 plays what the store has, at the place where it differs most."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core import Array, Signature, TensorSpec
from core.formats.tensors import save
from core.plugin.records import RunRecord
from core.plugin.step_names import PLAY
from plugins.reporter._html_run.against import against
from plugins.reporter._html_run.difference import Comparison, Versions, comparisons
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from tests.plugins.reporter.conftest import CPU, NAMES, RATE, STEMS, make_stems

BASS = STEMS.index("bass")


def compared(record: RunRecord, seconds: float = 0.5) -> list[Comparison]:
    """Return the comparisons of a record under short names."""
    names = ["first", "second"]
    return comparisons(record, names, seconds=seconds, codec="flac", stereo=False) or []


def heard(one: Versions, version: str) -> Array:
    """Return the samples of an embedded sound."""
    _, address = one.sounds[version]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert rate == RATE
    return np.asarray(samples)


@pytest.fixture(scope="module")
def shown(record: RunRecord) -> Comparison:
    """Return the comparison of the first item, of half a second."""
    return compared(record)[0]


def test_the_excerpt_surrounds_the_largest_difference(shown: Comparison) -> None:
    """The tone that only the shipped bass has is found, and lies in the middle of the excerpt."""
    assert shown.largest == "bass"
    assert shown.largest_s == pytest.approx(1.55, abs=0.06)
    assert shown.start + shown.seconds / 2 == pytest.approx(shown.largest_s)
    assert (shown.seconds, shown.whole) == (0.5, 2.0)


def test_fp32_is_played_as_the_store_has_it(shown: Comparison) -> None:
    """FP32's sound is the mean of the channels, to 16 bits, lowered alike in all sounds."""
    first = round(shown.start * RATE)
    true = 0.9 * make_stems(2.0)["bass"][first : first + RATE // 2]
    factor = 10 ** (shown.lowered_db / 20)
    assert heard(shown.labels[BASS], "fp32") == pytest.approx(factor * true, abs=2 / 2**15)


def test_the_shipped_graph_is_as_loud_as_fp32(shown: Comparison) -> None:
    """A shipped stem that is 0.1 dB quieter is played 0.1 dB louder."""
    drums = shown.labels[STEMS.index("drums")]
    assert drums.match_db == pytest.approx(0.1, abs=0.001)
    loud = [float(np.square(heard(drums, version)).sum()) for version in ("fp32", "shipped")]
    assert loud[1] == pytest.approx(loud[0], rel=1e-3)


def test_the_difference_is_amplified_by_the_decibels_that_are_said(shown: Comparison) -> None:
    """The difference is the true one, before the levels were matched, times the named gain."""
    drums = shown.labels[STEMS.index("drums")]
    true = make_stems(2.0)["drums"][round(shown.start * RATE) :][: RATE // 2] * 0.9
    lost = (10 ** (-0.1 / 20) - 1) * true
    factor = 10 ** ((drums.gain_db + shown.lowered_db) / 20)
    assert drums.gain_db >= 30
    assert heard(drums, "difference") == pytest.approx(factor * lost, abs=2 / 2**15)
    page = against(shown, 0, CPU)
    assert f"difference +{drums.gain_db:.0f} dB" in page
    assert f"The shipped graph was played on {CPU}." in page


def test_seams_lie_where_two_windows_overlap(shown: Comparison) -> None:
    """Windows of 1 s that start every 0.75 s overlap from 0.75 s to 1 s, and from 1.5 s on."""
    assert shown.windows == 3
    assert shown.seams == ((0.75, 1.0), (1.5, 1.75))


def test_equal_results_are_said_to_be_equal(record: RunRecord) -> None:
    """If every sample is the same, the page says so and names no place."""
    by_name = {stage.name: stage for stage in record.stages}
    same = dataclasses.replace(by_name[PLAY], artifact=by_name["reference"].artifact)
    (one, *_) = compared(dataclasses.replace(record, stages=(by_name["reference"], same)))
    assert one.largest_s is None
    page = against(one, 0, CPU)
    assert "gives what FP32 PyTorch gives, sample for sample" in page
    assert "no difference here" in page
    assert 'class="largest"' not in page


def test_what_passes_full_scale_is_lowered_in_both(record: RunRecord, tmp_path: Path) -> None:
    """Stems above full scale are lowered together, so that nothing is clipped, and it is said."""
    loud = _with(record, tmp_path, 4.0)
    (one, *_) = compared(loud)
    assert one.lowered_db < -1
    assert max(float(np.abs(heard(label, "fp32")).max()) for label in one.labels) < 1
    assert f"{-one.lowered_db:.1f} dB quieter" in against(one, 0, CPU)


@pytest.mark.parametrize("missing", ["the file", "the step", "the item"])
def test_a_result_that_is_gone_is_said_to_be_gone(
    record: RunRecord, run_folder: Path, tmp_path: Path, missing: str
) -> None:
    """If the store no longer has a result, the page says so, and how to get it again."""
    stages = {stage.name: stage for stage in record.stages}
    if missing == "the step":
        del stages["reference"]
    elif missing == "the file":
        gone = dataclasses.replace(stages[PLAY].artifact, path=str(tmp_path / "gone"))
        stages[PLAY] = dataclasses.replace(stages[PLAY], artifact=gone)
    items = [
        dataclasses.replace(one, id=f"{one.id}{missing == 'the item'}") for one in record.items
    ]
    gone_from = dataclasses.replace(record, stages=(*stages.values(),), items=(*items,))
    reporter = HtmlReport(HtmlReportOptions(preview_seconds=1.0, preview_items=1))
    reporter.luthier_run_finished(record=gone_from, folder=str(run_folder))
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "the store no longer has both results" in page
    assert 'class="medium compare"' not in page


def test_results_without_a_rate_are_not_taken_for_sound(record: RunRecord) -> None:
    """An image has no samples per second, and no player."""
    image = TensorSpec("stems", ("stem", "channel", "time"), (4, 2, "T"))
    signature = Signature(record.signature.inputs, (image,))
    assert compared(dataclasses.replace(record, signature=signature)) == []


def _with(record: RunRecord, folder: Path, factor: float) -> RunRecord:
    """Return the record with both results louder by a factor."""
    mono = factor * np.stack([*make_stems(2.0).values()])
    content = np.stack([mono, mono], axis=1).astype(np.float32)
    stages = {stage.name: stage for stage in record.stages}
    for name, scale in (("reference", 1.0), (PLAY, 0.99)):
        save(
            {f"id-{n}/stems": np.float32(scale) * content for n in range(len(NAMES))}, folder / name
        )
        artifact = dataclasses.replace(stages[name].artifact, path=str(folder / name))
        stages[name] = dataclasses.replace(stages[name], artifact=artifact)
    return dataclasses.replace(record, stages=(*stages.values(),))
