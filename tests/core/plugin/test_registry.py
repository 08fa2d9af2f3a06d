"""How plugins come in, and what is said of those that break their contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import plugins
from core import Graph, LimitSpec, Reporter, Requirement, StageResult, hookimpl
from core.cli.doctor import examine
from core.config import discovery
from core.errors import ConfigError, MissingLibraryError, PluginError
from core.plugin import options, registry
from tests import toy
from tests.conftest import Command


def module(**names: Any) -> ModuleType:
    made = ModuleType("visitor")
    made.__file__ = "visitor.py"
    for name, value in names.items():
        setattr(made, name, value)
    return made


def adding(*classes: object) -> ModuleType:
    return module(luthier_plugins=hookimpl(lambda: list(classes), specname="luthier_plugins"))


class Named(Graph[Any]):
    """Does nothing."""

    name = "named"

    def run(self, artifact: Any, work: Any) -> StageResult:
        """Do nothing."""
        raise AssertionError


def test_builtins_come_in_through_the_same_hooks() -> None:
    """The box's own plugins are found through its entry point."""
    found = discovery.discover()
    assert found.find("chunker", "overlap_add").distribution == "luthier"


def broken(found: registry.Registry) -> str:
    """Return all that is said of what is broken, in one text."""
    return "\n".join(str(one.error()) for one in found.broken)


def test_of_two_with_one_name_neither_is_used() -> None:
    """Both plugins of one name are listed, and using the name reports where they are."""
    found = discovery.discover({"first": adding(Named), "second": adding(Named)})
    assert "named" not in found.entries["graph"]
    assert [one.distribution for one in found.broken] == ["first", "second"]
    with pytest.raises(PluginError, match="two graph plugins are named `named`") as error:
        found.find("graph", "named")
    assert "from first" in str(error.value)
    assert "from second" in str(error.value)


def test_nobody_takes_a_name_of_which_there_were_two() -> None:
    """A third plugin of that name is refused too: only the order of distributions would pick it."""
    found = discovery.discover({str(n): adding(Named) for n in range(3)})
    assert "named" not in found.entries["graph"]
    assert len(found.broken) == 3


class Misspelling(Reporter[Any]):
    """Waits for a hook that nobody calls."""

    name = "misspelling"

    @hookimpl
    def luthier_run_finnished(self, record: Any) -> None:
        """Never hear of it."""


class Asking(Reporter[Any]):
    """Asks a hook for what it does not give."""

    name = "asking"

    @hookimpl
    def luthier_run_ended(self, verdict: Any) -> None:
        """Hear of it."""


ODD = {"max-x": LimitSpec("x")}


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (type("Nameless", (Named,), {"name": ""}), "no usable `name`"),
        (type("Unfinished", (Graph,), {"name": "unfinished"}), "lacks `run`"),
        (type("Raw", (Named,), {"name": "raw", "Options": dict}), "`Options` is not a dataclass"),
        (type("Text", (Named,), {"name": "text", "accepts": "onnx"}), "`accepts` is 'onnx', not"),
        (type("Few", (Named,), {"name": "few", "libraries": ("onnx",)}), "`libraries`[0] is 'onnx"),
        (type("Axeless", (toy.Ramp,), {"name": "axeless", "axes": None}), "`axes` is None, not"),
        (
            type("Odd", (toy.Largest,), {"name": "odd", "limits": {"max-x": LimitSpec("x")}}),
            "no recipe can",
        ),
        (Misspelling, "`luthier_run_finnished` is no hook"),
        (Asking, "`luthier_run_ended` takes `verdict`"),
        (int, "derives from none of the kinds"),
        (7, "not a class"),
    ],
)
def test_a_broken_class_is_listed_with_its_distribution(cls: object, said: str) -> None:
    """The list names the plugin, its distribution and the fault; other plugins are found."""
    found = discovery.discover({"visitor": adding(cls, Named)})
    assert said in broken(found)
    assert "distribution: visitor" in broken(found)
    assert found.find("graph", "named").distribution == "visitor"


@dataclass
class ComplexOptions:
    """Options of a type that YAML does not have."""

    number: complex = 1j


def test_options_that_no_recipe_can_set_break_one_plugin() -> None:
    """Other plugins keep their schemas; naming the broken one reports its fault."""
    unset = type("Unset", (Named,), {"name": "unset", "Options": ComplexOptions})
    found = discovery.discover({"visitor": adding(unset, Named)})
    names = [entry.name for entry, _ in found.schemas()]
    assert "named" in names
    assert "unset" not in names
    with pytest.raises(PluginError, match="its options cannot be a schema"):
        found.find("graph", "unset")


