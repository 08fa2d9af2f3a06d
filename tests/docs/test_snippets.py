"""Every snippet of the READMEs and of docs/ works, in the order in which a reader meets it.

Each page gets a copy of the checkout and is followed from top to bottom:

- A fence with a title, as in ```python title="plugins/graph/bare.py", is a file: it is written
  there, below the copy. So a plugin is found, a preset chosen and a recipe run as a reader would.
- ```python without a title is run by itself.
- ```yaml without a title is a recipe, and is planned.
- ```toml must parse.
- ```bash is run line by line. `python -m core` without a mode is planned, not run: what a run does
  is tested elsewhere. `pip install ./folder` installs a folder of the checkout, or one that the
  page wrote; any other `pip install`, `git clone` and `make` needs a network or takes minutes, and
  is left out, as are the lines that make and enter an environment. `song.flac`, `photo.png` and the
  folder `songs` are there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.copies import Copies, copies

ROOT = Path(__file__).parents[2]
LONG = {"docs/cluster.md", "docs/precision.md", "docs/sweeps.md"}
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
ROOMS = (
    "core",
    "luthier",
    "hydra_plugins",
    "plugins",
    "conf",
    "recipes",
    "examples",
    "pyproject.toml",
)
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What most commands begin with, done once for a page: nothing of what the page adds is there yet.
LOADS = """\
from core.config.compose import composing, register
from core.config.discovery import discover
from core.config.recipes import read_recipes
from core.store.source_code import of_module
registry = discover()
register(registry, read_recipes(registry.recipes))
with composing(["recipe=cpu_fp32"]):
    pass
for entries in registry.entries.values():
    for entry in entries.values():
        of_module(entry.cls.__module__)
"""
LEFT_OUT = ("make", "git clone", "pip install", "python3 -m venv", ". .venv")


@dataclass
class Snippet:
    """One fenced block: its language, the file that it is (or ""), its text, and its line."""

    language: str
    title: str
    text: str
    line: int


def snippets(page: Path) -> Iterator[Snippet]:
    """Yield the fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Snippet(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 1)


class Reader:
    """Somebody who follows a page in a fresh checkout."""

    def __init__(self, folder: Path, python: Copies) -> None:
        self.python = python
        self.checkout, self.site = folder / "checkout", folder / "site"
        self.checkout.mkdir()
        for room in ROOMS:
            source, target = ROOT / room, self.checkout / room
            if source.is_dir():
                shutil.copytree(source, target)  # with their bytecode
            else:
                shutil.copyfile(source, target)
        _write_inputs(self.checkout)
        path = os.pathsep.join([str(self.checkout), str(self.site)])
        # Pages of Python name no store: that of the user would be used.
        store = str(self.checkout / "store")
        self.environment = {**os.environ, "PYTHONPATH": path, "LUTHIER_STORE": store}

    def follow_all(self, page: Path) -> str:
        """Follow a page from top to bottom; return what failed, if anything did."""
        followed = list(snippets(page))
        typed = any(one.language != "text" and not one.title for one in followed)
        with (
            self.python.loaded(LOADS, self.checkout, self.environment)
            if typed
            else contextlib.nullcontext()
        ):
            for snippet in followed:
                try:
                    self.follow(snippet)
                except (RuntimeError, ValueError, OSError) as error:
                    return f"{page.name}:{snippet.line}: {error}"
        return ""

    def follow(self, snippet: Snippet) -> None:
        """Do what a snippet says."""
        if snippet.language == "toml":
            tomllib.loads(snippet.text)
        if snippet.title:
            file = self.checkout / snippet.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(snippet.text, encoding="utf-8")
        elif snippet.language == "python":
            self.run("python", "-c", snippet.text)
        elif snippet.language == "yaml":
            (self.checkout / "snippet.yaml").write_text(snippet.text, encoding="utf-8")
            self.core("recipe=snippet.yaml")
        elif snippet.language == "bash":
            for line in snippet.text.replace("\\\n", " ").splitlines():
                self.type(line)

    def type(self, line: str) -> None:
        """Type one line into the shell."""
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "core"]:
            self.core(*words[3:])
        elif words[:2] == ["pip", "install"] and words[-1].startswith("./"):
            self.install(words[-1])
        elif words and not line.startswith(LEFT_OUT):
            self.run(*words)

    def core(self, *arguments: str) -> None:
        """Run the command line, in mode `plan` where the page names none, with a store of ours."""
        arguments = tuple(word for word in arguments if not word.startswith("store="))
        named = any(a.startswith(("mode=", "--")) for a in arguments)
        store = f"store={self.checkout / 'store'}"
        extra = [] if "--help" in arguments else [store]
        self.run("python", "-m", "core", *arguments, *extra, *([] if named else ["mode=plan"]))

    def install(self, folder: str) -> None:
        """Install a distribution that the page wrote, without a network."""
        self.run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(self.site)),
            *("--no-deps", "--no-build-isolation", "--no-index", folder),
        )

    def run(self, *command: str) -> None:
        """Run a command in the checkout; it must end well."""
        if command[:3] == ("python", "-m", "core") or command[:2] == ("python", "-c"):
            code, said = self.python.run(command[1:], self.checkout, self.environment)
        else:
            done = subprocess.run(
                [sys.executable, *command[1:]] if command[0] == "python" else command,
                cwd=self.checkout,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=200,
                check=False,
            )
            code, said = done.returncode, done.stdout
        if code:
            raise RuntimeError(f"{shlex.join(command)}\n{said}")


def _write_inputs(folder: Path) -> None:
    """Write the files that pages give to `input=`."""
    import numpy as np
    import soundfile

    noise = np.random.default_rng(0).normal(0, 0.1, (44100, 2))
    soundfile.write(folder / "song.flac", noise, 44100)
    (folder / "songs").mkdir()
    shutil.copyfile(folder / "song.flac", folder / "songs" / "song.flac")
    (folder / "photo.png").touch()  # planned with, never opened


def _page(page: Path) -> Any:
    """Return a page as a parameter; those of sweeps, clusters and ladders take long."""
    name = page.relative_to(ROOT).as_posix()
    return pytest.param(page, id=name, marks=[pytest.mark.long] if name in LONG else [])


@pytest.fixture(scope="module")
def python() -> Iterator[Copies]:
    """Return what runs the Python commands of all pages."""
    with copies() as started:
        yield started


@pytest.mark.parametrize("page", [_page(page) for page in PAGES])
def test_every_snippet_works(page: Path, tmp_path: Path, python: Copies) -> None:
    """A reader who follows the page meets no error."""
    failed = Reader(tmp_path, python).follow_all(page)
    assert not failed, failed


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, python: Copies) -> None:
    """Its code cells, one after the other, as a kernel would run them."""
    notebook = json.loads((ROOT / "docs" / "luthier.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 3
    reader = Reader(tmp_path, python)
    with python.loaded(LOADS, reader.checkout, reader.environment):
        reader.run("python", "-c", "\n".join(cells))


def test_every_fence_is_one_that_the_test_understands() -> None:
    """A fence in another spelling would be left out without a word."""
    for page in PAGES:
        openings = re.findall(r"^ *```\S.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(list(snippets(page))) == len(openings), page
        known = {"python", "bash", "yaml", "toml", "text"}
        assert {snippet.language for snippet in snippets(page)} <= known, page
