"""Which code a result comes from: a plugin's module, functions of the core, and no comment."""

from __future__ import annotations

import ast
import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from core.errors import StoreError
from core.plan import plan
from core.plugin import kinds
from core.run import execute
from core.steps.step import Step
from core.store import source_code
from tests.conftest import Command

CORE = Path(source_code.__file__).parents[1]


def forget() -> None:
    """Have every file read anew."""
    for cached in (
        source_code.of_module,
        source_code._read,
        source_code._summary,
        source_code._file,
        source_code._part_digest,
    ):
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
    return source_code.of_module("visitor.plugin")


def test_what_a_plugin_imports_from_its_own_package_is_its_code(package: Path) -> None:
    """A plugin's code includes modules imported inside functions, but not unused modules."""
    before = of_visitor()
    (package / "other.py").write_text("y = 2\n")
    assert of_visitor() == before
    (package / "helper.py").write_text("x = 2\n")
    assert of_visitor() != before


@pytest.mark.parametrize(
    "line",
    [
        "import visitor.sub.deep",
        "import visitor.sub.deep as d",
        "from visitor.sub import deep",
        "from .sub.deep import y",
        "from .sub import deep as d",
    ],
)
def test_every_form_of_an_import_is_followed(package: Path, line: str) -> None:
    """All forms lead to the module, and from its folder up to that of another."""
    (package / "sub").mkdir()
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "deep.py").write_text("from ..helper import x as y\n")
    (package / "plugin.py").write_text(f"def run():\n    {line}\n")
    before = of_visitor()
    (package / "helper.py").write_text("x = 2\n")
    assert of_visitor() != before


@pytest.mark.usefixtures("package")
def test_reading_leaves_the_garbage_collector_as_it_was() -> None:
    """The collector is off only while a module is read."""
    assert gc.isenabled()
    source_code._loaded("visitor.plugin")
    assert gc.isenabled()
    gc.disable()
    try:
        source_code._loaded("visitor.plugin")
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nx = 1\n",
        'def run():\n    """It."""\n\n    from .helper import (\n        x,\n    )\n    return x\n',
    ],
    ids=["a comment", "a docstring and another layout"],
)
def test_comments_docstrings_and_layout_do_not_count(package: Path, text: str) -> None:
    """Only the syntax tree counts, not comments, docstrings and layout."""
    before = of_visitor()
    (package / ("plugin.py" if "def" in text else "helper.py")).write_text(text)
    assert of_visitor() == before


