"""The suite of runtimes, for one that compiles what this machine cannot open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import Artifact, ArtifactSpec, Fact, Notice
from core.conformance import RuntimeSuite
from core.conformance.converter import onnx_artifact
from core.errors import PluginError
from core.plugin.progress import silent
from core.plugin.stages import StageContext, StageResult
from tests.absent_device import AbsentDevice


class TestAbsentDevice(RuntimeSuite):
    """It compiles, says why it opens nothing, and refuses in the core's way."""

    plugin = AbsentDevice


class Careless(AbsentDevice):
    """Fails in its own way where it should refuse."""

    def open(self, *_: Any) -> Any:
        """Fail."""
        raise OSError("no device")


class Opening(AbsentDevice):
    """Opens what it says cannot be opened."""

    def open(self, *_: Any) -> Any:
        """Open nothing."""
        return None


class Idle(AbsentDevice):
    """Says why, but compiles nothing."""

    compiles = False


class Talkative(AbsentDevice):
    """Writes sentences."""

    def unopenable(self) -> str:
        """Return two sentences."""
        return "There is none.\nBuy one."


class Restless(AbsentDevice):
    """Finds another machine each time."""

    asked = 0

    def machine(self) -> Mapping[str, Fact]:
        """Return a number that grows."""
        Restless.asked += 1
        return {"load": Restless.asked}


class Strange(AbsentDevice):
    """Returns a fact that JSON does not keep."""

    def machine(self) -> Mapping[str, Any]:
        """Return a set."""
        return {"cores": {1, 2}}


class Versioned(AbsentDevice):
    """Compiles with a fact that is almost text: a version that compares in its own way."""

    def compile(self, given: Artifact, ctx: StageContext) -> StageResult:
        """Return what is compiled, with the fact."""
        made = super().compile(given, ctx)
        return dataclasses.replace(made, facts={**made.facts, "made_with": Version("1.0")})


class Version(str):
    """A version, as libraries have them."""

    __slots__ = ()


class Rambling(AbsentDevice):
    """Advises in two lines."""

    def advice(self, spec: ArtifactSpec) -> Sequence[Notice]:
        """Return them."""
        return (Notice("info", "There is none.\nBuy one."),)


class Fickle(AbsentDevice):
    """Advises something else each time."""

    asked = 0

    def advice(self, spec: ArtifactSpec) -> Sequence[Notice]:
        """Return a number that grows."""
        Fickle.asked += 1
        return (Notice("info", f"asked {Fickle.asked} times"),)


def suite(cls: type[AbsentDevice]) -> RuntimeSuite:
    """Return the suite of a runtime."""
    made = RuntimeSuite()
    made.plugin = cls  # type: ignore[misc]  # of this one suite
    return made


@pytest.mark.parametrize(
    ("cls", "error"),
    [
        (Careless, OSError),
        (Opening, pytest.fail.Exception),
        (Idle, AssertionError),
        (Talkative, AssertionError),
        (Versioned, PluginError),
    ],
)
def test_a_runtime_that_breaks_the_contract_fails_its_suite(
    cls: type[AbsentDevice], error: type[BaseException], tmp_path: Path
) -> None:
    """A foreign error, a session, no compiler, sentences, or a fact that JSON changes is found."""
    (tmp_path / "work").mkdir()
    given, work = onnx_artifact(tmp_path / "given"), StageContext(tmp_path / "work", silent())
    with pytest.raises(error):
        suite(cls).test_what_cannot_be_opened_here_is_compiled_and_refused(given, work)


@pytest.mark.parametrize(("cls", "error"), [(Restless, AssertionError), (Strange, PluginError)])
def test_facts_that_are_no_facts_fail_the_suite(
    cls: type[AbsentDevice], error: type[Exception]
) -> None:
    """Facts that change from call to call, or are no JSON, cannot be part of a key."""
    with pytest.raises(error):
        suite(cls).test_its_facts_of_the_machine_are_plain_and_steady()


@pytest.mark.parametrize("cls", [Rambling, Fickle])
def test_advice_that_nobody_can_show_fails_the_suite(cls: type[AbsentDevice]) -> None:
    """Advice has one line each, and depends on the machine and the options only."""
    with pytest.raises(AssertionError):
        suite(cls).test_its_advice_is_short_and_steady()
