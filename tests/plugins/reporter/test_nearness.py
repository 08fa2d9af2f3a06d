"""An SNR to FP32 below its limit is shown as below the limit everywhere."""

from __future__ import annotations

import dataclasses

import pytest

from core.plugin.records import CandidateRecord, Judged, RunRecord
from plugins.reporter._html_run.contract import contract
from plugins.reporter._reading import nearness


@pytest.mark.parametrize(
    ("db", "held", "said"),
    [
        (29.96, False, "29.96 dB"),
        (29.99996, False, "29.99996 dB"),
        (29.94, False, "29.9 dB"),
        (30.0, True, "30.0 dB"),
        (30.04, True, "30.0 dB"),
    ],
)
def test_rounding_lifts_nothing_over_its_limit(db: float, held: bool, said: str) -> None:
    """An SNR has one decimal, or more if rounding would lift it to its limit."""
    assert nearness(db, [Judged("min_snr_db", 30.0, db, "dB", "CPU", held, is_least=True)]) == said


def test_another_limit_changes_nothing() -> None:
    """A missed limit of another metric or of another value does not change the decimals."""
    other = Judged("min_sdr_db", 30.0, 29.96, "dB", "CPU", held=False, is_least=True)
    assert nearness(29.96, [other]) == "30.0 dB"
    assert nearness(29.97, [dataclasses.replace(other, name="min_snr_db")]) == "30.0 dB"
    assert nearness(200.0, []) == "no difference"


def test_the_table_of_precisions_shows_the_miss(record: RunRecord) -> None:
    """The table of precisions shows a missed SNR with enough decimals."""
    judged = Judged("min_snr_db", 30.0, 29.96, "dB", "CPU", held=False, is_least=True)
    result = CandidateRecord("int8", "missed", "too far", (judged,), 29.96, 1000)
    page = contract(dataclasses.replace(record, contract=(judged,), candidates=(result,)))
    assert page is not None
    assert '<td data-label="SNR">29.96 dB</td>' in page
