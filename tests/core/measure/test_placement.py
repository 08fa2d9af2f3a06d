"""What computed the nodes of a graph: counted by runtimes, reported, judged by a contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import Artifact, Placed, Placement
from core.measure.placement import (
    Coverage,
    coverage_of,
    facts_of,
    in_words,
    left_in_words,
    placement_in,
    warned,
)
from core.plugin.boundary import unlikely
from tests import toy
from tests.conftest import Command

SPLIT = Placement(
    "a profile",
    (Placed("NPU", 300, "int8"), Placed("NPU", 4), Placed("CPU", 8, "fp32", asked=False)),
    tuple((f"/n/{n}", "Softmax") for n in range(8)),
)
WHOLE = Placement("a profile", (Placed("CPU", 300, "fp32"), Placed("CPU", 12, "int8")))
TWO = ("~runtime@host", "runtime=two_devices")


def report(tmp_path: Path) -> Any:
    """Return the one report that a run left."""
    (folder,) = (tmp_path / "outputs" / "toy").glob("*")
    return json.loads((folder / "report.json").read_text())


def artifact(**facts: Any) -> Artifact:
    """Return an artifact with these facts."""
    return Artifact("", "", "onnx", "int8", "", 0, facts=facts)


def test_nodes_that_ran_elsewhere_are_a_warning_with_their_names(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The report has the placement, and a warning counts and names what did not run as asked."""
    done = command(f"recipe={recipe}", *TWO)
    assert (done.code, done.err) == (0, "")
    found = report(tmp_path)
    (placed,) = found["placements"]
    assert (placed["step"], placed["plugin"]) == ("play", "runtime `two_devices`")
    assert placed["placement"]["source"] == "a pencil"
    assert placed["placement"]["placed"][1] == {
        "device": "CPU", "nodes": 3, "precision": "fp32", "asked": False,
    }  # fmt: skip
    assert {
        "severity": "warning",
        "text": "3 of 6 nodes did not run as asked (3 on CPU in fp32), from a pencil: "
        "Multiply `node 0`, Multiply `node 1`, Multiply `node 2`",
    } in found["notices"]


def test_the_trace_is_asked_for_once_after_all_windows(command: Command, recipe: Path) -> None:
    """The session is asked after its last window, once, with feeds of one window."""
    assert command(f"recipe={recipe}", *TWO).code == 0
    ran = [word for word in toy.RAN if word.startswith("pl")]
    asked = [n for n, word in enumerate(ran) if word.startswith("placement")]
    assert len(asked) == 1
    assert ran[asked[0]] == "placement of 8 places"
    assert ran[asked[0] - 1] == "play"


def test_a_host_stands_in_for_the_device_and_warns_of_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """What the host computes is reported, but no recipe asks anything of it."""
    assert command(f"recipe={recipe}", "host=two_devices").code == 0
    found = report(tmp_path)
    by_step = {one["step"]: one["placement"] for one in found["placements"]}
    assert by_step["play"]["source"] == "a pencil"
    assert by_step["probe"] is None
    assert not [n for n in found["notices"] if "did not run as asked" in n["text"]]


