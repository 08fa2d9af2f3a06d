"""Handmade records of sweeps of several shapes."""

from __future__ import annotations

import dataclasses
import itertools
import math

from core.machine.machine_load import Load
from core.plugin.records import Axis, Point, Status, SweepMetric, SweepRecord

__all__ = ["CPU", "FIGURES", "HOSTILE", "LENGTH", "PRECISION", "grid", "hostile", "sweep", "timed"]

CPU = "CPU (ONNX Runtime 1.31.1)"
FIGURES = (
    SweepMetric("sdr", "SDR", "dB", "higher", objective=True),
    SweepMetric("latency", "latency per window", "ms", "lower", objective=True),
    SweepMetric("peak_memory", "peak memory", "MB", "lower", objective=True),
    SweepMetric("size", "size", "B", "lower", objective=True),
    SweepMetric("parity_snr", "SNR to FP32", "dB", "higher"),
)
LENGTH = Axis("chunker.length", ("22050", "44100", "88200", "176400"))
PRECISION = Axis("precision", ("fp16", "int8", "w8a16", "a8w8"))
SEED = Axis("dataset.seed", ("1", "2"))
REFUSED = "the HTP of a Snapdragon 8 Gen 3 has no room for 176400 samples: 31.2 MB of 8 MB"
FAILED = "quantizer `qdq` failed: calibration saw a NaN in /encoder.0/conv"
HOSTILE = '</script><script>alert("1")</script>'


def _figures(number: int, length: float, bits: int) -> dict[str, float]:
    """Return figures that trade quality for speed, as windows and bits do."""
    loss = {16: 0.0, 12: 0.05, 8: 0.4, 6: 2.1}[bits]
    return {
        "sdr": 8.0 - loss - 30_000 / length + 0.01 * (number % 7),
        "latency": length / 1400 * (0.5 + bits / 16) + number % 5,
        "peak_memory": 300 + length / 250 + 12 * bits,
        "size": 1.1e6 * bits / 8 + length,
        "parity_snr": 95.0 if bits == 16 else 20.0 + 1.4 * bits,
    }


def _front(points: list[Point]) -> list[bool]:
    """Return for every point whether it ran and no other point is better in every objective."""

    def costs(point: Point) -> tuple[float, ...]:
        return tuple(
            point.figures[f.name] * (-1 if f.better == "higher" else 1)
            for f in FIGURES
            if f.objective
        )

    ran = [costs(p) for p in points if p.figures]
    return [
        bool(p.figures)
        and not any(
            other != costs(p) and all(a <= b for a, b in zip(other, costs(p), strict=True))
            for other in ran
        )
        for p in points
    ]


def grid(*axes: Axis, broken: bool = True) -> tuple[Point, ...]:
    """Return a point for every combination; the longest windows with 12 or 16 bits do not fit."""
    points = []
    for number, values in enumerate(itertools.product(*(axis.values for axis in axes)), 1):
        given = dict(zip((axis.key for axis in axes), values, strict=True))
        length = float(given.get("chunker.length", 44100))
        bits = {"fp16": 16, "w8a16": 12, "int8": 8, "a8w8": 6}[given.get("precision", "int8")]
        status: Status = "done"
        why, figures = "", _figures(number, length, bits)
        if bits == 6:
            status, why = "missed", "`min_sdr_db` asks for at least 6 dB: 4.8 dB, 1.2 dB off"
        if broken and length > 170_000 and bits >= 12:
            status, why, figures = "refused", REFUSED, {}
        if broken and length == 88200 and bits == 12:
            status, why, figures = "failed", FAILED, {}
        overrides = " ".join(f"{key}={value}" for key, value in given.items())
        words = "-".join(given.values())
        points.append(
            Point(
                number,
                given,
                status,
                f"python -m core recipe=s24_int8 {overrides}",
                why,
                figures,
                {name: CPU for name in figures if name != "size"},
                f"{number:03d}-{words}" if figures else "",
                ("play", "evaluate") if figures else (),
                ("model", "exporter") if figures else (),
                4.2 + number if figures else 0.3,
            )
        )
    return tuple(
        Point(**{**p.__dict__, "front": front})
        for p, front in zip(points, _front(points), strict=True)
    )


def timed(record: SweepRecord, loaded: tuple[int, ...] = ()) -> SweepRecord:
    """Return a sweep with the spread of its times; the points in `loaded` ran under load."""
    points = tuple(
        dataclasses.replace(
            point,
            spreads={"latency": (0.9 * point.figures["latency"], 1.2 * point.figures["latency"])},
            load=Load(1.3, 2, heavy=True) if point.number in loaded else Load(0.0, 2, heavy=False),
        )
        if point.figures
        else point
        for point in record.points
    )
    return dataclasses.replace(record, points=points)


def sweep(
    axes: tuple[Axis, ...] = (LENGTH, PRECISION),
    points: tuple[Point, ...] | None = None,
    *,
    winner: int | None = 5,
    notices: tuple[str, ...] = (
        "the songs were generated, not recorded",
        "two points failed: see their reasons in the table",
    ),
) -> SweepRecord:
    """Return a sweep of the S24's recipe, with 16 points by default."""
    points = grid(*axes) if points is None else points
    return SweepRecord(
        recipe="s24_int8",
        title="HTDemucs on a Galaxy S24's NPU, 8-bit weights and activations",
        command="python -m core -m recipe=s24_int8 "
        + " ".join(f"{axis.key}={','.join(axis.values)}" for axis in axes),
        started="2026-11-20T11:44:34+00:00",
        seconds=204.6,
        axes=axes,
        figures=FIGURES,
        points=points,
        winner=winner,
        why="point 5 has the best SDR of those that hold the contract: 7.34 dB at 49 ms a window"
        if winner
        else "no point holds the contract",
        machine="x86_64, 2 cores, 24 GiB memory, Linux, Python 3.11.9",
        versions={"luthier": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1"},
        contract={"min_sdr_db": 6.0},
        notices=notices,
    )


def hostile() -> SweepRecord:
    """Return a sweep with markup, quotes, formulas, paths, secrets, NaN and infinity in it."""
    axes = (
        Axis("model.name", (HOSTILE, "=cmd|' /C calc'!A0", 'a "quoted", name')),
        Axis("input", ("/home/ana/my song.flac", "/home/ana/other.flac")),
    )
    points = tuple(
        Point(
            number,
            {"model.name": name, "input": song},
            "failed" if number == 6 else "done",
            f"python -m core 'input={song}' model.token=hf_AbCdEf123456",
            f"no such file: /home/ana/my songs/x {HOSTILE}" if number == 6 else "",
            {"sdr": math.nan, "latency": math.inf, "size": 2.5e6},
            {"sdr": CPU, "latency": HOSTILE},
            f"{number} <b>&",
        )
        for number, (name, song) in enumerate(itertools.product(axes[0].values, axes[1].values), 1)
    )
    return SweepRecord(
        recipe=HOSTILE, title=f"A & B {HOSTILE}", command="python -m core -m 'x=1,2'",
        started="2026-11-20T11:44:34+00:00", seconds=0.0, axes=axes, figures=FIGURES,
        points=points, winner=3, why=HOSTILE, machine="", versions={}, notices=(HOSTILE,),
    )  # fmt: skip
