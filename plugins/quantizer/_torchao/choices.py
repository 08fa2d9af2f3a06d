"""Chooses what is quantised, for whose kernels, and which nodes an option names."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from core import StageError
from core.errors import did_you_mean
from core.formats.torch_export import operator

if TYPE_CHECKING:
    import torch

__all__ = ["Backend", "Operator", "matching", "path_of"]

#: The processors of the back end `x86`, as `platform.machine()` calls them.
X86 = ("x86_64", "AMD64")


class Operator(Enum):
    """Operators that can be quantised."""

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


def path_of(node: torch.fx.Node) -> str:
    """Return where in the module an operator comes from, such as `model.encoder.0.conv`."""
    stack = node.meta.get("nn_module_stack") or {"": ("", "")}
    path = str(list(stack.values())[-1][0])
    # Below a method other than `forward`, the path also names the call: `block@1`.
    return path.partition("@")[0] or node.name


def matching(module: torch.fx.GraphModule, patterns: Sequence[str], option: str) -> set[str]:
    """Return the names of the nodes that patterns fit: operators, node names or module paths.

    Raises StageError, naming `option`, for a pattern that fits none.
    """
    found: set[str] = set()
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    for pattern in patterns:
        hits = {
            node.name
            for node in nodes
            if any(fnmatchcase(it, pattern) for it in (operator(node), node.name, path_of(node)))
        }
        if not hits:
            known = dict.fromkeys(name for n in nodes for name in (operator(n), path_of(n)))
            raise StageError(
                f"`{option}` names `{pattern}`, which matches no operator of the program",
                did_you_mean(pattern, known),
                f"some of its operators: {', '.join(list(known)[:8])}",
            )
        found |= hits
    return found
