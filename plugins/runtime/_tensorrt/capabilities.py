"""Compute capabilities: which the libraries build for, and which precision a GPU of each runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["LEAST", "RTX", "enum_name", "parsed", "too_old"]

#: The capabilities that TensorRT-RTX 1.7.1 names (`ComputeCapability`): Turing, Ampere, Ada and
#: Blackwell. It has none for Hopper (9.0) nor for the data centre's Blackwell (10.0).
RTX = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
#: The first capability whose GPUs have the type. TensorRT-RTX 1.7.1 refuses the earlier ones with
#: "the model contains HW-specific datatypes"; FP16 and INT8 built for all of `RTX`.
LEAST: Mapping[str, str] = {"bf16": "8.0", "int4": "8.0", "fp8": "8.9"}
_FORM = re.compile(r"\d{1,2}\.\d")


def parsed(capability: str) -> tuple[int, int]:
    """Return the two parts of a capability such as `8.9`; raises ValueError for another form."""
    if not _FORM.fullmatch(capability):
        raise ValueError(
            f"`compute_capabilities` holds `{capability}`; give versions such as 8.9, one for each "
            "sort of GPU"
        )
    major, minor = capability.split(".")
    return int(major), int(minor)


def enum_name(capability: str) -> str:
    """Return the library's name of a capability: `SM89` for `8.9`."""
    return "SM{}{}".format(*parsed(capability))


def too_old(precision: str, capabilities: Sequence[str]) -> list[str]:
    """Return the capabilities whose GPUs lack the type of `precision`."""
    least = parsed(LEAST.get(precision, "0.0"))
    return [capability for capability in capabilities if parsed(capability) < least]
