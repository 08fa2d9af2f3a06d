"""Which code a result comes from: a plugin's module, functions of the core, and no comment."""

from __future__ import annotations

import ast
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from core import kinds, plan, run, source
from core.steps import Step
from tests.conftest import Command

CORE = Path(source.__file__).parent


def forget() -> None:
    """Have every file read anew."""
    for cached in (source.of_module, source._read, source._file, source._part_digest):
        getattr(cached, "cache_clear", lambda: None)()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a package whose module imports a helper inside a function."""
    folder = tmp_path / "visitor"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "plugin.py").write_text("def run():\n    from .helper import x\n    return x\n")
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "other.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("visitor.plugin")
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "visitor"]:
        del sys.modules[name]
    forget()


def of_visitor() -> str:
    """Return the digest of the visitor's module, read anew."""
    forget()
    return source.of_module("visitor.plugin")


def test_what_a_plugin_imports_from_its_own_package_is_its_code(package: Path) -> None:
    """Even inside a function; not a module that it never imports."""
    before = of_visitor()
    (package / "other.py").write_text("y = 2\n")
    assert of_visitor() == before
    (package / "helper.py").write_text("x = 2\n")
    assert of_visitor() != before


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nx = 1\n",
        'def run():\n    """It."""\n\n    from .helper import (\n        x,\n    )\n    return x\n',
    ],
    ids=["a comment", "a docstring and another layout"],
)
def test_comments_docstrings_and_layout_do_not_count(package: Path, text: str) -> None:
    """Only the syntax tree does."""
    before = of_visitor()
    (package / ("plugin.py" if "def" in text else "helper.py")).write_text(text)
    assert of_visitor() == before


