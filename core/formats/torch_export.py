"""Reads, writes and edits `torch.export` programs (`.pt2`), for plugins of several kinds."""

from __future__ import annotations

import importlib
import json
import logging
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import InputError, StageError
from core.formats.torch_archive import check_stored

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from core.plugin.values import Fact, Row

__all__ = [
    "constant",
    "describe",
    "functional",
    "load",
    "operator",
    "operators",
    "pruned",
    "quiet",
    "save",
    "zeros",
]

#: Entries of an archive, bytes of its graph as JSON and of other descriptions. HTDemucs has 600
#: entries, and a graph of 3 MB.
_MOST_ENTRIES, _LONGEST_GRAPH, _LONGEST_DESCRIPTION = 50_000, 256 * 2**20, 16 * 2**20


def save(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write `program` without its example inputs, and without the paths of the code it came from.

    So equal programs give equal files, and no file reveals where somebody's sources lie. Operators
    keep the names of the modules that they belong to.
    """
    import torch

    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for note in ("stack_trace", "from_node"):
                    node.meta.pop(note, None)
    program.example_inputs = None
    with quiet():
        torch.export.save(program, path)


def load(path: Path) -> torch.export.ExportedProgram:
    """Read a program; raises InputError for one that would have to be unpickled.

    torch 2.13's `torch.export.load` reads graphs as JSON and tensors as plain bytes, but unpickles
    without restriction whatever an archive declares as pickled, and example inputs that it cannot
    read otherwise. `save` writes neither, so an archive that holds any was made elsewhere.
    """
    import torch

    # Registers the operators that quantise and dequantise, which a program may name.
    importlib.import_module("torch.ao.quantization.fx._decomposed")
    _check_plain(path)
    try:
        with quiet():
            return torch.export.load(path)
    except Exception as error:  # it raises whatever its parts raise
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise InputError(
            f"`{path.name}` is no program that PyTorch {torch.__version__} reads",
            f"at: {path}",
            reason[:200],
            "export it again: exporter=torch_export",
        ) from error


def _check_plain(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            check_stored(archive, path, _MOST_ENTRIES)
            _check_descriptions(archive)
            pickled = list(_pickled(archive))
    except (
        OSError,
        ValueError,  # of JSON too
        KeyError,
        TypeError,
        AttributeError,
        NotImplementedError,  # a kind of compression, or a version, that Python does not know
        RuntimeError,  # an entry under a password; RecursionError is one of these
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"`{path.name}` is no archive of a torch program: {error}",
            f"at: {path}",
            "export it again: exporter=torch_export",
        ) from error
    if pickled:
        raise InputError(
            f"`{path.name}` holds pickled objects, which could run any code: {pickled[0]}",
            f"at: {path}",
            "use a program that Luthier made: exporter=torch_export",
        )


def _check_descriptions(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a description that is longer than any network's."""
    for entry in archive.infolist():
        name = entry.filename
        longest = _LONGEST_GRAPH if "/models/" in name else _LONGEST_DESCRIPTION
        if name.endswith((".json", "version", "byteorder")) and entry.file_size > longest:
            raise ValueError(f"its entry `{name[:100]}` has {entry.file_size:,} bytes")


def _pickled(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield the records of an archive that `torch.export.load` would unpickle."""
    for entry in archive.infolist():
        inside = entry.filename.partition("/")[2]
        if inside.startswith("data/sample_inputs/"):
            if entry.file_size:
                yield inside
        elif inside.startswith(("data/weights/", "data/constants/")):
            # Before PyTorch 2.9 all weights were one pickle, which it still reads.
            if inside.endswith(".pt"):
                yield inside
            elif inside.endswith("_config.json"):
                declared = json.loads(archive.read(entry))["config"]
                yield from (name for name, of in declared.items() if of["use_pickle"])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch's warnings to its developers off the terminal: nobody here can act on them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def constant(module: torch.fx.GraphModule, node: torch.fx.Node) -> torch.Tensor:
    """Return the weight or buffer of an opened program that the node `get_attr` gives."""
    import torch

    found: object = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    assert isinstance(found, torch.Tensor)
    return found


def functional(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return `program` without operators that write into a tensor (`mul_`, `copy_`).

    Code that puts operators into a graph, as a quantizer does, assumes that values stay as
    computed: torchao 0.18 reads a tensor before a later `mul_` has changed it. Inputs are not
    written to, either. Raises StageError where an output depends on a buffer that changes while the
    program runs: every window would get another result.
    """
    import torch

    if not any(_writes(node) for graph in _graphs(program) for node in graph.nodes):
        return program
    with quiet(), torch.no_grad():
        rewritten: torch.export.ExportedProgram = program.run_decompositions({})
        changed = _remembered(rewritten)
        if changed:
            raise StageError(
                "the model changes while it runs, so every window would get another result: "
                f"it writes into {', '.join(f'`{name}`' for name in changed)}",
                "a graph computes its outputs from its inputs and from constant weights",
                "make the changed values an input and an output of the module, "
                "or compute them again in every call",
            )
        module = rewritten.module(check_guards=False)
        assert isinstance(module, torch.fx.GraphModule)
        back = [node for node in module.graph.nodes if operator(node) == "copy_"]
        if not back:
            return rewritten
        for node in back:  # into an input, or a buffer that no output depends on
            module.graph.erase_node(node)
        return torch.export.export(pruned(module), zeros(rewritten))


def _remembered(program: torch.export.ExportedProgram) -> list[str]:
    """Return the buffers that a program changes and that its outputs depend on."""
    signature = program.graph_signature
    changed = {*signature.buffers_to_mutate.values(), *signature.parameters_to_mutate.values()}
    held = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    nodes = {node.name: node for node in program.graph.nodes}
    waiting = [nodes[name] for name in signature.user_outputs if name in nodes]
    seen = set(waiting)
    while waiting:
        new = set(waiting.pop().all_input_nodes) - seen
        seen |= new
        waiting += new
    return sorted(changed & {held.get(node.name, "") for node in seen})


def _graphs(program: torch.export.ExportedProgram) -> list[torch.fx.Graph]:
    """Return the graph of a program and those of its branches."""
    import torch

    modules = program.graph_module.modules()
    return [module.graph for module in modules if isinstance(module, torch.fx.GraphModule)]


def _writes(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def pruned(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Remove operators and weights that reach no output from an opened program, in place.

    An export stores every weight that the module has, whether it is read or not.
    """
    module.graph.eliminate_dead_code()
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    held = [*module.named_parameters(), *module.named_buffers()]
    for name in {name for name, _ in held} - read:
        owner, _, leaf = name.rpartition(".")
        delattr(module.get_submodule(owner), leaf)
    module.recompile()
    return module


def operators(nodes: Iterable[torch.fx.Node]) -> Row:
    """Return how often each operator is among `nodes`, most frequent first."""
    counts = Counter(operator(node) for node in nodes if node.op == "call_function")
    del counts["getitem"]
    return dict(counts.most_common())


def operator(node: torch.fx.Node) -> str:
    """Return the operator of a node without its name space and overload, such as `conv1d`."""
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet or node.target, "__name__", node.target))


def describe(program: torch.export.ExportedProgram) -> dict[str, Fact]:
    """Return the facts of a program for a person: nodes, parameters, operators, inputs."""
    return {
        "nodes": sum(node.op == "call_function" for node in program.graph.nodes),
        "parameters": sum(t.numel() for t in program.state_dict.values() if t.is_floating_point()),
        "operators": operators(program.graph.nodes),
        "inputs": [_tensor(node) for node in _given(program)],
    }


def zeros(program: torch.export.ExportedProgram) -> tuple[torch.Tensor, ...]:
    """Return zeros of the shapes and types that a program takes."""
    import torch

    values = [node.meta["val"] for node in _given(program)]
    return tuple(torch.zeros(value.shape, dtype=value.dtype) for value in values)


def _given(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    """Return the inputs that are no weights."""
    names = set(program.graph_signature.user_inputs)
    return [node for node in program.graph.nodes if node.name in names]


def _tensor(node: torch.fx.Node) -> str:
    """Return a line such as `mix float32 1×2×44100`."""
    value = node.meta["val"]
    kind = str(value.dtype).removeprefix("torch.")
    return f"{node.name} {kind} {'×'.join(map(str, value.shape)) or 'scalar'}"
