"""Exports nothing: for a runtime that plays the torch module itself."""

from __future__ import annotations

from core import Exporter, NoOptions, StageContext, StageResult, Tensors, TorchModel, hookimpl


class NoExport(Exporter[NoOptions]):
    """Leaves the torch module as it is, for the runtime `torch`."""

    name = "none"
    passes = True

    @property
    def dynamic(self) -> bool:
        """Return True: a torch module takes windows of any length."""
        return True

    def run(
        self,
        model: TorchModel,  # the kind's signature, here and below
        feeds: Tensors,
        work: StageContext,
    ) -> StageResult:
        """Never called, whatever it is given: the stage passes its input on."""
        raise TypeError("exporter `none` passes its input on and is never run")


@hookimpl
def luthier_plugins() -> list[type[NoExport]]:
    """Return the plugin of this file."""
    return [NoExport]
