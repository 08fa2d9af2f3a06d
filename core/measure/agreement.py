"""Whether a compiled model computes what its graph computes: host against device, window by window.

A device that rounds in another way loses a few dB. A device whose compiler gets an operator wrong
loses a whole label, and nobody hears it here, because the host plays the whole inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.formats.tensors import stacked
from core.measure.metrics import compare, snr_db
from core.plugin.values import Notice

if TYPE_CHECKING:
    from core.plugin.values import Signature, Tensors

__all__ = ["core_agreement_db", "strayed"]

#: The SNR of a device may be this much below that of the host, in dB, or must be at least this.
LESS_DB, ENOUGH_DB = 6.0, 40.0


def core_agreement_db(host: Sequence[Tensors], device: Sequence[Tensors]) -> float:
    """Return the lowest SNR over the core's own output tensors, host against device, in dB."""
    return min(snr_db(stacked(host, name), stacked(device, name)) for name in host[0])


def strayed(
    reference: Sequence[Tensors],
    host: Sequence[Tensors],
    device: Sequence[Tensors],
    signature: Signature,
    names: tuple[str, str],
) -> tuple[Notice, ...]:
    """Return a warning if on some label the device is much further from FP32 than the host is.

    `names` are the names of host and device.
    """
    here, there = (compare(reference, outputs, signature) for outputs in (host, device))
    of_host = dict(zip(here.labels, here.per_label, strict=True))
    of_device = dict(zip(there.labels, there.per_label, strict=True))
    lost = [n for n, db in of_device.items() if db < min(of_host[n] - LESS_DB, ENOUGH_DB)]
    if not lost:
        return ()
    label = min(lost, key=lambda name: of_device[name] - of_host[name])
    found, expected = of_device[label], of_host[label]
    text = (
        f"the compiled model does not compute what its graph does: {label} has "
        f"{found:.1f} dB to FP32 on {names[1]}, and {expected:.1f} dB on {names[0]}; do not ship "
        "it like this: try another precision, or keep operators in float (quantizer.exclude=[...])"
    )
    return (Notice("warning", text),)
