"""The table of `docs/songs.md`, from the results of `tools.bench_songs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["tables"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "songs.json"
Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]
TITLES = {
    "here": "`scale=here`",
    "here_killed": "`scale=here`, the process killed in the middle and started again",
    "ray": "`scale=ray`",
    "ray_killed": "`scale=ray`, a worker killed in the middle",
}
HEAD = ("", "songs done", "files identical", "played again", "seconds", "first song", "songs per s")


def tables(table: Table) -> str:
    """Return a row for every way to play the same songs; `table` writes Markdown."""
    if not RESULTS.exists():
        return "Not measured yet: `make bench-songs`."
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = {part: results[part]["rows"][0] for part in TITLES if part in results}
    lines = [
        (
            TITLES[part],
            f"{row['done']} of {row['songs']}",
            f"{row['files_identical']} of {row['files_expected']}",
            str(row["played_again"]),
            f"{row['seconds']:.0f} s ({row['seconds'] / rows['here']['seconds']:.2f} ×)",
            f"after {row['first_song_s']:.1f} s",
            f"{row['songs_per_s']:.1f}",
        )
        for part, row in rows.items()
    ]
    first = results["here"]
    audio = first["rows"][0]["audio_s"]
    about = (
        f"{first['rows'][0]['songs']} songs of one to two seconds, {audio:.0f} s in all, with "
        "recipe `cpu_fp32` and the model already made. Files are compared with those of one "
        "undisturbed process. Ray takes its time to start, which matters for songs as short as "
        "these. After half of the songs the playing process or one of Ray's workers was killed."
    )
    loads = [row["load_average"] for row in rows.values()]
    origin = (
        f"{first['machine']}; `{first['command']}`. Other work ran beside it (load average "
        f"{min(loads):.1f} to {max(loads):.1f}). The times depend on that work as much as on "
        "Ray; the files do not depend on it."
    )
    return "\n\n".join([about, table(HEAD, lines), origin])
