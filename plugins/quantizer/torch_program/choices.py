"""What can be quantised, and for whose kernels."""

from __future__ import annotations

import platform
from enum import Enum

__all__ = ["Backend", "Operator"]

#: The processors of the back end `x86`, as `platform.machine()` calls them.
X86 = ("x86_64", "AMD64")


class Operator(Enum):
    """What can be quantised."""

    conv1d = "conv1d"
    conv2d = "conv2d"
    linear = "linear"


class Backend(Enum):
    """Whose integer kernels a program is for."""

    auto = "auto"
    x86 = "x86"
    arm = "arm"

    @property
    def here(self) -> Backend:
        """Return the back end of this machine in place of `auto`."""
        if self is not Backend.auto:
            return self
        return Backend.x86 if platform.machine() in X86 else Backend.arm
