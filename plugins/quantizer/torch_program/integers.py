"""Quantises a program with torchao: which operators, with whose types, on what data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from core import Library, StageError
from core.errors import did_you_mean
from core.torch_program import operator, pruned, quiet
from plugins.quantizer.torch_program.choices import Backend, Operator
from plugins.quantizer.torch_program.constants import fold_constants

if TYPE_CHECKING:
    import torch

__all__ = ["TORCHAO", "quantised", "types_for"]

TORCHAO = Library("torchao", "pip install torchao")
#: The key under which torchao reads what becomes of an operator.
ANNOTATION = "quantization_annotation"


def quantised(
    program: torch.export.ExportedProgram,
    config: Any,
    operators: Sequence[Operator],
    exclude: Sequence[str],
    windows: Iterable[tuple[torch.Tensor, ...]] = (),
) -> torch.fx.GraphModule:
    """Return `program` with its operators between quantisation and dequantisation, opened.

    `config` is torchao's (see `types_for`), whose observers see `windows` one after the other.
    The operators themselves stay float ones: a runtime that has integer kernels fuses them.
    Raises StageError where there is nothing to quantise, or for an `exclude` that fits nothing.
    """
    import torch

    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    fold_constants(module)
    chosen = _chosen(module, operators, exclude)
    with quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        prepared = prepare_pt2e(module, _placement(chosen, config))
        with torch.no_grad():
            for arguments in windows:
                prepared(*arguments)
        return pruned(convert_pt2e(prepared))


def types_for(backend: Backend, *, dynamic: bool, reduce_range: bool = False) -> Any:
    """Return torchao's types and observers for a back end.

    x86: activations uint8, weights int8 per channel; ARM: both int8, per tensor.
    """
    with quiet():
        from torchao.quantization.pt2e.quantizer import arm_inductor_quantizer as arm
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    if backend.here is Backend.arm:
        return arm.get_default_arm_inductor_quantization_config(is_dynamic=dynamic)
    return x86.get_default_x86_inductor_quantization_config(
        is_dynamic=dynamic, reduce_range=reduce_range
    )


def _chosen(
    module: torch.fx.GraphModule, operators: Sequence[Operator], exclude: Sequence[str]
) -> set[str]:
    """Return the names of the nodes to quantise: those whose weights are constant."""
    wanted = {one.value for one in operators}
    paths = {
        node.name: _path(node)
        for node in module.graph.nodes
        if operator(node) in wanted and node.args[1].op == "get_attr"
    }
    if not paths:
        raise StageError(
            f"the program has nothing to quantise: no {' or '.join(sorted(wanted))} with weights",
            "only these operators have integer kernels in PyTorch",
            "keep it in float (quantizer=none), or take 16 bits: precision=bf16",
        )
    left: set[str] = set()
    for pattern in exclude:
        hits = {name for name, path in paths.items() if fnmatchcase(path, pattern)}
        if not hits:
            raise StageError(
                f"`exclude` names `{pattern}`, which fits no operator that can be quantised",
                did_you_mean(pattern, paths.values()),
                f"some that can be: {', '.join(list(paths.values())[:8])}",
            )
        left |= hits
    if left == set(paths):
        raise StageError(
            "nothing is left to quantise: `exclude` names every operator that could be",
            f"operators: {len(paths)}",
            "shorten `exclude`, or keep the program in float: quantizer=none",
        )
    return set(paths) - left


def _path(node: torch.fx.Node) -> str:
    """Return where in the module an operator comes from, such as `model.encoder.0.conv`."""
    stack = node.meta.get("nn_module_stack") or {"": ("", "")}
    path = str(list(stack.values())[-1][0])
    # Below a method other than `forward`, the path names the call as well: `block@1`.
    return path.partition("@")[0] or node.name


def _placement(chosen: set[str], config: Any) -> Any:
    """Return what tells torchao to quantise the nodes `chosen`, their inputs and weights.

    Its own quantizers for the two back ends find neither one-dimensional convolutions nor the
    matrices of attention, so only their types are taken.
    """
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, Quantizer

    class Placement(Quantizer):  # type: ignore[misc]  # torchao ships no types
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.nodes:
                if node.name in chosen:
                    given = {
                        node.args[0]: config.input_activation,
                        node.args[1]: config.weight,
                    }
                    node.meta[ANNOTATION] = QuantizationAnnotation(given, _annotated=True)
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            """Accept the placement: it was made for the very graph."""

    return Placement()
