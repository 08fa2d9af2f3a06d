"""Texts of strangers reach a terminal and every file as plain text, and no secret reaches them."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.cli import main
from core.config import discovery
from tests import evil, toy
from tests.conftest import Command, Done

ROOT = Path(__file__).parent.parent
#: The bytes that no text file or stream may hold: C0 and C1 except tab, newline and carriage
#: return, DEL, and the marks of direction, all in UTF-8.
FORBIDDEN = (
    [bytes([code]) for code in (*range(9), 11, 12, *range(14, 32), 127)]
    + [chr(code).encode() for code in (*range(0x80, 0xA0), *range(0x202A, 0x202F))]
    + [chr(code).encode() for code in range(0x2066, 0x206A)]
)
RECIPE = {
    "title": "=1+1 title " + evil.WORDS.partition("https://ana")[0],
    "model": "evil_gain",
    "dataset": "evil_ramp",
    "calibration": "ramp",
    "graph": ["copied"],
    "quantizer": "coarse",
    "dsp": "straight",
    "chunker": "even",
    "runtime": "distant",
    "host": "evil_plain",
    "evaluator": ["evil_largest"],
    "reporter": {"terminal": {}, "json": {}, "html": {}},
}


@pytest.fixture
def evil_command(
    command: Command, tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Return the command line with the toys and the hostile toys, also for points of a sweep."""
    about = tmp_path / "site" / "evil-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[luthier]\nevil = tests.evil\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (toys, about.parent, ROOT))))
    monkeypatch.setattr(main, "discover", lambda: discovery.discover({"toy": toy, "evil": evil}))
    return command


@pytest.fixture
def evil_recipe(tmp_path: Path) -> Path:
    """Return a recipe whose title is as hostile as YAML allows."""
    file = tmp_path / "evil.yaml"
    file.write_text(yaml.safe_dump(RECIPE))
    return file


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that a person may open, with their names as they are shown."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in {".txt", ".bin"}:
            yield file.name, file.read_bytes()


def _check(name: str, content: bytes) -> None:
    for one in FORBIDDEN:
        at = content.find(one)
        assert at < 0, f"{name}: {content[max(0, at - 40) : at + 40]!r}"
    assert b"hunter2" not in content, f"{name}: {content[content.find(b'hunter2') - 60 :][:80]!r}"
    content.decode("utf-8")


def _check_streams(done: Done) -> None:
    assert "Traceback" not in done.err
    for name, stream in (("stdout", done.out), ("stderr", done.err)):
        _check(name, stream.encode("utf-8", "surrogatepass"))


class _Page(html.parser.HTMLParser):
    """The elements of a page, and the targets of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element and its links."""
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("href", "src")]
        assert not any(key.startswith("on") for key, _ in attrs)


def _check_page(text: str, scripts: int) -> None:
    page = _Page()
    page.feed(text)
    assert page.tags.count("script") == scripts
    assert "<!--" not in text
    assert not [link for link in page.links if not link.startswith(("#", "data:", "./"))]


def test_a_run_shows_words_as_text(evil_command: Command, evil_recipe: Path) -> None:
    """A run shows hostile words as text in its plan, output, summary, reports and bundle."""
    for mode in ("plan", "run"):
        done = evil_command(f"recipe={evil_recipe}", f"mode={mode}", "output=out")
        assert done.code == 0, done.err
        _check_streams(done)
        assert "[bold red]x[/]" in done.out.replace("\n", "")
    (place,) = Path("out", "evil").iterdir()
    for name, content in _files(place):
        _check(name, content)
    _check_page(
        (place / "report.html").read_text(), scripts=2
    )  # the Copy button, and chapters that fold
    report = json.loads((place / "report.json").read_text())
    assert report["metrics"]
    assert yaml.safe_load((place / "recipe.lock.yaml").read_text())["title"] == RECIPE["title"]
    page = (place / "bundle" / "README.md").read_text()
    assert "\\<script\\>" in page
    assert "[m](" not in page


