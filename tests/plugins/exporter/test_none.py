"""The exporter `none`."""

from __future__ import annotations

from core import ArtifactSpec
from plugins.exporter.none import NoExport


def test_the_torch_module_is_passed_on() -> None:
    """The stage never runs, asks for no windows, and what came in goes out."""
    exporter = NoExport(NoExport.Options())
    assert exporter.passes
    assert exporter.dynamic
    assert exporter.plan(ArtifactSpec("torch")) == ArtifactSpec("torch")
