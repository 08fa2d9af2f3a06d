"""The dataset `synthetic`: songs from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.items import checked_items
from plugins.dataset.generator import STEMS, make_song
from plugins.dataset.synthetic import Synthetic, SyntheticOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from core import Signature


def test_items_are_the_generator_s_songs_under_the_model_s_names(
    separation: Callable[..., Signature],
) -> None:
    """Mixture and true stems, in the model's order of labels."""
    signature = separation(labels=tuple(reversed(STEMS)))
    dataset = Synthetic(SyntheticOptions(seed=5, seconds=0.5))
    (item,) = checked_items(dataset, "evaluation", signature)
    song = make_song(5, 0.5)
    np.testing.assert_array_equal(song.mixture, item.inputs["song"])
    stems = item.references["parts"]
    assert stems.shape == (4, 2, 22050)
    np.testing.assert_array_equal(song.stems["drums"], stems[3])
    assert item.notices == ()


def test_a_model_with_an_unknown_stem_gets_no_references(
    separation: Callable[..., Signature],
) -> None:
    """The generator knows no piano."""
    dataset = Synthetic(SyntheticOptions(seconds=0.1))
    (item,) = dataset.items("evaluation", separation(labels=(*STEMS, "piano")))
    assert item.references == {}


def test_another_rate_is_resampled_with_its_stems(separation: Callable[..., Signature]) -> None:
    """Stems still sum up to the mixture at 22.05 kHz."""
    dataset = Synthetic(SyntheticOptions(seconds=0.5))
    (item,) = dataset.items("evaluation", separation(rate=22050.0))
    assert item.inputs["song"].shape == (2, 11025)
    total = item.references["parts"].sum(axis=0)
    np.testing.assert_allclose(total, item.inputs["song"], atol=1e-5)
    assert "resampled" in item.notices[0].text


def test_calibration_and_evaluation_share_no_song() -> None:
    """The splits have seeds of their own, and the ids say so without making a song."""
    dataset = Synthetic(SyntheticOptions(count=3, calibration_count=2))
    assert dataset.identity("evaluation") == tuple(f"synthetic:seed={n}" for n in range(3))
    assert dataset.identity("calibration") == ("synthetic:seed=1000", "synthetic:seed=1001")


def test_a_shorter_part_of_a_song_is_the_same_song() -> None:
    """Calibrating on ten seconds of what is evaluated is found out by its id."""
    long, short = SyntheticOptions(seed=1000), SyntheticOptions(calibration_seconds=10.0)
    shared = set(Synthetic(long).identity("evaluation"))
    assert shared & set(Synthetic(short).identity("calibration"))


def test_calibration_songs_have_their_own_length(separation: Callable[..., Signature]) -> None:
    """As many and as long as asked for."""
    dataset = Synthetic(SyntheticOptions(calibration_count=2, calibration_seconds=0.1))
    items = list(dataset.items("calibration", separation()))
    assert [item.inputs["song"].shape for item in items] == [(2, 4410)] * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "`seed` is -1"),
        ({"seed": 10**30}, "`seed` is 1000"),
        ({"count": 0}, "`count` is 0"),
        ({"count": 10**9}, "`count` is 1000000000"),
        ({"calibration_count": 10**9}, "`calibration_count` is 1000000000"),
        ({"seconds": 1e12}, "`seconds` is 1000000000000.0"),
        ({"seconds": 0.0}, "`seconds` is 0.0"),
        ({"calibration_seconds": float("nan")}, "`calibration_seconds` is nan"),
    ],
)
def test_songs_that_cannot_be_made_are_refused(values: dict[str, float], message: str) -> None:
    """The option is named with its value."""
    with pytest.raises(ValueError, match=message):
        SyntheticOptions(**values)  # type: ignore[arg-type]  # mixed types, one per case
