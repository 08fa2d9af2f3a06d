"""Quantises a program with torchao: which operators, for whose kernels, on what data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from core import Fact, Notice, Requirement, StageError
from core.errors import did_you_mean
from core.formats.torch_export import constant, operator, pruned, quiet
from plugins.quantizer._torchao.choices import Operator, path_of
from plugins.quantizer._torchao.counting import multiplies
from plugins.quantizer._torchao.losses import Loudest, losses, noise_losses, notices_of
from plugins.quantizer._torchao.rewriting import opened, rewritten

if TYPE_CHECKING:
    import torch

__all__ = ["TORCHAO", "Quantised", "quantised"]

TORCHAO = Requirement("torchao", "pip install torchao")
#: The key under which torchao reads how an operator is quantised.
ANNOTATION = "quantization_annotation"
#: How many names a message holds.
NAMES = 8


@dataclass(frozen=True)
class Quantised:
    """A program with integers in it, opened, and the notices about it."""

    module: torch.fx.GraphModule
    facts: dict[str, Fact]
    notices: tuple[Notice, ...]


def quantised(
    program: torch.export.ExportedProgram,
    config: Any,
    operators: Sequence[Operator],
    exclude: Sequence[str],
    windows: Iterable[tuple[torch.Tensor, ...]],
    outputs: Sequence[str],
    *,
    dynamic: bool = False,
) -> Quantised:
    """Return `program` with its operators between quantisation and dequantisation, opened.

    `config` is torchao's (see `types_for`); its observers see `windows` one after the other, and
    `outputs` names the program's outputs. The operators themselves stay float ones: a runtime that
    has integer kernels fuses them. An operator whose input was zero in every window stays in
    float, with a notice. Raises StageError where there is nothing to quantise, for an `exclude`
    that fits nothing, and for a layer that computes NaN.
    """
    import torch

    module = rewritten(opened(program))
    chosen = _chosen(module, operators, exclude)
    weights = {node.name: constant(module, node.args[1]) for node in _named(module, chosen)}
    loudest = Loudest()
    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        prepared = prepare_pt2e(module, _placement(set(chosen), config))
        for arguments in windows:
            prepared(*arguments)
            loudest.add(arguments)
        unseen = [] if dynamic else _left_in_float(prepared, chosen)
        result = pruned(convert_pt2e(prepared))
        if dynamic:
            found = noise_losses(result, chosen, weights)
        else:
            found = losses(program, result, chosen, weights, loudest, outputs)
    notices = notices_of(found)
    if unseen:
        text = (
            f"{', '.join(f'`{name}`' for name in unseen[:NAMES])}: read nothing but zeros in all "
            "calibration windows, so the range is unknown; kept in float"
        )
        notices = (*notices, Notice("warning", text))
    facts: dict[str, Fact] = {"weakest_layers": [str(one) for one in found.weakest]}
    return Quantised(result, facts, notices)


def _chosen(
    module: torch.fx.GraphModule, operators: Sequence[Operator], exclude: Sequence[str]
) -> dict[str, str]:
    """Return the nodes to quantise, by name with their paths: those whose weights are constant."""
    wanted = {one.value for one in operators}
    able = [node for node in module.graph.nodes if operator(node) in wanted]
    paths = {node.name: path_of(node) for node in able if _fits(module, node)}
    if not paths:
        raise _nothing(module, wanted)
    left: set[str] = set()
    for pattern in exclude:
        hits = {name for name, path in paths.items() if fnmatchcase(path, pattern)}
        if not hits:
            raise StageError(
                f"`exclude` names `{pattern}`, which matches no operator that can be quantised",
                did_you_mean(pattern, paths.values()),
                f"some that can be quantised: {', '.join(list(paths.values())[:NAMES])}",
            )
        left |= hits
    if left == set(paths):
        raise StageError(
            "nothing is left to quantise: `exclude` names every operator that could be quantised",
            f"operators: {len(paths)}",
            "shorten `exclude`, or keep the program in float: quantizer=none",
        )
    return {name: path for name, path in paths.items() if name not in left}


def _fits(module: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Return whether torchao can quantise a node: FP32, of weights that are constant and finite."""
    import torch

    window: Any = node.args[0]
    matrix: Any = node.args[1]
    if matrix.op != "get_attr" or window.op == "get_attr":
        return False
    weight, value = constant(module, matrix), window.meta["val"]
    return (
        weight.dtype is value.dtype is torch.float32
        and weight.numel() > 0
        and value.numel() > 0
        and bool(weight.isfinite().all())
    )


def _nothing(module: torch.fx.GraphModule, wanted: set[str]) -> StageError:
    """Return the error for a program without an operator that can be quantised."""
    others = [f"`{path_of(n)}` ({operator(n)})" for n in module.graph.nodes if multiplies(n)]
    more = f" and {len(others) - NAMES} more" if len(others) > NAMES else ""
    return StageError(
        "the program has nothing to quantise: no "
        f"{' or '.join(sorted(wanted))} with constant weights in FP32",
        f"its multiplications: {', '.join(others[:NAMES]) or 'none'}{more}",
        "only these operators have integer kernels in PyTorch",
        "keep it in float (quantizer=none), or take 16 bits: precision=bf16",
    )


def _named(module: torch.fx.GraphModule, names: Iterable[str]) -> list[Any]:
    wanted = set(names)
    return [node for node in module.graph.nodes if node.name in wanted]


def _placement(chosen: set[str], config: Any) -> Any:
    """Return the quantizer that makes torchao quantise the nodes `chosen`, inputs and weights.

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
            """Accept the placement: it was made for this very graph."""

    return Placement()


def _left_in_float(prepared: torch.fx.GraphModule, chosen: dict[str, str]) -> list[str]:
    """Remove nodes whose input was always zero from `chosen`, and remove their observers.

    Returns their paths. Raises StageError for an input that was NaN, and where no node is left.
    """
    import torch

    left: list[str] = []
    for node in _named(prepared, chosen):
        observer: Any = prepared.get_submodule(str(node.args[0].target))
        least, most = observer.min_val, observer.max_val
        if torch.isnan(least) or torch.isnan(most):
            raise StageError(
                f"`{chosen[node.name]}` reads NaN for finite calibration data, "
                f"so it has no range: node `{node.name}`",
                "the float program computes NaN there as well: a softmax over a fully "
                "masked row, a logarithm or a root of a negative number",
                "fix the module, or leave the layer in float: "
                f"quantizer.exclude=[{chosen[node.name]}]",
            )
        if float(least) >= 0 >= float(most) or float(least) > float(most):
            left.append(chosen.pop(node.name))
            for observed in node.args[:2]:
                node.replace_input_with(observed, observed.args[0])
    if not chosen:
        raise StageError(
            "every layer that could be quantised reads nothing but zeros in the calibration data",
            f"layers: {', '.join(left[:NAMES])}",
            "calibrate on data that is not silent there: calibration=<dataset>",
        )
    if left:
        prepared.graph.eliminate_dead_code()
        prepared.recompile()
    return left
