"""Writes a program anew in 16-bit floats, as PyTorch's autocast chooses, and FP32 where it must."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from core import StageError
from core.formats.torch_export import operator, pruned, quiet, zeros
from plugins.quantizer._torchao.constants import fold_constants

if TYPE_CHECKING:
    import torch

__all__ = ["halved"]

#: An operator that only checks the type of a tensor.
GUARD = "_assert_tensor_metadata"
#: Operators whose type the export predicts wrongly under autocast (torch 2.13.0), and then checks.
MISTAKEN = frozenset({"rnn_relu", "rnn_tanh"})


def halved(
    program: torch.export.ExportedProgram,
    module: torch.fx.GraphModule,
    dtype: torch.dtype,
    kept: Collection[str],
) -> tuple[torch.fx.GraphModule, list[str]]:
    """Return `module`, the opened `program`, in `dtype`, and the nodes that do not accept it.

    PyTorch decides per operator (`torch.autocast`): convolutions, products and attention take 16
    bits, and later operators compute in the type that reaches them. The nodes `kept` stay in FP32,
    and so do those that cannot compute in 16 bits: a mask beyond their numbers, an operator that
    wants all of one type. Inputs and outputs keep their types. Raises StageError for a node that
    does not compute in FP32 either.
    """
    import torch

    given = zeros(program)
    with quiet(), torch.no_grad():
        unable = _unable(module, dtype, kept, given)
        core = _core(program, module, dtype, {*kept, *unable})
        cast = torch.export.export(core, given)
        # Writes the casts out, operator by operator, and leaves everything else as it is.
        result = cast.run_decompositions({}).module(check_guards=False)
    assert isinstance(result, torch.fx.GraphModule)
    for node in list(result.graph.nodes):
        if operator(node) == GUARD:
            result.graph.erase_node(node)
    fold_constants(result)
    return pruned(result), unable


def _unable(
    module: torch.fx.GraphModule,
    dtype: torch.dtype,
    kept: Collection[str],
    given: Sequence[torch.Tensor],
) -> list[str]:
    """Return the nodes that fail in 16 bits: their kernels are called, on zeros.

    The branches of a condition must agree in their types, whichever is taken; they stay in FP32.
    """
    import torch

    found: list[str] = []

    class Trying(_runner(dtype, kept)):  # type: ignore[misc]  # a class that is made of torch's
        def run_node(self, n: torch.fx.Node) -> Any:
            branches = isinstance(n.target, torch._ops.HigherOrderOperator)  # noqa: SLF001  # torch has no public name for it
            try:
                if not branches and operator(n) not in MISTAKEN:
                    return super().run_node(n)
            except StageError:
                raise
            except Exception:  # whatever an operator raises for types that it does not take
                branches = True
            found.append(n.name)
            return self.in_float(n)

    Trying(module).run(*given)
    return found


def _runner(dtype: torch.dtype, kept: Collection[str]) -> Any:
    """Return the interpreter that runs a program in `dtype` under autocast, `kept` in FP32."""
    import torch

    class Runner(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            if n.op != "call_function":
                return super().run_node(n)
            if operator(n) == GUARD:
                return None  # it guards a type that has changed
            if n.name in kept:
                return self.in_float(n)
            with torch.autocast("cpu", dtype):
                return super().run_node(n)

        def in_float(self, n: torch.fx.Node) -> Any:
            found: Any = torch.fx.node.map_aggregate(self.fetch_args_kwargs_from_env(n), _widened)
            try:
                with torch.autocast("cpu", enabled=False):
                    return n.target(*found[0], **found[1])  # type: ignore[operator]  # an operator
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
                raise StageError(
                    f"the node `{n.name}` ({operator(n)}) can compute neither in 16 bits nor in "
                    "FP32 among nodes in 16 bits",
                    reason[:200],
                    "keep the program in float (quantizer=none), or take 8 bits: "
                    "precision=torch_int8",
                ) from error

    return Runner


def _core(
    program: torch.export.ExportedProgram,
    module: torch.fx.GraphModule,
    dtype: torch.dtype,
    kept: Collection[str],
) -> torch.nn.Module:
    """Return a module that runs `module` in `dtype` and gives the types of `program`."""
    import torch

    runner = _runner(dtype, kept)
    types = [node.meta["val"].dtype for node in _outputs(program)]

    class Core(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            out = runner(self.inner, garbage_collect_values=False).run(*given)
            tensors = torch.utils._pytree.tree_leaves(out)  # noqa: SLF001  # torch has no public name for it
            return tuple(
                tensor.to(wanted) if tensor.is_floating_point() else tensor
                for tensor, wanted in zip(tensors, types, strict=True)
            )

    # The inputs of the new program are called as those of the old one.
    names = ("self", *program.graph_signature.user_inputs)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(str(name), kind) for name in names]
    Core.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return Core()


def _widened(value: Any) -> Any:
    """Return a tensor of 16-bit floats in FP32; anything else as it is.

    While a program is captured, a tensor that will have 16 bits shows FP32: autocast acts later.
    """
    import torch

    narrow = (torch.float16, torch.bfloat16, torch.float32)
    if isinstance(value, torch.Tensor) and value.dtype in narrow:
        return value.to(torch.float32)
    return value


def _outputs(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    names = program.graph_signature.user_outputs
    nodes = {node.name: node for node in program.graph.nodes}
    return [nodes[str(name)] for name in names]
