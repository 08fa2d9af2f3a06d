"""The dataset `synthetic` makes songs from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core import Signature
from core.inference.items import checked_items
from plugins.dataset._generator import STEMS, make_piece, make_song
from plugins.dataset.synthetic import KINDS, Synthetic, SyntheticOptions
from plugins.quantizer.qdq import QdqOptions

if TYPE_CHECKING:
    from collections.abc import Callable


def test_items_are_the_generator_s_songs_under_the_model_s_names(
    separation: Callable[..., Signature],
) -> None:
    """An item has the generator's mixture, and its stems in the order of the model's labels."""
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
    """A model with a stem that the generator lacks, such as a piano, gets no references."""
    dataset = Synthetic(SyntheticOptions(seconds=0.1))
    (item,) = dataset.items("evaluation", separation(labels=(*STEMS, "piano")))
    assert item.references == {}


def test_another_rate_is_resampled_with_its_stems(separation: Callable[..., Signature]) -> None:
    """At 22.05 kHz, the resampled stems still sum up to the mixture."""
    dataset = Synthetic(SyntheticOptions(seconds=0.5))
    (item,) = dataset.items("evaluation", separation(rate=22050.0))
    assert item.inputs["song"].shape == (2, 11025)
    total = item.references["parts"].sum(axis=0)
    np.testing.assert_allclose(total, item.inputs["song"], atol=1e-5)
    assert "resampled" in item.notices[0].text


def test_calibration_and_evaluation_share_no_song() -> None:
    """Calibration and evaluation have different seeds, which the ids show without making a song."""
    dataset = Synthetic(SyntheticOptions(count=3, calibration_count=3))
    assert dataset.identity("evaluation") == tuple(f"synthetic:seed={n}" for n in range(3))
    assert dataset.identity("calibration") == (
        "synthetic:seed=1000",
        "synthetic:hits:seed=1001",
        "synthetic:master:seed=1002",
    )


def test_a_shorter_part_of_a_song_is_the_same_song() -> None:
    """A shorter part of a song has the song's id, so calibration on it is noticed."""
    long, short = SyntheticOptions(seed=1000), SyntheticOptions(calibration_seconds=10.0)
    shared = set(Synthetic(long).identity("evaluation"))
    assert shared & set(Synthetic(short).identity("calibration"))


def test_calibration_hears_one_piece_of_every_kind() -> None:
    """Calibration has one piece of every kind, as many as a quantizer's default windows."""
    ids = Synthetic(SyntheticOptions()).identity("calibration")
    assert len(ids) == len(set(ids)) == QdqOptions().windows
    kinds = [one.split(":")[1] for one in ids]
    assert kinds == ["seed=1000", *KINDS[1:]]


def test_a_few_windows_are_of_different_kinds(separation: Callable[..., Signature]) -> None:
    """Eight calibration items are the first eight kinds, so that FP16's windows differ."""
    options = SyntheticOptions(calibration_count=8, calibration_seconds=0.5)
    items = list(checked_items(Synthetic(options), "calibration", separation()))
    assert [item.name for item in items[:2]] == ["synthetic song 1000", "synthetic hits 1001"]
    for number, item in enumerate(items[1:], 1):
        piece = make_piece(KINDS[number], 1000 + number, 0.5)
        np.testing.assert_array_equal(piece, item.inputs["song"])
        assert item.references == {}, "only songs have stems"


def test_kinds_are_a_choice_and_follow_in_turn(separation: Callable[..., Signature]) -> None:
    """The listed calibration kinds follow in turn, and their songs keep their references."""
    options = SyntheticOptions(
        calibration_kinds=["song", "telephone"], calibration_count=3, calibration_seconds=0.1
    )
    items = list(Synthetic(options).items("calibration", separation()))
    assert [item.id for item in items] == [
        "synthetic:seed=1000",
        "synthetic:telephone:seed=1001",
        "synthetic:seed=1002",
    ]
    assert [item.inputs["song"].shape for item in items] == [(2, 4410)] * 3
    assert items[0].references["parts"].shape == (4, 2, 4410)


def test_pieces_are_resampled_to_the_model_s_rate(separation: Callable[..., Signature]) -> None:
    """Calibration pieces are resampled to the model's rate, and a notice says so."""
    options = SyntheticOptions(calibration_kinds=["noise"], calibration_count=1)
    (item,) = Synthetic(options).items("calibration", separation(rate=22050.0))
    assert item.inputs["song"].shape == (2, round(options.calibration_seconds * 22050))
    assert "resampled" in item.notices[0].text


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
        ({"calibration_kinds": []}, "`calibration_kinds` is empty: name one kind"),
        ({"calibration_kinds": ["telefone"]}, "no `telefone`: did you mean `telephone`"),
        ({"calibration_kinds": ["xyz"]}, "no `xyz`; kinds: song, hits"),
    ],
)
def test_songs_that_cannot_be_made_are_refused(values: dict[str, Any], message: str) -> None:
    """An option without sense is refused with its name and value."""
    with pytest.raises(ValueError, match=message):
        SyntheticOptions(**values)