def test_a_failed_run_says_so_in_plain_words(evil_command: Command, evil_recipe: Path) -> None:
    """A failed run shows the hostile words in a plugin's error as text."""
    done = evil_command(f"recipe={evil_recipe}", "model.broken=true")
    assert done.code == 1
    _check_streams(done)
    assert "\\x1b]0;evil\\x07" in done.err


def test_a_sweep_shows_words_as_text(evil_command: Command, evil_recipe: Path) -> None:
    """A sweep shows hostile words as text in its table, page, spreadsheet, logs and notes.

    A secret that is no URL (for example a launcher's) is accepted, and hidden wherever the command
    is shown.
    """
    done = evil_command(
        "-m", f"recipe={evil_recipe}", "model.broken=false,true", "output=out",
        "+hydra.job.env_set.RAY_redis_password=hunter2",
    )  # fmt: skip
    assert done.code == 1, done.err
    _check_streams(done)
    (place,) = Path("out", "evil").iterdir()
    names = []
    for name, content in _files(place):
        names.append(name)
        _check(name, content)
    assert {"sweep.html", "sweep.csv", "sweep.json", "report.html"} <= set(names)
    _check_page((place / "sweep.html").read_text(), scripts=7)
    rows = list(csv.reader(io.StringIO((place / "sweep.csv").read_text())))
    assert len(rows) == 3
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


def test_lists_show_words_as_text(evil_command: Command, tmp_path: Path) -> None:
    """The refusal of a recipe whose name has an escape code shows the name as text."""
    done = evil_command(f"recipe={tmp_path / chr(27)}[2J.yaml")
    assert done.code == 2
    _check_streams(done)


SECRET_PLACES = [
    "store=s3://AKIDEXAMPLE:hunter2@bucket/x",
    "store=https://host/x?token=hunter2",
    "input=https://ana:hunter2@host/song.wav",
    "dataset.path=https://ana:hunter2@host/songs",
    "model.weights=https://host/w.th?sig=hunter2",
    "reporter.mlflow.uri=https://ana:hunter2@host",
    "batch.address=ray://ana:hunter2@host:10001",
    "hydra.launcher.ray.init.address=ray://ana:hunter2@host",
    "output=ftp://ana:hunter2@host/x",
    "'title=https://ana:hunter2@host'",
    "+https://ana:hunter2@host=1",
    "https://ana:hunter2@host",
    "recipe=https://ana:hunter2@host/x.yaml",
]


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("word", SECRET_PLACES)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(
    command: Command, recipe: Path, word: str, sweep: bool
) -> None:
    """A run and a sweep refuse a password on the command line, and do not repeat it."""
    asked = word if word.startswith("recipe=") else f"recipe={recipe}"
    done = command(*(["-m"] if sweep else []), asked, word, "output=out")
    assert done.code == 2, done.err
    assert "password or a token" in done.err
    assert "hunter2" not in done.err + done.out
    assert not Path("out").exists()


@pytest.mark.parametrize("slot", ["model", "dataset", "host"])
def test_a_password_in_a_recipe_is_refused_and_not_repeated(
    command: Command, recipe: Path, slot: str
) -> None:
    """A password in a recipe's options, which reach lock files, is refused and not repeated."""
    content = yaml.safe_load(recipe.read_text())
    content[slot] = {"plugin": content[slot], "path": "https://ana:hunter2@host/x"}
    recipe.write_text(yaml.safe_dump(content))
    done = command(f"recipe={recipe}")
    assert done.code == 2
    assert "password or a token" in done.err
    assert "hunter2" not in done.err + done.out


def test_a_process_shows_bytes_that_are_no_text(tmp_path: Path, toys: Path) -> None:
    """A process on a terminal of ASCII only shows bytes that are no text as escapes."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(toys), str(ROOT))),
        "PYTHONIOENCODING": "ascii",
    }
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9.yaml"
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"core", b"recipe=" + name],
        cwd=ROOT, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"caf\\xe9.yaml" in done.stderr
    assert b"Traceback" not in done.stderr
