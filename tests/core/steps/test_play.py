"""What is measured over a whole input, and what is not said of a machine that did not tell."""

from __future__ import annotations

from core import Artifact
from core.machine.machine_load import Load
from core.measure.metrics import HIGH, LOW
from core.steps.evaluate import _speed
from core.steps.play import _under_load


def played(**facts: object) -> Artifact:
    known = {"seconds": [0.5, 0.5], "covered_s": 2.0, **facts}
    return Artifact("", "", "tensors", "fp32", "", 0, facts=known)  # type: ignore[arg-type]  # facts


def test_memory_is_measured_where_the_model_ran() -> None:
    """The memory of this machine is no metric for a device elsewhere."""
    metrics = _speed(played(peak_memory_mb=80.0), "CPU")
    here = {metric.name: metric.value for metric in metrics if metric.statistic not in (LOW, HIGH)}
    assert here == {"latency": 500.0, "real_time_factor": 0.5, "peak_memory": 80.0}
    assert {m.name for m in _speed(played(), "a phone")} == {"latency", "real_time_factor"}


def test_a_device_that_keeps_no_time_has_no_latency() -> None:
    """A device without times gets no latency from this machine's clock."""
    assert _speed(played(seconds=[]), "a phone") == []


def test_a_time_under_load_says_so() -> None:
    """Load is reported with a time; a quiet machine and an unknown load give no note."""
    (notice,) = _under_load(Load(0.9, 2, heavy=True))
    assert notice.severity == "warning"
    assert "measured under load: other processes kept 0.9 of 2 cores busy" in notice.text
    assert _under_load(Load(0.1, 2, heavy=False)) == []
    assert _under_load(None) == []
