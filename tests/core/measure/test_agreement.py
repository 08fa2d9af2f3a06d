"""A compiled model that computes something else is told of, one that rounds its own way is not."""

from __future__ import annotations

import numpy as np
import pytest

from core import Signature, TensorSpec
from core.measure.agreement import core_agreement_db, strayed

STEMS = TensorSpec("stems", ("label", "time"), (2, 4000), labels={"label": ("drums", "bass")})
SIGNATURE = Signature((), (STEMS,))
RANDOM = np.random.default_rng(0)
REFERENCE = RANDOM.standard_normal((2, 4000)).astype(np.float32)


def _windows(*errors_db: float) -> list[dict[str, np.ndarray]]:
    """Return one window in which each label is off by so many dB."""
    noise = RANDOM.standard_normal(REFERENCE.shape)
    gains = 10 ** (-np.array(errors_db)[:, None] / 20)
    return [{"stems": (REFERENCE + gains * noise).astype(np.float32)}]


def _told(host: tuple[float, float], device: tuple[float, float]) -> str:
    given = [{"stems": REFERENCE}], _windows(*host), _windows(*device)
    return " ".join(notice.text for notice in strayed(*given, SIGNATURE, ("a CPU", "an NPU")))


def test_the_worst_label_is_named_with_both_figures() -> None:
    """The worst label is named with both SNRs, even where other labels are as good as before."""
    text = _told((42, 42), (41, 11))
    assert "bass has 11." in text or "bass has 10.9" in text
    assert "on an NPU" in text
    assert "on a CPU" in text
    assert "do not ship" in text


def test_a_lost_label_is_not_hidden_by_one_that_fell_further() -> None:
    """A fall from 130 to 45 dB is rounding, one from 40 to 0 dB is a lost label."""
    text = _told((130, 40), (45, 0))
    assert "bass has " in text
    assert "drums" not in text


@pytest.mark.parametrize(
    ("host", "device"),
    [((42, 42), (38, 37)), ((128, 128), (62, 58)), ((14, 20), (13, 18)), ((30, 30), (200, 200))],
    ids=["its own rounding", "in FP16", "coarse in both", "better"],
)
def test_what_rounds_its_own_way_is_fine(
    host: tuple[float, float], device: tuple[float, float]
) -> None:
    """A device may lose a few dB, or any number of dB above those that anybody would miss."""
    assert not _told(host, device)


def test_the_agreement_is_that_of_the_worst_output() -> None:
    """The agreement compares host and device at the worst output, whatever both lose to FP32."""
    host = [{"a": REFERENCE, "b": REFERENCE}]
    device = [{"a": REFERENCE, "b": REFERENCE * np.float32(1.1)}]
    assert core_agreement_db(host, device) == pytest.approx(20, abs=0.1)
