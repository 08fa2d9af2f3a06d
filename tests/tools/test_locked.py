"""The lock files pin every package by hash for every machine, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.locked import BASE, locked, normal, parts

ROOT = Path(__file__).parents[2]
LOCKED = locked()
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ABOUT = WHOLE["project"]
#: Extras for devices that most machines lack, or engines beside the base's, with a quantiser for
#: one: not in the lock.
UNLOCKED = {"nncf", "openvino", "rtx", "tensorrt", "webgpu"}
PARTS = {p: lines for p, lines in ABOUT["optional-dependencies"].items() if p not in UNLOCKED}
ASKED = sorted({line for lines in (ABOUT["dependencies"], *PARTS.values()) for line in lines})


def test_every_package_has_hashes() -> None:
    """Every locked package has hashes except PyTorch, which has a lock file of its own."""
    assert len(LOCKED) > 200
    assert [name for name, package in LOCKED.items() if not package.sha256] == ["torch"]
    (line,) = (
        line
        for line in (ROOT / "requirements-torch.lock").read_text().splitlines()
        if not line.startswith("#")
    )
    assert line == f"torch=={LOCKED['torch'].version}"


@pytest.mark.parametrize(
    "name",
    [
        "requirements.lock",
        "requirements-user.lock",
        "requirements-torch.lock",
        "requirements-site.lock",
    ],
)
def test_no_machine_is_named(name: str) -> None:
    """The lock files hold names, versions, hashes and notes, but no index, folder or own build."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert re.match(
            r"[a-z0-9][\w.-]*==[\w.]+( ; [^/]*)?( \\)?$|$|    --hash=sha256:|\s*#", line
        )
        assert "://" not in line


@pytest.mark.parametrize("line", ASKED)
def test_what_pyproject_asks_for_is_locked(line: str) -> None:
    """Every requirement of pyproject.toml allows the version that is locked for it."""
    asked = Requirement(line)
    assert asked.specifier.contains(LOCKED[normal(asked.name)].version, prereleases=True)


def test_what_the_site_asks_for_is_locked() -> None:
    """Every tool of `make site` is locked in an allowed version, for each Python."""
    lock = (ROOT / "requirements-site.lock").read_text(encoding="utf-8")
    for line in WHOLE["dependency-groups"]["site"]:
        asked = Requirement(line)
        versions = re.findall(rf"^{asked.name}==(\S+)", lock, re.MULTILINE)
        assert versions
        assert all(asked.specifier.contains(version) for version in versions)


def test_the_lock_says_who_asks() -> None:
    """The lock's notes give the packages of the base (as `lameenc`) and those of each extra."""
    brought = parts(LOCKED)
    assert LOCKED["lameenc"].via == ["demucs"]
    assert {"lameenc", "torch", "numpy"} <= brought[BASE]
    assert brought[BASE].isdisjoint({"ray", "pytest", "model-signing"})
    for part, lines in PARTS.items():
        assert {normal(Requirement(line).name) for line in lines} <= brought[part]
    assert set().union(*brought.values()) == set(LOCKED)


def test_the_environment_is_made_by_hash() -> None:
    """The Makefile installs PyTorch alone first, then the other locked packages by their hashes."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rule = text.partition(".venv/user: ")[2].partition("demo:")[0]
    installs = [
        line.split(" install ")[1].split() for line in rule.splitlines() if " install " in line
    ]
    assert installs[0] == ["--quiet", "--no-deps", "--requirement", "requirements-torch.lock"]
    assert {"--require-hashes", "--no-deps", "requirements-user.lock"} <= set(installs[1])
    assert {"--require-hashes", "--no-deps", "requirements.lock"} <= set(installs[-1])


def test_a_user_gets_a_part_of_what_a_developer_gets() -> None:
    """The user's lock has what the base, the phone's compiler and the install need, and no more."""
    users, every = (
        dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-user.lock", "requirements.lock")
    )
    assert users.items() <= every.items()
    build = {Requirement(line).name for line in WHOLE["dependency-groups"]["build"]}
    brought = parts(LOCKED)
    assert {*brought[BASE], *build} - {"torch"} <= users.keys() | {"torch"}
    assert users.keys().isdisjoint({"pytest", "mypy", "ray", "mlflow-skinny", "moto", "pyarrow"})
