"""Seeded songs made from nothing: four stems, and a mixture that is exactly their sum.

No recording and no licence is involved, so the project can train on these songs, test
with them and play them. The package needs numpy and scipy only.

    from plugins.dataset._generator import make_song
    song = make_song(seed=0, seconds=30.0)
    song.mixture.shape  # (2, 1323000)

Beside songs there are pieces of many kinds (`KINDS`: lone drums, speech, a telephone's band), for
calibration ranges that cover more than songs.
"""

from plugins.dataset._generator.pieces import KINDS, make_piece
from plugins.dataset._generator.song import STEMS, Song, make_song

__all__ = ["KINDS", "STEMS", "Song", "make_piece", "make_song"]