def test_a_core_module_that_a_plugin_computes_with_belongs_to_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from core.onnx_file import save` is code of the plugin; `from core import ...` is not."""
    (package / "helper.py").write_text("from core.onnx_file import save\nfrom core import Graph\n")
    forget()
    read: list[str] = []
    real = source._loaded
    monkeypatch.setattr(source, "_loaded", lambda name: read.append(name) or real(name))
    source.of_module("visitor.plugin")
    assert set(read) == {"visitor.plugin", "visitor.helper", "core.onnx_file"}


def test_a_kind_counts_with_the_plugin() -> None:
    """What the class of the core does by default is done by the plugin, too."""
    assert source.tree_digest(kinds.Chunker) != source.tree_digest(kinds.Exporter)


def test_a_function_is_known_by_all_that_it_names() -> None:
    """Functions, constants, those of other modules; a method by its class, what it raises not."""
    from core.measure import compare
    from core.steps import Bench

    found = set(source.parts(compare))
    assert {"core.measure:compare", "core.measure:snr_of_labels", "core.measure:QUIET_DB"} <= found
    assert "core.measure:latency" not in found
    opened = set(source.parts(Bench.open))
    assert {"core.steps:Bench.open", "core.steps:Bench._anew", "core.reference:Reference"} <= opened
    assert not any(part.startswith("core.errors") for part in opened)


def test_code_that_is_not_of_the_core_is_known_by_its_plugin() -> None:
    """A function of a test, say, has no part in it."""
    assert source.parts(forget) == []


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Return the list that the steps of the next command are put into."""
    found: list[Step] = []
    lay_out = plan.lay_out

    def recorded(bench: Any) -> tuple[Step, ...]:
        found[:] = lay_out(bench)
        return tuple(found)

    monkeypatch.setattr(plan, "lay_out", recorded)
    return found


def codes(steps: list[Step]) -> dict[str, dict[str, str]]:
    """Return the code of every step."""
    return {step.name: source.of_functions(step.run, *step.calls) for step in steps}


def change(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every function of a module of the core do one thing more."""
    parsed, read = source._parsed, source._read
    tree, is_package = parsed(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body += ast.parse("0 + 0").body
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source, "_parsed", lambda _: (tree, is_package))
        changed = source._loaded(module)
    monkeypatch.setattr(source, "_read", lambda name: changed if name == module else read(name))


PLAYED = {"reference", "ideal", "play"}
COMPARED = {"budget.exporter", "budget.graph.onnxsim", "budget.quantizer"}
CONVERTED = {"model", "exporter", "graph.onnxsim", "quantizer", "runtime"}
#: What runs again when a module of the core changes, of the S24's recipe.
AGAIN: dict[str, set[str]] = {
    "agreement": {"probe"},
    "budget": {"budget"},
    "budget_rows": {"sample", "saturation", "budget"},
    "calibrated": {"saturation"},
    "census": {"census"},
    "compare": {"sample", *COMPARED, "worst", "census", "probe", "budget"},
    "convert": {*CONVERTED, "saturation"},
    "drawn": {"exporter"},
    "evaluation": {"evaluate", "save"},
    "example": {"exporter"},
    "exchange": {*COMPARED, "worst", "probe", "play"},
    "hosted": {"play"},
    "items": {"exporter", "quantizer", "sample", "saturation", *PLAYED, "evaluate", "save"},
    "machine_load": {"play"},
    "measure": {
        "exporter", "sample", *COMPARED, "saturation", "worst", "probe", *PLAYED, "budget",
        "evaluate",
    },
    "onnx_cpu": {"saturation"},
    "onnx_file": {"saturation", "worst"},
    "play": {
        "exporter", "quantizer", "sample", *COMPARED, "saturation", "worst", "probe", *PLAYED,
        "evaluate", "save",
    },
    "player": {"play"},
    "reference": {"exporter", "sample", *COMPARED, "worst", "probe", *PLAYED},
    "saturation": {"saturation"},
    "steps": {
        "exporter", "quantizer", "sample", "saturation", *COMPARED, "worst", "probe", *PLAYED,
        "evaluate", "save",
    },
    "timing": {"play"},
    "trained_window": {"reference", "ideal"},
    "whole": {*PLAYED, "save"},
    "worst": {"worst"},
}  # fmt: skip


def test_a_changed_module_runs_exactly_its_steps_again(command: Command, steps: list[Step]) -> None:
    """A module that computes nothing (it waits, tells, or keeps) has part in none."""
    assert command("recipe=s24_int8", "measure.worst_tensors=2", "mode=plan").code == 0
    before = codes(steps)
    modules = {module for code in before.values() for module in code}
    found: dict[str, set[str]] = {}
    for module in sorted(modules):
        with pytest.MonkeyPatch.context() as patched:
            change(module, patched)
            after = codes(steps)
        found[module.removeprefix("core.")] = {n for n in before if before[n] != after[n]}
    # Of some modules a step reads a constant alone.
    assert {module: again for module, again in found.items() if again} == AGAIN


class Traced:
    """The functions of the core that ran in each step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: dict[str, set[str]] = {}
        real = run._run

        def traced(step: Step, *rest: Any) -> Any:
            found = self.ran.setdefault(step.name, set())

            def see(frame: FrameType, _: str, __: Any) -> None:
                _note(frame, found)

            sys.setprofile(see)
            threading.setprofile(see)
            try:
                return real(step, *rest)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)

        monkeypatch.setattr(run, "_run", traced)


def _note(frame: FrameType, found: set[str]) -> None:
    code = frame.f_code
    if code.co_filename.startswith(f"{CORE}/") and code.co_name != "<module>":
        name = Path(code.co_filename).relative_to(CORE).with_suffix("").as_posix().replace("/", ".")
        found.add(f"core.{name}:{code.co_qualname}")


def _of_plugins(step: Step) -> set[str]:
    """Return the modules of the core whose code counts with a plugin that it depends on."""
    found: set[str] = set()
    pending = [type(plugin).__module__ for plugin in step.by]
    while pending:
        name = pending.pop()
        if name in found or source._file(name) is None:
            continue
        found.add(name)
        if not name.startswith("core."):
            top = name.partition(".")[0]
            pending += [
                m for m in source._read(name).imported if m.startswith((f"{top}.", "core."))
            ]
    return found


def _followed(step: Step) -> set[str]:
    return set(source.parts(step.run, *step.calls))


def _is_known(function: str, known: set[str]) -> bool:
    """Return whether a function, its class or the function around it is among what is known."""
    module, _, path = function.partition(":")
    names = path.split(".")
    return any(f"{module}:{'.'.join(names[:n])}" in known for n in range(1, len(names) + 1))


@pytest.mark.parametrize(
    "recipe_words",
    [
        pytest.param([], id="toys"),
        pytest.param(
            ["recipe=cpu_fp32", "precision=int8", "calibration=synthetic", "quantizer.windows=2",
             "dataset.seconds=3", "measure.worst_tensors=2"],
            marks=pytest.mark.long, id="separation",
        ),
        pytest.param(
            ["recipe=s24_int8", "quantizer.windows=2", "dataset.seconds=3"],
            marks=pytest.mark.long, id="npu",
        ),
    ],
)  # fmt: skip
def test_no_code_that_ran_is_forgotten(
    recipe_words: list[str], command: Command, recipe: Path, steps: list[Step],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whatever of the core ran in a step is in its key, counts with a plugin, or stands apart."""
    traced = Traced(monkeypatch)
    done = command(*(recipe_words or [f"recipe={recipe}"]))
    assert done.code == 0, done.err
    forgotten = {
        step.name: sorted(
            function
            for function in traced.ran.get(step.name, ())
            if function.partition(":")[0] not in source.APART | _of_plugins(step)
            and not function.startswith("core.exchange:Work.")  # gives a plugin its files
            and not _is_known(function, _followed(step))
        )
        for step in steps
    }
    assert {name: functions for name, functions in forgotten.items() if functions} == {}
