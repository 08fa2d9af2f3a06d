"""The Dockerfile names what the checkout has: files, locks, extras, the Python and the command."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def copied() -> set[str]:
    """Return the files and folders of the checkout that go into the build."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_what_is_copied_exists_and_is_sent() -> None:
    """Every copied path is in the checkout, and .dockerignore lets these paths through alone."""
    assert all((ROOT / name).exists() for name in copied())
    assert IGNORED.index("*") < min(i for i, line in enumerate(IGNORED) if line.startswith("!"))
    assert {line[1:] for line in IGNORED if line.startswith("!")} == copied()


def test_the_whole_wheel_is_copied() -> None:
    """The image has every package of the wheel, and the files that building it reads."""
    packages = WHOLE["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    about = WHOLE["project"]
    assert {*packages, about["readme"], *about["license-files"], "pyproject.toml"} <= copied()


def test_both_stages_have_the_oldest_python() -> None:
    """Both stages start from one image, with the Python that the lock files are made for."""
    images = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    oldest = WHOLE["project"]["requires-python"].removeprefix(">=")
    assert len(images) == 2
    assert set(images) == {f"python:{oldest}-slim-bookworm"}


def test_extras_and_command_exist() -> None:
    """The extras that the Dockerfile and its documentation name are extras; so is the command."""
    (example,) = re.findall(r"^# Extras of pyproject\.toml, as (.+)\.$", TEXT, re.MULTILINE)
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = [*re.findall(r"`([^`]+)`", example), *re.findall(r"EXTRAS=([\w,]+)", page)]
    assert len(named) > 2
    extras = WHOLE["project"]["optional-dependencies"]
    assert {name for words in named for name in words.split(",")} <= set(extras)
    (command,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', TEXT, re.MULTILINE)
    assert command in WHOLE["project"]["scripts"]


def test_every_pinned_package_becomes_a_limit() -> None:
    """The pattern of the Dockerfile turns each pin of the users' lock into one line for pip."""
    (pattern,) = re.findall(r"sed -n 's/(.+)/\\1/p' (?:\S+\.lock)", TEXT)
    lines = (ROOT / "requirements-user.lock").read_text(encoding="utf-8").splitlines()
    ours = pattern.replace(r"\(", "(").replace(r"\)", ")")  # basic expressions group with \( \)
    limits = [found[1] for line in lines if (found := re.match(ours, line))]
    pins = [line for line in lines if re.match(r"[a-z0-9][\w.-]*==", line)]
    assert limits == [line.removesuffix("\\").strip() for line in pins]
