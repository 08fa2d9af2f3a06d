"""Proves that an exported graph computes what the torch module computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import StageError
from core.measure import snr_db
from core.onnx_cpu import session_options
from plugins.exporter.graph_file.axes import free_axes

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from core import TorchModel
    from core.values import Array, Tensors

__all__ = ["arguments_of", "check_same", "halved", "torch_outputs", "verify", "verify_shorter"]


def arguments_of(model: TorchModel, feeds: Tensors) -> tuple[torch.Tensor, ...]:
    """Return the inputs of `model.core` in order, and put it into its mode for inference.

    Raises StageError for one that the dsp does not give.
    """
    import torch

    missing = [name for name in model.info.core_inputs if name not in feeds]
    if missing:
        raise StageError(
            f"the dsp gives no `{missing[0]}`, which the model's core takes",
            f"the core takes: {', '.join(model.info.core_inputs)}",
            f"the dsp gives: {', '.join(feeds) or 'nothing'}",
        )
    model.core.eval()
    return tuple(torch.from_numpy(feeds[name]) for name in model.info.core_inputs)


def verify(path: Path, expected: Tensors, feeds: Tensors, tolerance_db: float) -> float:
    """Return the lowest SNR in dB over all outputs, of ONNX Runtime's CPU against `expected`.

    `expected` is what `model.core` gives for `feeds`. Raises StageError, naming the worst output,
    when that is below `tolerance_db`.
    """
    return check_same(expected, _graph_outputs(path, feeds), "ONNX Runtime's CPU", tolerance_db)


def check_same(expected: Tensors, actual: Tensors, player: str, tolerance_db: float) -> float:
    """Return the lowest SNR in dB over all outputs; `player` says in words what gave `actual`.

    Raises StageError, naming the worst output, when that is below `tolerance_db`, or for an
    output of another shape.
    """
    worst_db, worst = float("inf"), ""
    for name, reference in expected.items():
        if actual[name].shape != reference.shape:
            raise StageError(
                f"the exported graph gives output `{name}` another shape than PyTorch",
                f"graph: {'×'.join(map(str, actual[name].shape))}",
                f"PyTorch: {'×'.join(map(str, reference.shape))}",
                "try the other exporter: exporter=onnx or exporter=onnx_dynamo",
            )
        worst_db, worst = min((worst_db, worst), (snr_db(reference, actual[name]), name))
    if worst_db < tolerance_db:
        raise StageError(
            f"the exported graph does not compute what PyTorch does: output `{worst}` has "
            f"{worst_db:.1f} dB SNR, below {tolerance_db:g} dB",
            f"measured: example inputs, {player} against the torch module in FP32",
            "a branch on values, a random number or a cache in the model is traced as a constant",
            "try the other exporter, or accept less: exporter.tolerance_db=...",
        )
    return worst_db


def verify_shorter(
    path: Path, model: TorchModel, feeds: Tensors, tolerance_db: float
) -> float | None:
    """Return the lowest SNR in dB over all outputs at half the length of the example.

    None where the module itself does not take half, so that there is nothing to compare with.
    Raises StageError where the module takes it and the graph does not, or computes otherwise.
    """
    half = halved(model, feeds)
    try:
        expected = torch_outputs(model, half)
    except Exception:  # a module may raise anything for a length that it does not take
        return None
    try:
        return verify(path, expected, half, tolerance_db)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise StageError(
            "the exported graph works at one length only, though `dynamic` is true",
            f"at half the length of the example: {reason[:200]}",
            "the tracer wrote a length of the example into the graph as a constant",
            "cut the inputs into windows of one length: exporter.dynamic=false chunker=overlap_add",
        ) from error


def halved(model: TorchModel, feeds: Tensors) -> dict[str, Array]:
    """Return the feeds with every free axis halved, rounded up.

    Inputs of one window stay inputs of one window: of `T` samples and `ceil(T / hop)` frames,
    the halves still have `ceil(samples / hop)` frames.
    """
    import numpy as np

    half = {}
    for name, array in feeds.items():
        free = free_axes(name, model.info.signature.inputs, array.ndim)
        cut = tuple(
            slice(-(-length // 2) if axis in free else None)
            for axis, length in enumerate(array.shape)
        )
        half[name] = np.ascontiguousarray(array[cut])
    return half


def torch_outputs(model: TorchModel, feeds: Tensors) -> dict[str, Array]:
    """Return the outputs of `model.core` by name; raises StageError when they are not as many."""
    import torch

    with torch.no_grad():
        outputs = model.core(*(torch.from_numpy(feeds[name]) for name in model.info.core_inputs))
    tensors = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    names = model.info.core_outputs
    if len(tensors) != len(names):
        raise StageError(
            f"the model's core gives {len(tensors)} output(s), but names {len(names)}",
            f"names: {', '.join(names)}",
        )
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}


def _graph_outputs(path: Path, feeds: Tensors) -> dict[str, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), sess_options=session_options(), providers=["CPUExecutionProvider"]
    )
    # An input that does not reach an output is not in the graph.
    known = {i.name: feeds[i.name] for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, known), strict=True))