def test_a_misspelt_hook_is_listed() -> None:
    """A misspelt hook is listed as broken, though pluggy alone ignores it."""

    def adds_nothing() -> list[Any]:
        return []

    misspelt = module(luthier_plugin=hookimpl(adds_nothing))
    assert "there is no hook `luthier_plugin`" in broken(discovery.discover({"visitor": misspelt}))


@pytest.mark.parametrize("hook", ["luthier_plugins", "luthier_presets", "luthier_recipes"])
@pytest.mark.parametrize(
    ("does", "said"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: sys.exit(0), "SystemExit"),
        (lambda: None, "TypeError"),
        (lambda: [None], "None"),
    ],
)
def test_a_hook_that_fails_breaks_its_distribution_only(
    hook: str, does: Callable[[], Any], said: str
) -> None:
    """A failing hook is listed with its file, and an unknown name may be one of its plugins."""
    failing = module(**{hook: hookimpl(does, specname=hook)})
    found = discovery.discover({"visitor": failing, "toy": toy})
    assert said in broken(found)
    assert "file: visitor.py" in broken(found)
    assert found.find("model", "gain").name == "gain"
    with pytest.raises(ConfigError, match="distribution `visitor` is broken"):
        found.find("model", "nobody")


def test_a_missing_library_is_answered_with_its_install_command() -> None:
    """A plugin that lacks a library is listed, and its use reports the install command."""

    class Needy(Named):
        """Needs what is not there."""

        name = "needy"
        libraries = (Requirement("no_such_library", "pip install no-such-library"),)

    entry = discovery.discover({"visitor": adding(Needy)}).find("graph", "needy")
    assert "pip install no-such-library" in entry.problem()
    with pytest.raises(MissingLibraryError, match="pip install no-such-library"):
        entry.create(entry.cls.Options())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """The error for an unknown name holds the nearest name and the whole list."""
    found = discovery.discover({"toy": toy})
    with pytest.raises(ConfigError, match="did you mean `overlap_add`") as error:
        found.find("chunker", "overlap_ad")
    assert "whole" in str(error.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def (:", "SyntaxError"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("raise ZeroDivisionError('at import')", "ZeroDivisionError: at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def luthier_plugins(): return 1 / 0", "ZeroDivisionError"),
        ("x = 1", "no plugin: end it with a `@hookimpl` function `luthier_plugins`"),
        ("a = lambda: a()\na()", "RecursionError"),
    ],
)
def test_a_file_of_the_box_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    """A failing file is listed with its path, the traceback's last line, and what to do."""
    kind = tmp_path / "kind_of_test"
    kind.mkdir()
    (kind / "__init__.py").touch()
    (kind / "broken.py").write_text(source)
    (kind / "whole.py").write_text("from tests.toy import Gain\nluthier_plugins = lambda: [Gain]\n")
    (kind / "not.a.module.py").touch()
    (kind / ".hidden.py").touch()
    (tmp_path / "grpah").mkdir()
    (tmp_path / "grpah" / "lost.py").touch()
    monkeypatch.setattr(plugins, "HERE", tmp_path)
    monkeypatch.setattr(plugins, "__path__", [str(tmp_path)])
    found = discovery.discover()
    for name in ("", ".broken", ".whole"):
        sys.modules.pop(f"plugins.kind_of_test{name}", None)
    assert found.find("model", "gain").cls is toy.Gain
    first, *others = found.broken
    assert said in str(first)
    assert f"file: {kind / 'broken.py'}" in str(first.error())
    assert "repair or remove it" in str(first.error())
    assert [Path(one.file).name for one in others] == ["lost.py", "not.a.module.py"]


@pytest.mark.parametrize(
    ("hook", "file", "text", "said"),
    [
        ("luthier_recipes", "odd.yaml", "hydra: {run: 1}", "unknown key `hydra`"),
        ("luthier_recipes", "odd.yaml", "title: [", "cannot be read"),
        ("luthier_recipes", "cpu_fp32.yaml", "title: mine", "two recipes are named `cpu_fp32`"),
        ("luthier_presets", "grpah/odd.yaml", "defaults: [x]", "unknown group `grpah`"),
        ("luthier_presets", "graph/odd.yaml", "defaults: x", "`defaults` that are no list"),
    ],
)
def test_a_bad_file_of_a_distribution_breaks_its_folder_only(
    tmp_path: Path, hook: str, file: str, text: str, said: str
) -> None:
    """A broken recipe or preset stops no command that does not use it."""
    place = tmp_path / "brought" / file
    place.parent.mkdir(parents=True)
    place.write_text(text)
    folder = str(tmp_path / "brought")
    found = discovery.discover(
        {"visitor": module(**{hook: hookimpl(lambda: [folder], specname=hook)})}
    )
    assert said in broken(found)
    assert str(place.parent) in broken(found)
    assert tmp_path / "brought" not in (*found.presets, *found.recipes)


