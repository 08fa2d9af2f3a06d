"""Every extra of pyproject.toml is tried by `make bench-extras`, and has a row."""

from __future__ import annotations

from typing import Any

from tools import extras_page
from tools.bench_extras import TRIALS, UNTRIED, extras


def test_every_extra_is_tried_or_says_why_not() -> None:
    """A new extra needs a command that uses it, or the reason why none can."""
    assert sorted([*TRIALS, *UNTRIED]) == sorted(extras())
    assert sorted(extras_page.BRINGS) == sorted(extras())


def test_a_row_says_how_its_trial_ended() -> None:
    """Trials that failed, were refused as expected, or were not made differ in their rows."""
    row: dict[str, Any] = {
        "mb": 15.7,
        "packages": 1,
        "commands": ["python -m core recipe=cpu_fp32"],
    }
    rows = {
        "optuna": row | {"code": 0, "as_expected": True},
        "webgpu": row | {"code": 1, "as_expected": True},
        "ray": row | {"code": 0, "as_expected": False},
        "tensorrt": {"untried": "no index"},
    }
    outcomes = {name: extras_page.outcome({"rows": [row]}) for name, row in rows.items()}
    assert outcomes["optuna"] == ("1", "16", "`recipe=cpu_fp32`")
    assert outcomes["webgpu"][2].startswith("`recipe=cpu_fp32`: ends with")
    assert outcomes["ray"][2] == "`recipe=cpu_fp32`: failed"
    assert outcomes["tensorrt"] == ("-", "-", "not installed here: no index")
    assert extras_page.outcome(None)[2] == "not tried yet"
