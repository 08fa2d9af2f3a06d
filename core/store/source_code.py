"""Which code a result comes from, as syntax trees: comments, docstrings and layout do not count.

For a plugin it is its module with all that this imports from its own package (`of_module`). For the
core it is single functions (`of_functions`): the one that makes the result, every function, class
and constant of the core that it names, those that they name, and so on. The expression of a `raise`
is a message, and an annotation computes nothing: neither is followed. The name `context.open` does
not say which class has the method: such methods are given beside the function.

Everything is read as text: nothing is imported.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import StoreError

__all__ = ["of_functions", "of_module", "parts", "tree_digest"]

#: The package whose functions are followed.
CORE = "core"
#: Modules that are not followed. They describe, keep, guard, wait, refuse and report: they change
#: no number. A plugin's own kind counts with the plugin (core/store/fingerprint.py).
ROOMS = {
    "config": "bounds pipeline",
    "formats": "onnx_bounds",
    "inference": "signature",
    "machine": "child_guard child_process cores folders paths remedy whole_file",
    "plugin": "annotation_checks boundary kinds origin progress reach values",
    "run": "execute",
    "store": "damage emptied fingerprint hashing sealed source_code uses",
    "text": "screen shown",
}
APART = frozenset(
    [f"{CORE}.errors", *(f"{CORE}.{room}.{n}" for room, of in ROOMS.items() for n in of.split())]
)
Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@functools.cache
def of_module(module: str) -> str:
    """Return the SHA-256 of a module's code and of all that it imports from its own package.

    Of the core only those modules count that are imported by their own name (`from
    core.formats.onnx_graph import save`): a plugin computes with them, while `from core import ...`
    gives it the kinds and the values.
    """
    package = module.partition(".")[0]
    seen: dict[str, str] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name in seen or _file(name) is None:
            continue
        seen[name], imported = _summary(name)
        if name.partition(".")[0] == package:
            pending.extend(n for n in imported if n.startswith((f"{package}.", f"{CORE}.")))
    return _hashed(f"{name} {seen[name]}" for name in sorted(seen))


@functools.cache
def _summary(module: str) -> tuple[str, frozenset[str]]:
    """Return the SHA-256 of a module's own code, and the modules that its imports may mean.

    Its tree is read and released: with those of a hundred plugins in memory, everything is slower.
    """
    read = _loaded(module)
    return _digest(read.tree), read.imported


def of_functions(*given: Callable[..., Any]) -> dict[str, str]:
    """Return the SHA-256 of functions and of all of the core that they name, by its module.

    Those that are not of the core are left out: a plugin's code is known by its module.
    """
    return dict(_of_places(_places(given)))


def parts(*given: Callable[..., Any]) -> list[str]:
    """Return what `of_functions` hashes: `core.measure.metrics:snr_db`, ..."""
    return sorted(_closure(_places(given)))


def tree_digest(cls: type) -> str:
    """Return the SHA-256 of the code of one class, without that of what it names."""
    return _part_digest(_read(cls.__module__).defined[cls.__qualname__])


@dataclass(frozen=True)
class _Module:
    """A module as text: what it defines at its top, and where the other names in it come from.

    `origins` has the names that are imported anywhere in the module, `core.measure.metrics:snr_db`
    or, for a whole module, `core.store.fingerprint:`. `imported` are the modules that an import may
    mean.
    """

    tree: ast.Module
    defined: dict[str, ast.stmt]
    origins: dict[str, str]
    imported: frozenset[str]


class _Place(NamedTuple):
    """Where a function or class of the core stands; a function inside another is told by `line`."""

    module: str
    path: str
    line: int


def _places(given: Iterable[Callable[..., Any]]) -> tuple[_Place, ...]:
    """Return where those of `given` stand that are of the core.

    A step's function is made anew for every plan, its place stays the same: results are cached by
    the places.
    """
    return tuple(
        _Place(one.__module__, one.__qualname__, code.co_firstlineno if code else 0)
        for one, code in ((one, getattr(one, "__code__", None)) for one in given)
        if one.__module__.partition(".")[0] == CORE
    )


@functools.cache
def _of_places(places: tuple[_Place, ...]) -> Mapping[str, str]:
    found: dict[str, list[str]] = {}
    for part, node in sorted(_closure(places).items()):
        found.setdefault(part.partition(":")[0], []).append(f"{part} {_part_digest(node)}")
    return {module: _hashed(lines) for module, lines in found.items()}


def _closure(places: tuple[_Place, ...]) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    pending = [_first(place) for place in places]
    while pending:
        part, node = pending.pop()
        if part in found:
            continue
        found[part] = node
        module, _, path = part.partition(":")
        owner = path.rpartition(".")[0]
        for name in _names(node):
            if name.startswith("self.") and owner in _read(module).defined:
                pending.extend(_method(module, owner, name.partition(".")[2]))
            else:
                pending.extend(_defined(module, name))
    return found


def _first(place: _Place) -> tuple[str, ast.AST]:
    """Return a function or class with its tree; a function inside another is found by its line.

    Raises StoreError where the file on the disk is no longer the code that runs.
    """
    module, path, line = place
    found = _places_of(module, path, line)
    try:
        return next(found)
    except (KeyError, StopIteration):
        raise StoreError(
            f"the code of `{module}` was changed while it ran: its file no longer holds `{path}`"
            f"{f' in line {line}' if '<locals>' in path else ''}",
            f"at: {sys.modules[module].__file__}",
            "finished results are kept: run the same command again",
        ) from None


def _places_of(module: str, path: str, line: int) -> Iterator[tuple[str, ast.AST]]:
    """Yield the places where a file has a function or class; raises KeyError where none can be."""
    owner, _, name = path.rpartition(".")
    if "<locals>" in path:
        for node in ast.walk(_read(module).tree):
            if isinstance(node, Defined | ast.Lambda) and (
                (node.lineno, getattr(node, "name", "<lambda>")) == (line, name)
            ):
                yield f"{module}:{path}", node
    elif owner:
        yield from _method(module, owner, name)
    else:
        yield f"{module}:{path}", _read(module).defined[path]


def _method(module: str, owner: str, name: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield a method that a class itself defines."""
    for statement in getattr(_read(module).defined[owner], "body", ()):
        if isinstance(statement, Defined) and statement.name == name:
            yield f"{module}:{owner}.{name}", statement


