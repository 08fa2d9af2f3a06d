"""Numbers beside the stages have bounds on both sides, for a recipe may be anybody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.settings import Batch, Fit, Measure, Sweep
from tests.conftest import Command


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Measure, "budget_windows"), (Measure, "probe_windows"), (Measure, "worst_tensors"),
        (Fit, "shortest"), (Fit, "longest"), (Fit, "step"), (Fit, "calibration_windows"),
        (Batch, "workers"), (Batch, "retries"), (Sweep, "retries"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [-1, 10**12])
def test_a_number_has_two_ends(kind: type, name: str, value: int) -> None:
    """Numbers have a lower and an upper limit: a billion windows would be compared for years."""
    with pytest.raises(ValueError, match=f"`{name}` cannot be {value}; give"):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("contract.min_snr_db=nan", "`contract.min_snr_db` is no number"),
        ("ladder=[fine,fine]", "`ladder` names `fine` twice"),
    ],
)
def test_what_would_hold_anything_or_never_end_is_refused(
    command: Command, recipe: Path, word: str, said: str
) -> None:
    """A NaN bound, which nothing would exceed, and a ladder with a precision twice are refused."""
    done = command(f"recipe={recipe}", word)
    assert done.code == 2
    assert said in done.err