@dataclass
class EndingOptions:
    """Options that end the process."""

    at: int = 0
    """With which code."""

    def __post_init__(self) -> None:
        """End it."""
        if self.at == 0:
            sys.exit(0)
        raise ValueError("`at` is not 0")


@pytest.mark.parametrize(
    ("at", "error", "said"),
    [
        (0, PluginError, "graph `named` would have ended the whole process: sys.exit(0)"),
        (1, ConfigError, "graph `named`: `at` is not 0"),
    ],
)
def test_options_cannot_end_a_run(at: int, error: type[Exception], said: str) -> None:
    """A ValueError of options is a refused value; any other error is the plugin's fault."""
    cls = type("Ending", (Named,), {"Options": EndingOptions})
    entry = discovery.discover({"visitor": adding(cls)}).find("graph", "named")
    node = options.schema(entry)
    node.at = at
    with pytest.raises(error, match=re.escape(said)):
        options.build(entry, node, "graph.named")


Install = Callable[[str], None]


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a distribution `guest` of one module."""

    def install(source: str) -> None:
        place = tmp_path / "site"
        about = place / "guest-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[luthier]\nguest = guest_of_test\n")
        (place / "guest_of_test.py").write_text(source)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, "guest_of_test", raising=False)

    return install


@pytest.mark.parametrize("source", ["import no_such_library", "import sys; sys.exit(0)", "def ("])
def test_a_distribution_that_cannot_be_loaded_is_listed(third_party: Install, source: str) -> None:
    """A distribution that raises anything is listed, and other plugins are found."""
    third_party(source)
    found = discovery.discover()
    assert [str(one).partition(":")[0] for one in found.broken] == [
        "distribution `guest` is broken"
    ]
    assert found.find("chunker", "overlap_add")


def test_a_broken_distribution_takes_neither_list_nor_doctor_nor_a_run_down(
    command: Command, recipe: Path, third_party: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """`list` shows the distribution and succeeds, `doctor` fails, and a run warns and goes on."""
    third_party("import sys; sys.exit(0)")
    listed = command("mode=list")
    assert (listed.code, "distribution `guest` is broken" in listed.out) == (0, True)
    found = discovery.discover()
    found.entries = {kind: {} for kind in found.entries}  # to look at them all takes seconds
    with pytest.raises(PluginError, match=r"1 installed part\(s\) cannot be used"):
        examine(found)
    assert "distribution `guest` is broken" in capsys.readouterr().out
    planned = command(f"recipe={recipe}", "mode=plan")
    assert (planned.code, "Traceback" in planned.err) == (0, False)
    assert planned.err.startswith("warning: distribution `guest` is broken: ")
    missing = command(f"recipe={recipe}", "graph=[of_guest]", "mode=plan")
    assert missing.code == 2
    assert "distribution `guest` is broken" in missing.err.partition("error: ")[2]


ENDING = """
import os
from core import Graph, StageResult, hookimpl

class Ending(Graph):
    "Ends the process."
    name = "ending"
    accepts = frozenset({"torch"})

    def run(self, artifact, work):
        os._exit(0)
        return StageResult(work.copy(artifact), "torch", "fp32")

@hookimpl
def luthier_plugins():
    return [Ending]
"""


def test_no_plugin_ends_a_run_with_exit_code_0(
    recipe: Path, toys: Path, tmp_path: Path, third_party: Install
) -> None:
    """An exit with code 0 in a plugin becomes an error with its plugin and file."""
    third_party(ENDING)
    paths = map(str, (toys, tmp_path / "site", Path(plugins.__file__).parent.parent))
    done = subprocess.run(
        [sys.executable, "-m", "core", f"recipe={recipe}", "graph=[ending]", f"store={tmp_path}/s"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "error: graph `ending` would have ended the whole process: os._exit(0)" in done.stderr
    assert "distribution: guest" in done.stderr
    assert "guest_of_test.py" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s" / "graph.ending").exists()
    assert not list((tmp_path / "outputs").rglob("report.json"))
