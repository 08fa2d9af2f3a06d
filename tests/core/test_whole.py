"""What is measured over a whole input, and what is not said of a machine that did not tell."""

from __future__ import annotations

from core.values import Artifact
from core.whole import _speed


def played(**facts: object) -> Artifact:
    known = {"seconds": [0.5, 0.5], "covered_s": 2.0, **facts}
    return Artifact("", "", "tensors", "fp32", "", 0, facts=known)  # type: ignore[arg-type]  # facts


def test_memory_is_measured_where_the_model_ran() -> None:
    """This machine's memory says nothing about a device elsewhere: then there is no metric."""
    here = {metric.name: metric.value for metric in _speed(played(peak_memory_mb=80.0), "CPU")}
    assert here == {"latency": 500.0, "real_time_factor": 0.5, "peak_memory": 80.0}
    assert {m.name for m in _speed(played(), "a phone")} == {"latency", "real_time_factor"}


def test_a_device_that_keeps_no_time_has_no_latency() -> None:
    """No clock of this machine stands in for it."""
    assert _speed(played(seconds=[]), "a phone") == []