def test_a_core_module_that_a_plugin_computes_with_belongs_to_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from core.formats.x import y` is code of the plugin; `from core import ...` is not."""
    (package / "helper.py").write_text(
        "from core.formats.onnx_graph import save\nfrom core import Graph\n"
    )
    forget()
    read: list[str] = []
    real = source_code._loaded
    monkeypatch.setattr(source_code, "_loaded", lambda name: read.append(name) or real(name))
    source_code.of_module("visitor.plugin")
    assert set(read) == {"visitor.plugin", "visitor.helper", "core.formats.onnx_graph"}


def test_a_kind_counts_with_the_plugin() -> None:
    """A plugin's code includes the defaults of its kind's class in the core."""
    assert source_code.tree_digest(kinds.Chunker) != source_code.tree_digest(kinds.Exporter)


def test_a_function_is_known_by_all_that_it_names() -> None:
    """A function's code covers functions, constants and classes that it names, but no errors."""
    from core.inference.context import RunContext
    from core.measure.metrics import compare

    found = set(source_code.parts(compare))
    assert {
        "core.measure.metrics:compare",
        "core.measure.metrics:snr_of_labels",
        "core.measure.metrics:QUIET_DB",
    } <= found
    assert "core.measure.metrics:latency" not in found
    opened = set(source_code.parts(RunContext.open))
    assert {
        "core.inference.context:RunContext.open",
        "core.inference.context:RunContext._anew",
        "core.inference.reference:Reference",
    } <= opened
    assert not any(part.startswith("core.errors") for part in opened)


@pytest.mark.parametrize("path", ["gone", "Gone.run", "Session.gone", "compare.<locals>.gone"])
def test_code_that_changed_while_it_ran_ends_in_one_message(path: str) -> None:
    """A function that its file no longer holds is named, with what to do."""
    with pytest.raises(StoreError, match="was changed while it ran") as caught:
        source_code._first(source_code._Place("core.plugin.stages", path, 1))
    assert path in caught.value.what
    # The line tells functions inside functions apart, which may have one name.
    assert caught.value.what.endswith(" in line 1") is ("<locals>" in path)
    assert caught.value.lines[-1] == "finished results are kept: run the same command again"


def test_code_that_is_not_of_the_core_is_known_by_its_plugin() -> None:
    """Code outside of the core, such as a test's function, is not in a function's code."""
    assert source_code.parts(forget) == []


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Return the list that the steps of the next command are put into."""
    found: list[Step] = []
    lay_out = plan.lay_out

    def recorded(context: Any) -> tuple[Step, ...]:
        found[:] = lay_out(context)
        return tuple(found)

    monkeypatch.setattr(plan, "lay_out", recorded)
    return found


def codes(steps: list[Step]) -> dict[str, dict[str, str]]:
    """Return the code of every step, as the modules are now."""
    source_code._of_places.cache_clear()
    return {step.name: source_code.of_functions(step.run, *step.calls) for step in steps}


def change(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every function of a module of the core do one thing more."""
    parsed, read = source_code._parsed, source_code._read
    tree, is_package = parsed(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body += ast.parse("0 + 0").body
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source_code, "_parsed", lambda _: (tree, is_package))
        changed = source_code._loaded(module)
    monkeypatch.setattr(
        source_code, "_read", lambda name: changed if name == module else read(name)
    )


PLAYED = {"reference", "ideal", "play"}
COMPARED = {"budget.exporter", "budget.graph.onnxsim", "budget.quantizer"}
CONVERTED = {"model", "exporter", "graph.onnxsim", "quantizer", "runtime"}
#: What runs again when a module of the core changes, of the S24's recipe.
AGAIN: dict[str, set[str]] = {
    "config.trained_window": {"ideal", "reference"},
    "formats.calibrated_ranges": {"saturation"},
    "formats.onnx_graph": {"saturation", "tensor_error"},
    "formats.onnx_session": {"saturation"},
    "formats.precision_census": {"precision_census"},
    "formats.tensors": {
        "exporter", "quantizer", "sample", *COMPARED, "saturation", "tensor_error", "probe",
        *PLAYED, "evaluate", "save",
    },
    "inference.context": {
        "exporter", "quantizer", "sample", *COMPARED, "saturation", "tensor_error", "probe",
        *PLAYED, "evaluate", "save",
    },
    "inference.drawn": {"exporter"},
    "inference.dsp_graphs": {"play"},
    "inference.items": {
        "evaluate", "exporter", "quantizer", "sample", "saturation", "save", *PLAYED,
    },
    "inference.player": {"play"},
    "inference.reference": {"exporter", "probe", "sample", "tensor_error", *COMPARED, *PLAYED},
    "inference.windows": {
        "exporter", "quantizer", "sample", *COMPARED, "saturation", "probe", *PLAYED, "evaluate",
    },
    "machine.machine_load": {"play"},
    "machine.memory": {"play"},
    "measure.agreement": {"probe"},
    "measure.cold_start": {"evaluate", "play", "probe"},
    "measure.error_budget": {"budget"},
    "measure.error_budget_rows": {"budget", "sample", "saturation"},
    "measure.metrics": {
        "budget", "evaluate", "exporter", "probe", "sample", "saturation", "tensor_error",
        *COMPARED, *PLAYED,
    },
    "measure.placement": {"play", "probe"},
    "measure.tensor_error": {"tensor_error"},
    "plugin.placement": {"play", "probe"},
    "plugin.stages": {"play", "probe", "tensor_error", *COMPARED},
    "steps.compare": {"budget", "precision_census", "probe", "sample", "tensor_error", *COMPARED},
    "steps.convert": {"saturation", *CONVERTED},
    "steps.evaluate": {"evaluate", "save"},
    "steps.example": {"exporter"},
    "steps.play": {"save", *PLAYED},
    "steps.saturation": {"saturation"},
}  # fmt: skip


def test_a_changed_module_runs_exactly_its_steps_again(command: Command, steps: list[Step]) -> None:
    """A changed module reruns only its own steps; one that waits, reports or keeps, none."""
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
        real = execute._run

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

        monkeypatch.setattr(execute, "_run", traced)


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
        if name in found or source_code._file(name) is None:
            continue
        found.add(name)
        if not name.startswith("core."):
            top = name.partition(".")[0]
            pending += [
                m for m in source_code._read(name).imported if m.startswith((f"{top}.", "core."))
            ]
    return found


def _followed(step: Step) -> set[str]:
    return set(source_code.parts(step.run, *step.calls))


def _is_known(function: str, known: set[str]) -> bool:
    """Return whether a function, its class or the function around it is among what is known."""
    module, _, path = function.partition(":")
    names = path.split(".")
    return any(f"{module}:{'.'.join(names[:n])}" in known for n in range(1, len(names) + 1))


@pytest.mark.parametrize(
    "recipe_words",
    [
        pytest.param([], id="toys"),
        pytest.param(["~runtime@host", "runtime=two_devices"], id="toys that trace"),
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
    """All core code that ran in a step is in its key, is a plugin's, or is listed as exempt."""
    traced = Traced(monkeypatch)
    toys = not any(word.startswith("recipe=") for word in recipe_words)
    done = command(*[f"recipe={recipe}"] * toys, *recipe_words)
    assert done.code == 0, done.err
    forgotten = {
        step.name: sorted(
            function
            for function in traced.ran.get(step.name, ())
            if function.partition(":")[0] not in source_code.APART | _of_plugins(step)
            and not function.startswith(
                "core.plugin.stages:StageContext."
            )  # gives a plugin its files
            and not _is_known(function, _followed(step))
        )
        for step in steps
    }
    assert {name: functions for name, functions in forgotten.items() if functions} == {}
