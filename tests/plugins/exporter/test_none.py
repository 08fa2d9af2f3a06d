"""The exporter `none`."""

from __future__ import annotations

from core import ArtifactSpec
from plugins.exporter.none import NoExport


def test_the_torch_module_is_passed_on() -> None:
    """The exporter `none` runs no stage, needs no windows, and passes the torch module on."""
    exporter = NoExport(NoExport.Options())
    assert exporter.passes
    assert exporter.dynamic
    assert exporter.plan(ArtifactSpec("torch")) == ArtifactSpec("torch")