def _defined(module: str, name: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield where the core defines a `name` of a module, `share` or `share.alone`; else nothing."""
    head, _, rest = name.partition(".")
    read = _read(module)
    if head in read.defined:
        yield f"{module}:{head}", read.defined[head]
        return
    origin = read.origins.get(head)
    if origin is None:
        return
    source, _, inside = origin.partition(":")
    if source.partition(".")[0] != CORE or _file(source) is None:
        return
    if inside and _file(f"{source}.{inside}") is not None:
        source, inside = f"{source}.{inside}", ""
    if source in APART:
        return
    wanted = inside or rest.partition(".")[0]
    if wanted:
        yield from _defined(source, wanted)


@functools.cache
def _names(tree: ast.AST) -> frozenset[str]:
    """Return the names in a tree that are read, with the first attribute that is taken of them.

    Names that a function binds itself are left out: they hide those of the module.
    """
    found: set[str] = set()
    bound: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Raise):
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name):
            (found if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns"):
                continue
            values = value if isinstance(value, list) else [value]
            pending.extend(one for one in values if isinstance(one, ast.AST))
    hidden = bound - {"self"} if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) else set()
    return frozenset(name for name in found if name.partition(".")[0] not in hidden)


@functools.cache
def _read(module: str) -> _Module:
    """Return a module to look functions up in; it is read once."""
    return _loaded(module)


def _loaded(module: str) -> _Module:
    """Return a module as it is read now.

    The garbage collector is off meanwhile: a tree has no cycles, and to search all its nodes for
    some, again and again while it grows, takes longer than to read it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _outlined(module)
    finally:
        if collects:
            gc.enable()


def _outlined(module: str) -> _Module:
    tree, is_package = _parsed(module)
    here = module if is_package else module.rpartition(".")[0]
    origins: dict[str, str] = {}
    imported: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported.add(alias.name)
                origins[alias.asname or alias.name.partition(".")[0]] = f"{alias.name}:"
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, here)
            imported.add(base)
            imported.update(f"{base}.{alias.name}" for alias in node.names)
            origins |= {alias.asname or alias.name: f"{base}:{alias.name}" for alias in node.names}
    defined: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for name in _bound(statement):
            defined[name] = statement
    return _Module(tree, defined, origins, frozenset(imported))


def _parsed(module: str) -> tuple[ast.Module, bool]:
    """Return a module's tree without docstrings, and whether it is a package's own."""
    file = _file(module)
    assert file is not None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return _without_docstrings(tree), file.name == "__init__.py"


def _bound(statement: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a module defines; imports define none."""
    if isinstance(statement, Defined):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def _base(node: ast.ImportFrom, here: str) -> str:
    """Return the module that an import takes names from, in a module whose package is `here`."""
    base = node.module or ""
    if not node.level:
        return base
    parts = here.split(".")[: len(here.split(".")) - node.level + 1]
    return ".".join([*parts, base] if base else parts)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Take out, in place, every string that stands by itself as a statement."""
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.Module | Defined):
            node.body = [one for one in node.body if not _is_text(one)]
    return tree


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement in a tree. Expressions, most of it by far, hold none."""
    pending = [tree]
    while pending:
        node = pending.pop()
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            found = getattr(node, field, ())
            # The body of a lambda, or of a choice, is one expression.
            below = found if isinstance(found, list) else ()
            pending.extend(below)
            yield from below


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _digest(tree: ast.AST) -> str:
    """Return the SHA-256 of all that a tree computes; `ast.dump` takes twice as long."""
    found: list[str] = []
    _write(tree, found.append)
    return hashlib.sha256("".join(found).encode("utf-8", "surrogatepass")).hexdigest()


def _write(node: ast.AST, write: Callable[[str], None]) -> None:
    """Write the types and values of a node and of all nodes below it, without their places."""
    write(f"{node.__class__.__name__}(")
    for field in node._fields:
        value = getattr(node, field, None)
        if value.__class__ is list:
            write("[")
            for one in value:
                if isinstance(one, ast.AST):
                    _write(one, write)
                else:
                    write(f"{one!r},")
            write("]")
        elif isinstance(value, ast.AST):
            _write(value, write)
        else:
            write(f"{value!r},")
    write(")")


#: A tree is read once and lives as long as the process, so that it can be the key of a cache.
_part_digest = functools.cache(_digest)


def _hashed(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.cache
def _file(module: str) -> Path | None:
    """Return the file of a module, looked up beside its top package.

    Not `importlib.util.find_spec`: that imports every parent, and torch with it.
    """
    package, *rest = module.split(".")
    top = getattr(sys.modules.get(package), "__file__", None)
    if top is None:
        return None
    base = Path(top).parent.joinpath(*rest) if rest else Path(top)
    candidates = (base.with_suffix(".py"), base / "__init__.py") if rest else (base,)
    return next((file for file in candidates if file.is_file()), None)
