"""Quantises nothing: the graph stays as it was exported."""

from __future__ import annotations

from core import Artifact, Calibration, NoOptions, Quantizer, StageContext, StageResult, hookimpl


class NoQuantizer(Quantizer[NoOptions]):
    """Leaves the precision as it is."""

    name = "none"
    passes = True

    def run(
        self,
        artifact: Artifact,  # the kind's signature, here and below
        calibration: Calibration,
        work: StageContext,
    ) -> StageResult:
        """Never called: the stage passes its input on."""
        raise TypeError("quantizer `none` passes its input on and is never run")


@hookimpl
def luthier_plugins() -> list[type[NoQuantizer]]:
    """Return the plugin of this file."""
    return [NoQuantizer]