@pytest.mark.parametrize(("bound", "code"), [(0.5, 0), (0.51, 3)])
def test_a_contract_judges_the_share_of_nodes(
    bound: float, code: int, command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Three of six nodes hold a bound of a half, and break a higher one."""
    done = command(f"recipe={recipe}", *TWO, f"contract.min_accelerator_coverage={bound}")
    assert done.code == code, done.err
    (judged,) = report(tmp_path)["contract"]
    assert judged["value"] == 0.5
    if code:
        assert "asks for at least 0.51: 0.5 on a pocket calculator, 0.01 off" in done.err
        assert "3 of 6 nodes did not run as asked" in done.err


def test_a_limit_that_no_trace_answers_is_not_held_and_says_why(
    command: Command, recipe: Path
) -> None:
    """A runtime without a trace cannot hold the limit, however it computes."""
    words = ("~runtime@host", "runtime=plain", "contract.min_accelerator_coverage=0")
    done = command(f"recipe={recipe}", *words)
    assert done.code == 3
    assert (
        "nothing measured it: runtime `plain` has no trace of what computed each node" in done.err
    )


@pytest.mark.parametrize(
    ("elsewhere", "said"),
    [(-1, ".placed[1].nodes is -1, below 0"), (7, ".placed[0].nodes is -1, below 0")],
)
def test_a_runtime_that_lies_is_named(
    elsewhere: int, said: str, command: Command, recipe: Path
) -> None:
    """Numbers that no trace can hold are an error that names the plugin."""
    done = command(f"recipe={recipe}", *TWO, f"runtime.elsewhere={elsewhere}")
    assert done.code == 2
    assert "runtime `two_devices`" in done.err
    assert said in done.err


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (None, ""),
        (SPLIT, ""),
        (Placement("a profile", ()), ".placed counts no node; without a trace, return None"),
        (Placement("a profile", (Placed("CPU", 0),)), ".placed counts no node"),
        (Placement("a profile", (Placed("CPU", 3), Placed("", 3))), ".placed[1].device is empty"),
        (Placement("", (Placed("CPU", 3),)), ".source is empty"),
        (Placement("a profile", (Placed("CPU", 3),), (("n", "Add"),)), ".left names 1 nodes"),
    ],
)
def test_a_placement_that_no_trace_can_hold_is_refused(
    placement: Placement | None, said: str
) -> None:
    """Nothing counted, nothing named, and names beyond the count are no trace."""
    assert unlikely(placement).startswith(said)
    assert bool(unlikely(placement)) is bool(said)


@pytest.mark.parametrize("placement", [SPLIT, WHOLE])
def test_facts_hold_a_placement(placement: Placement) -> None:
    """A placement survives its way through the JSON of a step's facts."""
    facts = json.loads(json.dumps(facts_of(placement)))
    assert placement_in(facts) == placement
    assert facts["accelerator_coverage"] == placement.coverage


def test_without_a_trace_there_are_no_facts() -> None:
    """No trace leaves no fact, and no fact is no placement."""
    assert facts_of(None) == {}
    assert placement_in({"device": "CPU"}) is None
    assert warned(None) == warned(WHOLE) == []


def test_a_placement_in_words() -> None:
    """The largest device comes first; a precision that is not told is left out."""
    assert in_words(WHOLE) == "all 312 nodes on CPU (fp32 300, int8 12), from a profile"
    assert (
        in_words(SPLIT) == "304 of 312 nodes on NPU (int8 300), 8 on CPU (fp32 8), from a profile"
    )
    assert in_words(Placement("a log", (Placed("GPU", 1),))) == "1 node on GPU, from a log"


def test_nodes_beyond_a_few_are_counted() -> None:
    """A sentence names five nodes, and counts the others."""
    said = left_in_words(SPLIT)
    assert said.startswith("8 of 312 nodes did not run as asked (8 on CPU in fp32), from a profile")
    assert said.endswith("Softmax `/n/4` and 3 more")
    assert "/n/5" not in said


def test_the_session_of_the_device_decides_and_then_its_compiler() -> None:
    """`probe` stands above `play`, and a session's trace above the compiler's partition map."""
    compiled = artifact(accelerator_coverage=0.25)
    probe, play = artifact(**facts_of(SPLIT), device="an emulator"), artifact(**facts_of(WHOLE))
    both = {"probe": probe, "play": play}
    assert coverage_of(both, compiled, "a phone") == Coverage(
        304 / 312, "an emulator", left_in_words(SPLIT)
    )
    assert coverage_of({"play": play}, compiled, "a phone") == Coverage(1.0, "", "")
    silent = {"probe": artifact(), "play": play}
    found = coverage_of(silent, compiled, "a phone")
    assert found is not None
    assert (found.value, found.device) == (0.25, "a phone")
    assert coverage_of(silent, artifact(), "a phone") is None
