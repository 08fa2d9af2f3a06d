"""The options of `luthier separate`: those that its parser takes, and a TAB completes."""

from __future__ import annotations

__all__ = ["NOT_HERE", "OPTIONS", "SEPARATE"]

SEPARATE = "separate"
#: The options, with the name of their value and what they do.
OPTIONS = {
    "--out": ("FOLDER", "the folder (separated)"),
    "--format": ("FORMAT", "wav (24 bits), flac, mp3 or ogg"),
    "--stems": ("A,B", "which ones to write: vocals,drums"),
    "--two-stems": ("STEM", "this stem, and the sum of all others"),
}
#: Words that a run takes and a separation does not, with what to do instead.
NOT_HERE = {
    "mode": "leave it out; the modes are those of a run: luthier mode=... recipe=...",
    "input": "name the songs themselves: luthier separate song.mp3",
    "output": "name the folder: --out FOLDER, from Python out=FOLDER",
    "dataset.path": "name the songs themselves: luthier separate song.mp3",
    "dataset.limit": "name the songs themselves: luthier separate one.mp3 another.mp3",
    **dict.fromkeys(
        ("evaluator", "reporter", "measure", "contract", "scale", "batch", "fit", "sweep", "diff",
         "clean"),
        "leave it out; a run measures and reports: luthier recipe=... input=song.mp3",
    ),
}  # fmt: skip
