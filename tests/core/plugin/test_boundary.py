"""Plugins that misbehave: whatever one does, a person is told which, and nothing of it is kept."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest

from core import Artifact, ListableDataset, ModelInfo
from core.errors import InputError, LuthierError, PluginError, StageError
from core.plugin import hooks, kinds
from core.plugin.entry import Entry
from core.plugin.origin import Terminated
from core.plugin.process import hold_the_process
from core.plugin.registry import Registry
from tests import toy
from tests.core.misbehaving import METHODS, PRODUCTS, WAYS, misbehaving


@pytest.fixture(autouse=True)
def _held() -> None:
    """Hold the process, as the command line does."""
    hold_the_process()


def entry(cls: type[kinds.Plugin[Any]]) -> Entry:
    registry = Registry(pluggy.PluginManager(hooks.PROJECT))
    registry.add(cls, "a-distribution")
    return registry.find(cls.kind, cls.name)


def made(cls: type[kinds.Plugin[Any]]) -> Any:
    options = toy.LinesOptions("here") if issubclass(cls, toy.Lines) else cls.Options()
    return entry(cls).create(options)


class Given:
    """Stands for any argument: it has every attribute, and a length."""

    def __getattr__(self, name: str) -> Any:
        return Given()

    def __len__(self) -> int:
        return 2


def asked(plugin: Any, method: str, artifact: Artifact) -> Any:
    """Call a method of the plugin, or of what it gives, with as many arguments as it takes."""
    give, _, of_product = method.partition("().")
    base: Any = kinds.KINDS[plugin.kind]
    if of_product:
        plugin = product(plugin, give, artifact)
        base = next((one for one in PRODUCTS if isinstance(plugin, one)), type(plugin))
    name = of_product or give
    value = getattr(plugin, name)
    if not callable(value):
        return value
    declared = next(
        (vars(one)[name] for one in (*base.__mro__, ListableDataset) if name in vars(one)), None
    )
    if declared is None:  # a hook, or the model's own forward pass
        declared = getattr(hooks, name, None)
        takes = len(inspect.signature(declared).parameters) if declared else 1
    else:
        takes = len(inspect.signature(declared).parameters) - 1
    found = value(*[Given()] * takes)
    return list(found) if isinstance(found, Iterator) else found


def product(plugin: Any, give: str, artifact: Artifact) -> Any:
    """Return what a toy gives that has methods of its own."""
    if give == "joiner":
        return plugin.joiner({"place": 8}, toy.SIGNATURE)
    if give == "bind":
        return plugin.bind(Given())
    return plugin.open(artifact, *[Given()] * (1 if plugin.kind == "model" else 2))


def told(error: LuthierError, kind: str) -> None:
    """Check that an error is one for a person, who is told whose fault it is."""
    said = str(error)
    assert error.exit_code in (1, 2)
    assert f"{kind} `bad`" in error.what
    assert "distribution: a-distribution" in said
    assert "misbehaving.py" in said


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Return the weights of `gain`."""
    file = tmp_path / "gain.txt"
    file.write_text("2.0")
    info = ModelInfo(toy.SIGNATURE, ("x",), ("y",))
    return Artifact(str(tmp_path), str(file), "torch", "fp32", "", 3, model=info)


@pytest.mark.parametrize(("kind", "method"), METHODS)
def test_whatever_a_method_does_its_plugin_is_named(
    kind: str, method: str, artifact: Artifact
) -> None:
    """None, a wrong type, and an attempt to end the process stop at the plugin's boundary."""
    for way, does in WAYS.items():
        if way in promised(method.rpartition(".")[2]):
            continue
        plugin = made(misbehaving(kind, method, does))
        with pytest.raises(LuthierError) as error:
            asked(plugin, method, artifact)
        told(error.value, kind)
        broke = way in ("None", "an object", "sys.exit(0)", "os._exit(0)")
        assert isinstance(error.value, PluginError if broke else StageError), way


def promised(name: str) -> tuple[str, ...]:
    """Return the ways that are none: of what is promised nothing, or None."""
    if name in ("close", "add") or name.startswith("luthier_"):
        return ("None", "an object")
    return ("None",) if name in ("graphs", "placement", "example") else ()


