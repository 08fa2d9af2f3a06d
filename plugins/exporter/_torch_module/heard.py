"""Keeps PyTorch's output during an export off the terminal, and passes it to the errors."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest import mock

from core.formats.torch_export import quiet
from plugins.exporter._torch_module.frames import Frame, is_users

__all__ = ["Heard", "heard"]


@dataclass
class Heard:
    """What PyTorch said: the graph that it could not write, and lines recorded as constants."""

    graph: str = ""
    constants: list[Frame] = field(default_factory=list)


@contextlib.contextmanager
def heard() -> Iterator[Heard]:
    """Yield an object that records PyTorch's messages while the block captures a module.

    The TorchScript-based exporter of torch 2.13 prints its graph when it fails, whatever `verbose`
    says, and only that graph names the place in the module. It warns about every value of a
    tensor that it takes for a constant, most of which are lengths. torch.export prints a graph to
    standard error. Nobody can act on any of it, unless the export fails.
    """
    import torch
    from torch.jit._trace import TracerWarning

    said = Heard()

    def note(*parts: object) -> None:
        said.graph += "".join(map(str, parts))

    with (
        quiet(),
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stderr(io.StringIO()),
        mock.patch.object(torch._C, "_jit_onnx_log", note, create=True),  # noqa: SLF001  # its own
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TracerWarning)
        try:
            yield said
        finally:
            places = (Frame.at(w.filename, w.lineno) for w in warned if is_users(w.filename))
            said.constants += dict.fromkeys(places)
