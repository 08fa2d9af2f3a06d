"""Reads from the verbose log of the QNN execution provider why it rejects a node.

ONNX Runtime 1.31.1 and onnxruntime-qnn 2.7.0 write, over several lines:

    [V:onnxruntime:, ... LogNodeSupport] Validation FAILED for 1 nodes in OrtNodeUnit (Erf) :
        Operator type: Erf Node name: erf1 Node index: 1
        REASON : Operators of type `Erf` are not supported by QNN EP.Erf node `erf1` will not be ...

Where the reason is `Failed to add node.`, Qualcomm's library refused the node, and gave the reason
in lines of its own before:

    [V:onnxruntime:Default, ... QnnLogging]  <E> The SocModel doesn't support FP16
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["reasons", "redirected"]

_FAILED, _LOOKED_AT = "Validation FAILED", "LogNodeSupport] Validation"
_ADDED_NOT = "Failed to add node."
#: The (de)quantisers of a graph's own inputs and outputs are always left to the CPU.
_AT_THE_ENDS = "is configured to not take"
_VENDOR = re.compile(r"QnnLogging\]\s+<E> (.*)")
_NODE = re.compile(r"Operator type: (\S+) Node name: (.*?) Node index: \d+")
_REASON = re.compile(r"REASON : (.*)")
#: The text that the provider adds to every reason, which says nothing more.
_EMPTY_WORDS = re.compile(r"\s*\w+ node `[^`]*` will not be assigned to QNN EP\.?\s*$")
#: The source file and function that the provider puts in front of a reason.
_SOURCE = re.compile(r"^\S+\.(?:cc|h):\d+ \S+ ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300


def reasons(log: str) -> dict[str, str]:
    """Return the reason for every node of `log` that was rejected; the first one counts.

    The quantised ends of a graph, which are always left to the CPU, are not included. A unit of
    several nodes (an operator with its QuantizeLinear) is rejected as one.
    """
    found: dict[str, str] = {}
    names: list[str] = []
    vendor: list[str] = []
    inside = False
    for line in _COLOUR.sub("", log).splitlines():
        node, reason, said = _NODE.search(line), _REASON.search(line), _VENDOR.search(line)
        if said:
            vendor.append(said[1].strip())
        elif _FAILED in line:
            names, inside = [], True
        elif inside and node:
            names.append(node[2])
        elif inside and reason:
            text = _SOURCE.sub("", _EMPTY_WORDS.sub("", reason[1]).strip())
            # The first of the library's lines is the cause, later ones are its consequences.
            text = vendor[0] if vendor and text == _ADDED_NOT else text
            for name in names if _AT_THE_ENDS not in text else ():
                found.setdefault(name, text[:_LONGEST] or "no reason given")
            inside, vendor = False, []
        elif _LOOKED_AT in line:
            vendor = []
    return found


@contextmanager
def redirected(log: Path) -> Iterator[None]:
    """Send what this process writes to its standard streams, C++ included, to the file `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with log.open("wb") as file:
        for number, _ in kept:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