@pytest.mark.parametrize(
    ("leaves", "code", "said"),
    [
        ("os._exit(0)", 7, "os._exit(0)"),
        ("os.execv('/bin/true', ['true'])", 7, "os.execv('/bin/true', ['true'])"),
        ("os.execlp('true', 'true')", 7, "os.execv"),
        ("t = threading.Thread(target=os._exit, args=(0,)); t.start(); t.join()", 2, "os._exit(0)"),
        # What it forks is its own: that ends as it likes, and here as a program of another.
        ("os.fork() or os._exit(0); os.wait()", 3, ""),
        ("subprocess.run(['true'], check=True)", 3, ""),
    ],
)
def test_nothing_that_ends_a_process_ends_this_one(leaves: str, code: int, said: str) -> None:
    """An exit raises in the plugin; in a thread of a plugin it gives a message, not code 0."""
    program = f"""
import os, subprocess, sys, threading
from core.plugin.origin import Origin
from core.plugin.boundary import called
from core.errors import PluginError
from core.plugin.process import hold_the_process

def leaves():
    {leaves}

hold_the_process()
try:
    called(Origin("graph", "bad", "a-distribution", "bad.py"), "run", leaves)
except PluginError as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(7)
os._exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not said or "graph `bad` would have ended the whole process" in done.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(143), InputError("no file")])
def test_what_is_no_fault_of_a_plugin_passes(error: BaseException) -> None:
    """Ctrl-C, a termination by the system, and an error for a person pass unchanged."""

    def does() -> None:
        raise error

    plugin = made(misbehaving("graph", "run", does))
    with pytest.raises(type(error)) as passed:
        plugin.run(Given(), Given())
    assert passed.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(143)])
@pytest.mark.parametrize("how", ["in a finally", "from another"])
def test_an_interruption_that_broke_a_library_is_still_one(error: BaseException, how: str) -> None:
    """An error of a library that cleans up after Ctrl-C still counts as the interruption."""

    def does() -> None:
        try:
            raise error
        finally:
            if how == "in a finally":
                raise RuntimeError("cannot join thread before it is started")
            raise RuntimeError("no session") from OSError("no file")

    plugin = made(misbehaving("graph", "run", does))
    with pytest.raises(type(error)) as passed:
        plugin.run(Given(), Given())
    assert passed.value is error


def test_an_error_that_would_end_in_exit_code_0_is_none() -> None:
    """A plugin's own error class chooses the exit code of a run, but never success."""

    class FineError(InputError):
        """Nothing went wrong, it says."""

        exit_code = 0

    def does() -> None:
        raise FineError("all is well")

    with pytest.raises(StageError, match="graph `bad` failed: FineError: all is well"):
        made(misbehaving("graph", "run", does)).run(Given(), Given())


def test_a_guarded_plugin_is_what_it_was() -> None:
    """Class, module and options stay; a pickled, rebuilt or resized plugin is still guarded."""
    plugin = made(toy.Even)
    assert isinstance(plugin, toy.Even)
    assert (type(plugin).__module__, type(plugin).__qualname__) == ("tests.toy", "Even")
    others = (
        plugin,
        kinds.anew(plugin),
        pickle.loads(pickle.dumps(plugin)),  # noqa: S301  # of this very process
        copy.deepcopy(plugin),
        plugin.resized({"place": 4}),
    )
    for other in others:
        assert isinstance(other, toy.Even)
        other.options.length = 0
        with pytest.raises(PluginError, match="gave a value that is not allowed: `window`"):
            other.window()


def test_what_may_be_refused_by_a_value_error_still_is() -> None:
    """A chunker's ValueError for impossible windows is an answer, not a fault."""

    def does() -> None:
        raise ValueError("too short")

    with pytest.raises(ValueError, match="too short"):
        made(misbehaving("chunker", "resized", does)).resized({"place": 1})


def test_the_boundary_costs_a_window_microseconds(artifact: Artifact) -> None:
    """Cut, forward, run, inverse and add of one window pass the boundary in under 0.1 ms."""
    guarded, plain = made(toy.Plain), toy.Plain(toy.Plain.Options())
    sessions = [one.open(artifact, Given, Given()) for one in (guarded, plain)]
    feeds = {"x": np.zeros((1, 2, 8), np.float32)}

    def seconds(session: Any) -> float:
        return min(timeit.repeat(lambda: session.run(feeds), number=200, repeat=5)) / 200

    assert seconds(sessions[0]) - seconds(sessions[1]) < 20e-6
