"""The shape of the house: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(p for p in (ROOT / "plugins").glob("*/*.py") if p.name[0] != "_")


@pytest.mark.parametrize("file", sorted((ROOT / "core").rglob("*.py")), ids=lambda p: p.name)
def test_a_core_file_is_read_in_one_sitting(file: Path) -> None:
    """A core file has under 400 lines: a longer one may hold a second subject."""
    assert len(file.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("file", PLUGINS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_plugin_imports_no_other_plugin(file: Path) -> None:
    """Shared code lies in the core, in a package of the kind, or in one of the vendor."""
    kind = file.parent.name
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        )
        for name in names:
            if name.startswith("plugins."):
                _, of, *rest = name.split(".")
                assert of in (kind, "vendor"), f"{file} imports from another kind: {name}"
                assert of == "vendor" or rest[0].startswith("_"), f"{file} imports {name}"


def _modules() -> dict[str, Path]:
    """Return the files of the core, the plugins and the tools by their modules."""
    rooms = ("core", "luthier", "plugins", "hydra_plugins", "tools")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def test_no_import_runs_in_a_circle() -> None:
    """No import is circular, not even inside a function or for type checkers only."""
    modules = _modules()
    imports: dict[str, set[str]] = {}
    for module, file in modules.items():
        found = imports.setdefault(module, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in modules)
            elif isinstance(node, ast.ImportFrom):
                # A name is a module of the package, or something that the package itself holds.
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(n if n in modules else str(node.module) for n in names)
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_listing_loads_no_heavy_library() -> None:
    """`mode=list` and `mode=plan` answer at once: neither imports torch, onnx or numpy."""
    code = (
        "import sys\nfrom core.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'scipy') if m in sys.modules])"
    )
    for arguments in (["mode=list"], ["recipe=s24_int8", "mode=plan", "store=/nonexistent"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert done.stdout.splitlines()[-1] == "[]", arguments


def test_no_module_hides_what_plugins_import() -> None:
    """`import core.x` never hides a name that `core` exports to plugins."""
    import core

    assert [n for n in core.__all__ if (ROOT / "core" / f"{n}.py").exists()] == []
