"""The figures of `make bench-precision` per song, and their table in `docs/precision.md`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tools import bench_precision, precision_page, real_music
from tools.docs import _table

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = {
    "machine": "x86_64, 2 cores",
    "versions": {"torch": "2.13.0+cpu", "onnxruntime": "1.31.1"},
    "command": "make bench-precision",
}


def _metric(name: str, subject: str, value: float) -> dict[str, object]:
    item, _, label = subject.rpartition(": ")
    part = "" if label in ("all", "mean") else label
    return {"name": name, "item": item, "label": part, "value": value}


def test_every_song_has_its_whole_its_worst_stem_and_its_mean_drop() -> None:
    """Every song, even with a colon in its name, gets its SNR, worst stem SNR and mean SDR drop."""
    metrics = [
        _metric("parity_snr", "live: choir: all", 30.0),
        _metric("parity_snr", "live: choir: drums", 28.0),
        _metric("parity_snr", "live: choir: vocals", 21.0),
        _metric("sdr_drop", "live: choir: drums", 3.0),
        _metric("sdr_drop", "live: choir: mean", 0.25),
        _metric("seam_error", "live: choir: mean", -1.0),
        _metric("latency", "median", 70.0),
    ]
    assert bench_precision.by_song(metrics) == {
        "snr_db": {"live: choir": 30.0},
        "stem_snr_db": {"live: choir": 21.0},
        "sdr_drop_db": {"live: choir": 0.25},
    }


def test_the_table_shows_both_worlds_with_the_worst_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table shows mean and worst of generated songs, and median and worst stem of real ones."""
    row = {
        "precision": "int8",
        "snr_db": {"punk": 20.0, "choir": 32.0, "cello": 41.0},
        "stem_snr_db": {"punk": 17.5, "choir": 30.0, "cello": 38.0},
        "sdr_drop_db": {"choir": 0.25},
    }
    songs = {"precision": "int8", "snr_db": {"song 0": 34.0, "song 1": 33.0}}
    results = {"generated": {**ORIGIN, "rows": [songs]}, "real": {**ORIGIN, "rows": [row]}}
    file = tmp_path / "precision.json"
    file.write_text(json.dumps(results))
    monkeypatch.setattr(precision_page, "RESULTS", file)
    page = precision_page.tables(_table)
    cells = (
        "`int8`", "33.5 dB", "33.0 dB (song 1)", "32.0 dB", "31.0 dB", "20.0 dB (punk)",
        "17.5 dB", "0.25 dB",
    )  # fmt: skip
    assert f"| {' | '.join(cells)} |" in page
    assert "3 pieces of recorded music" in page
    assert "on the 1 whose true stems are known" in page


def test_without_the_packages_nothing_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the Debian packages nothing is measured, and their install command is printed."""
    monkeypatch.setattr(real_music, "missing", lambda: ["some-music"])
    assert list(bench_precision.on_real(tmp_path)) == []
    assert "apt-get install --no-install-recommends some-music" in capsys.readouterr().out
