"""What a recipe must hold: judged on what was measured, and nothing is shipped that does not."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core import Artifact, Evaluator, LimitSpec, Metric, Target
from core.config.discovery import discover
from core.config.limits import OWN, Limit, known_limits, limits_of, schema
from core.config.pipeline import Pipeline
from core.errors import ConfigError
from core.measure.contract import found, judge, lowest_parity, missed, story, verdict
from core.measure.placement import Coverage
from core.plugin.records import BudgetLine, Judged
from core.plugin.registry import Registry
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions
from tests import toy
from tests.conftest import Command


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "toy").glob("*"))


def test_a_contract_that_holds_changes_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A held contract gives exit code 0, a bundle, and every limit with its value in the report."""
    done = command(f"recipe={recipe}", "contract.min_snr_db=50", "contract.max_largest=100")
    assert (done.code, done.err) == (0, "")
    (folder,) = folders(tmp_path)
    assert (folder / "bundle").is_dir()
    judged = json.loads((folder / "report.json").read_text())["contract"]
    assert [(one["name"], one["held"]) for one in judged] == [
        ("min_snr_db", True),
        ("max_largest", True),
    ]


def test_a_breach_is_exit_code_3_and_ships_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A breach gives the value, its distance, the stage that lost it, a report and no bundle."""
    done = command(f"recipe={recipe}", "quantizer.loss=0.1", "contract.min_snr_db=30")
    assert done.code == 3
    said = "20 dB for second of 2 windows on a pocket calculator, 10 dB off"
    assert f"`min_snr_db` asks for at least 30 dB: {said}" in done.err
    assert "10 dB off; lost by quantizer" in done.err
    assert "Traceback" not in done.err
    (folder,) = folders(tmp_path)
    assert (folder / "report.json").is_file()
    assert not (folder / "bundle").exists()


def test_what_an_evaluator_measures_can_be_a_limit(command: Command, recipe: Path) -> None:
    """The limit `max_largest` of the toy evaluator is accepted and judged."""
    done = command(f"recipe={recipe}", "contract.max_largest=1")
    assert done.code == 3
    assert "`max_largest` asks for at most 1" in done.err


def test_time_is_judged_where_the_device_plays(command: Command, recipe: Path) -> None:
    """A runtime that plays whole inputs is judged by its speed and its memory."""
    arguments = ["runtime=plain", "~runtime@host", "contract.max_memory_mb=1"]
    done = command(f"recipe={recipe}", *arguments)
    assert done.code == 3
    assert "`max_memory_mb` asks for at most 1 MB" in done.err


def test_the_bound_itself_is_held_and_nothing_beyond_it(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A value equal to the bound holds, and the smallest step beyond it does not."""
    arguments = (f"recipe={recipe}", "quantizer.loss=0.1", "~runtime@host", "runtime=plain")
    open_bounds = ("contract.min_snr_db=-999", "contract.max_largest=999", "contract.max_size_mb=1")
    assert command(*arguments, *open_bounds).code == 0
    (folder,) = folders(tmp_path)
    for one in json.loads((folder / "report.json").read_text())["contract"]:
        key, value = f"contract.{one['name']}", one["value"]
        away = math.inf if one["name"].startswith("min_") else -math.inf
        assert command(*arguments, f"{key}={value!r}").code == 0, key
        done = command(*arguments, f"{key}={math.nextafter(value, away)!r}")
        assert done.code == 3, key
        assert "the contract is broken" in done.err


REGISTRY = discover()
EVALUATORS = [
    cast("type[Evaluator[Any]]", entry.cls) for entry in REGISTRY.entries["evaluator"].values()
]
#: The metric of the core that answers a limit, by its name and what it is of.
CORE = {
    "max_chunk_ms": ("latency", "median"),
    "max_cold_start_ms": ("cold_start", ""),
    "max_real_time_factor": ("real_time_factor", ""),
    "max_memory_mb": ("peak_memory", ""),
    "min_snr_db": ("parity_snr", "a song: drums"),
}
SPECS = known_limits(REGISTRY)
EVERY = [field.name for field in dataclasses.fields(schema(known_limits(REGISTRY)))]


def limit_of(name: str, bound: float) -> Limit:
    """Return a limit by its name."""
    return Limit(name, bound, SPECS[name])


def judged(
    limit: Limit,
    *metrics: Metric,
    lines: tuple[BudgetLine, ...] = (),
    bytes: int = 0,  # noqa: A002  # as of an artifact
    chunkers: tuple[OverlapAdd | None, OverlapAdd | None] = (None, None),
    plays_itself: bool = True,
    coverage: Coverage | None = None,
) -> Judged:
    """Return the judgement on one limit; `chunkers` are those of the recipe and of FP32 PyTorch."""
    pipeline = SimpleNamespace(
        contract=(limit,), evaluator=EVALUATORS, target=Target(title="a phone"),
        chunker=chunkers[0], against=chunkers[1], plays_itself=plays_itself,
        runtime=SimpleNamespace(name="a runtime"),
    )  # fmt: skip
    steps = ("model", "exporter", "quantizer")
    shipped = Artifact("", "", "onnx", "int8", "", bytes, steps)
    against = "windows of 2 s"
    (one,) = judge(cast("Pipeline", pipeline), shipped, metrics, lines, against, coverage)
    return one


def test_the_times_of_a_host_answer_no_limit() -> None:
    """Where the host plays, no time is the device's: nothing measured the limit."""
    limit = limit_of("max_chunk_ms", 10)
    metric = Metric("latency", 5, "ms", "CPU", statistic="median")
    assert judged(limit, metric).held
    one = judged(limit, metric, plays_itself=False)
    assert (one.value, one.held) == (None, False)


def of_one(name: str, bound: float, value: float) -> Judged:
    """Return the judgement on a limit by its name, where `value` was measured of it."""
    if name == "max_size_mb":
        return judged(limit_of(name, bound), bytes=round(value * 1e6))
    if name == "min_accelerator_coverage":
        return judged(limit_of(name, bound), coverage=Coverage(value, "a phone", "a node is left"))
    of_evaluators = {n: spec.metric for cls in EVALUATORS for n, spec in cls.limits.items()}
    metric, subject = CORE.get(name) or (of_evaluators[name], "a song: drums")
    return judged(limit_of(name, bound), of(metric, value, subject))


@pytest.mark.parametrize("name", EVERY)
def test_every_limit_is_held_up_to_its_bound(name: str) -> None:
    """Values on the bound, slightly within, slightly beyond and a unit beyond are judged right."""
    bound = 2.0
    hair = 1e-6 if name == "max_size_mb" else 1e-12
    within = 1 if name.startswith("min_") else -1
    for off, held in ((0.0, True), (hair, True), (1.0, True), (-hair, False), (-1.0, False)):
        one = of_one(name, bound, bound + within * off)
        assert one.held is held, (name, off)
        assert one.value == pytest.approx(bound + within * off)
        assert ("off" in story(one)) is not held


@pytest.mark.parametrize("name", EVERY)
def test_a_limit_that_nothing_answers_is_not_held(name: str) -> None:
    """A limit without a value, or with a NaN, is not held."""
    if name != "max_size_mb":  # a file always has one
        one = judged(limit_of(name, 2.0))
        assert not one.held
        assert "nothing measured it" in story(one)
        one = of_one(name, 2.0, math.nan)
        assert not one.held
        assert story(one).partition(": ")[2].startswith("no number")


def test_every_limit_says_what_it_is_compared_with() -> None:
    """Every limit of the core and of each evaluator names the metric that it is compared with."""
    assert set(OWN) <= set(EVERY)
    assert set(EVERY) - set(OWN) == {name for cls in EVALUATORS for name in cls.limits}


def of(name: str, value: float, subject: str) -> Metric:
    """Return a metric of `<item>: <label>`, of an item as a whole, or of one statistic."""
    item, colon, label = subject.rpartition(": ")
    if not colon:
        return Metric(name, value, "dB", "CPU", statistic=subject)
    whole = label in ("all", "mean")
    return Metric(name, value, "dB", "CPU", item, "" if whole else label, label if whole else "")


def parity(value: float, subject: str) -> Metric:
    """Return the SNR to FP32 of one label of an item."""
    return of("parity_snr", value, subject)


def test_the_worst_label_of_the_worst_item_decides() -> None:
    """The worst label of the worst item counts: no loud stem or good song hides it."""
    metrics = [
        parity(40.0, "one: all"), parity(41.0, "one: drums"), parity(33.0, "one: bass"),
        parity(37.5, "two: all"), parity(38.0, "two: drums"), parity(0.0, "two: bass"),
    ]  # fmt: skip
    one = judged(limit_of("min_snr_db", 30.0), *metrics)
    assert (one.value, one.where, one.held) == (0.0, "bass of two", False)
    assert story(one).startswith(
        "`min_snr_db` asks for at least 30 dB: 0 dB for bass of two on CPU, 30 dB off"
    )
    assert lowest_parity(metrics) == metrics[-1]


def test_what_an_evaluator_measures_is_judged_by_its_worst_label() -> None:
    """The worst label counts in both directions, because means over stems or songs hide it."""
    values = {"one: drums": 0.01, "one: bass": 0.02, "one: mean": 0.015, "two: drums": 0.4,
              "two: bass": -0.3, "two: mean": 0.05}  # fmt: skip
    drops = [of("sdr_drop", v, subject) for subject, v in values.items()]
    one = judged(limit_of("max_sdr_drop_db", 0.1), *drops)
    assert (one.value, one.where, one.held) == (0.4, "drums of two", False)
    sdrs = [of("sdr", v, subject) for subject, v in values.items()]
    one = judged(limit_of("min_sdr_db", 0.0), *sdrs)
    assert (one.value, one.where, one.held) == (-0.3, "bass of two", False)


def test_between_equals_the_label_is_named() -> None:
    """Among equals the label is named, since one label is its own mean."""
    metrics = [of("sdr_drop", 0.2, f"a: {label}") for label in ("mean", "voice")]
    assert judged(limit_of("max_sdr_drop_db", 0.1), *metrics).where == "voice of a"


def test_a_song_that_was_not_measured_is_named() -> None:
    """The limit is judged on the measured songs, and the sentence names the others."""
    songs = ("a", "b: live", "c", "d", "e")
    metrics = [parity(50.0, f"{song}: all") for song in songs]
    one = judged(limit_of("max_sdr_drop_db", 0.1), *metrics, of("sdr_drop", 0.1, "a: drums"))
    assert (one.held, one.unanswered) == (True, ("b: live", "c", "d", "e"))
    assert story(one).endswith("; not measured of b: live, c, d, 1 more")
    assert judged(limit_of("min_snr_db", 30.0), *metrics).unanswered == ()


def test_a_limit_of_size_names_the_last_stage() -> None:
    """The size is that of what goes to the device, which the last step made."""
    assert judged(limit_of("max_size_mb", 1.0), bytes=2_000_000).guilty == "made by quantizer"


def test_up_to_three_unmeasured_items_are_all_named() -> None:
    """A sentence names three items, and counts only those that are left."""
    metrics = [parity(50.0, f"{song}: all") for song in "abcd"]
    one = judged(limit_of("max_sdr_drop_db", 0.1), *metrics, of("sdr_drop", 0.1, "a: drums"))
    assert story(one).endswith("; not measured of b, c, d")


def test_an_item_without_labels_is_named_alone() -> None:
    """The item that decides is named, with its label only where it has one."""
    assert judged(limit_of("min_snr_db", 30.0), parity(20.0, "a: all")).where == "a"
    assert judged(limit_of("min_snr_db", 30.0), parity(20.0, "a: drums")).where == "drums of a"


def test_a_bound_that_is_no_number_is_refused() -> None:
    """NaN as a bound is an error that names the limit."""
    with pytest.raises(ConfigError, match=r"`contract\.min_snr_db` is no number"):
        limits_of({"min_snr_db": math.nan}, REGISTRY)


def test_a_device_that_ran_a_few_windows_is_judged_by_its_worst_label_too() -> None:
    """An emulator that loses one stem breaks the limit, however good the host's result is."""
    probe = BudgetLine("probe", 44.0, "an emulator", 2, ("drums", "bass"), (45.0, 12.0))
    other = BudgetLine("quantizer", 3.0, "CPU", 2, ("drums", "bass"), (3.0, 3.0))
    one = judged(limit_of("min_snr_db", 30.0), parity(40.0, "a: drums"), lines=(other, probe))
    assert (one.value, one.device, one.where) == (12.0, "an emulator", "bass of 2 windows")
    probe = dataclasses.replace(probe, windows=1)
    one = judged(limit_of("min_snr_db", 30.0), lines=(probe,))
    assert one.where == "bass of 1 window"


def test_a_comparison_with_other_windows_is_named() -> None:
    """The sentence names the windows of FP32 PyTorch, and the cut may be the largest loss."""
    short, long = (OverlapAdd(OverlapAddOptions(length)) for length in (4000, 8000))
    cut = BudgetLine("chunk", 9.0, "CPU", 2, ("drums",), (9.0,), step_db=9.0, label_step_db=(9.0,))
    lost = BudgetLine("quantizer", 30.0, "CPU", 2, ("drums",), (30.0,), step_db=30.0,
                      label_step_db=(30.0,))  # fmt: skip
    metric = dataclasses.replace(parity(9.0, "a: drums"), note="against windows of 2 s")
    limit = limit_of("min_snr_db", 30.0)
    one = judged(limit, metric, lines=(cut, lost), chunkers=(short, long))
    assert one.against == "windows of 2 s"
    assert one.guilty.startswith("lost by chunk")
    assert "on CPU against FP32 PyTorch with windows of 2 s, 21 dB off" in story(one)
    # The same windows, no other windows at all, or a metric that was not compared with them.
    other = dataclasses.replace(metric, note="")
    for chunkers, told in (
        ((short, OverlapAdd(OverlapAddOptions(4000))), metric),
        ((short, None), metric),
        ((short, long), other),
    ):
        one = judged(limit, told, lines=(cut, lost), chunkers=chunkers)
        assert one.against == ""
        assert one.guilty.startswith("lost by quantizer")


def test_a_number_that_is_none_is_the_worst() -> None:
    """A NaN is the worst value, wherever sorting leaves it."""
    for values in ((math.nan, 0.0, 9.0), (0.0, math.nan, 9.0), (0.0, 9.0, math.nan)):
        metrics = [of("sdr_drop", v, f"a: {i}") for i, v in enumerate(values)]
        assert math.isnan(judged(limit_of("max_sdr_drop_db", 0.1), *metrics).value or 0.0)
        metrics = [dataclasses.replace(metric, name="sdr") for metric in metrics]
        assert math.isnan(judged(limit_of("min_sdr_db", -1.0), *metrics).value or 0.0)


@pytest.mark.parametrize(
    ("name", "bound", "value", "said"),
    [
        ("min_snr_db", 30.0, 29.9996, "29.9996 dB"),
        ("min_snr_db", 30.0, 29.96, "29.96 dB"),
        ("min_snr_db", 30.0, 30.0, "30 dB"),
        ("min_snr_db", 30.0, math.nextafter(30.0, 0), f"{math.nextafter(30.0, 0)!r} dB"),
        ("min_snr_db", 30.0004, 30.00045, "30.00045 dB"),
        ("min_snr_db", 30.0, 37.54876, "37.549 dB"),
        ("min_snr_db", 30.0, 0.123456, "0.123 dB"),
        ("max_sdr_drop_db", 0.1, 0.1000004, "0.1000004 dB"),
        ("max_sdr_drop_db", 0.1, -0.0000001, "0 dB"),
        ("max_size_mb", 1_000_000.0, 1_234_567.0, "1234567 MB"),
        ("max_sdr_drop_db", 0.1, math.inf, "inf dB"),
        ("max_size_mb", 20_000.0, 12_345.678, "12346 MB"),
        ("min_snr_db", 30 + 5e-7, 30 + 5.6789e-7, "30.0000006 dB"),
        ("min_snr_db", 30 + 5e-10, 30 + 5.6789e-10, "30.0000000006 dB"),
        ("min_snr_db", 30 + 5e-13, 30 + 5.6e-13, "30.0000000000006 dB"),
    ],
)
def test_a_miss_looks_missed(name: str, bound: float, value: float, said: str) -> None:
    """A rounded value in a message stays on its side of the bound."""
    limit = limit_of(name, bound)
    spec = limit.spec
    one = Judged(name, bound, value, spec.unit, "", limit.is_held_by(value), is_least=spec.is_least)
    assert found(one) == said
    assert limit.is_held_by(float(said.partition(" ")[0])) is one.held


def test_a_fallen_limit_in_words() -> None:
    """A limit that nothing measured is described as not held."""
    silent = Judged("min_accelerator_coverage", 1.0, None, "", "", held=False)
    assert missed([silent]) == [silent]
    assert "nothing measured it" in story(silent)
    over = Judged("max_size_mb", 2.0, 2.5, "MB", "the file", held=False, guilty="made by runtime")
    assert story(over) == (
        "`max_size_mb` asks for at most 2 MB: 2.5 MB on the file, 0.5 MB off; made by runtime"
    )


def test_a_limit_bounds_what_the_evaluator_of_the_recipe_measures() -> None:
    """Another one that is installed may have a limit of the same name for another metric."""
    registry = Registry(REGISTRY.manager)
    ours, theirs = LimitSpec("ours", "dB", is_least=True), LimitSpec("theirs", "%")
    for name, spec in (("a", theirs), ("b", ours)):
        registry.add(type(name, (toy.Largest,), {"name": name, "limits": {"max_x": spec}}), "some")
    evaluator = cast("Evaluator[Any]", registry.find("evaluator", "b").cls)
    assert limits_of({"max_x": 2.0}, registry, [evaluator]) == (Limit("max_x", 2.0, ours),)


def test_limits_without_a_bound_are_none() -> None:
    """A limit of null is no limit."""
    assert limits_of({"min_snr_db": None, "max_size_mb": 2.0}, REGISTRY) == (
        limit_of("max_size_mb", 2.0),
    )


TRUTH = LimitSpec("sdr_drop", "dB", of_truth=True)


def two_limits(
    *metrics: Metric, insisted: tuple[str, ...] = (), snr: bool = True
) -> dict[str, Judged]:
    """Judge a limit on the SNR and one on a comparison with the truth; return both by name."""
    limits = (Limit("max_sdr_drop_db", 0.1, TRUTH), *([limit_of("min_snr_db", 25.0)] * snr))
    pipeline = cast("Any", SimpleNamespace(contract=limits, chunker=None, against=None))
    shipped = Artifact("", "", "onnx", "fp32", "", 0, ("exporter",))
    return {one.name: one for one in judge(pipeline, shipped, metrics, (), insisted=insisted)}


def test_without_true_outputs_the_other_limits_decide() -> None:
    """A recipe's limit on the truth does not count where nobody knows it, and this is said."""
    near = Metric("parity_snr", 30.0, "dB", "a CPU", "song", "vocals", better="higher")
    judged = two_limits(near)
    assert missed(list(judged.values())) == []
    one = judged["max_sdr_drop_db"]
    assert (one.value, found(one), verdict(one)) == (None, "not judged", "not judged")
    assert story(one) == (
        "`max_sdr_drop_db` asks for at most 0.1 dB, and was not judged: no input has true outputs "
        "to compare with"
    )
    assert verdict(judged["min_snr_db"]) == "held"


def test_who_insists_on_the_truth_gets_no_contract_without_it() -> None:
    """A limit from the command line must be measured; so must one of all that a contract has."""
    near = Metric("parity_snr", 30.0, "dB", "a CPU", "song", "vocals", better="higher")
    insisted = two_limits(near, insisted=("max_sdr_drop_db",))["max_sdr_drop_db"]
    assert (insisted.held, insisted.waived, verdict(insisted)) == (False, "", "missed")
    alone = two_limits(near, snr=False)["max_sdr_drop_db"]
    assert (alone.held, found(alone)) == (False, "nothing")


def test_a_known_truth_is_judged() -> None:
    """Where one input has true outputs, the limit counts, and names those without."""
    metrics = (
        Metric("parity_snr", 30.0, "dB", "a CPU", "song", "vocals", better="higher"),
        Metric("parity_snr", 30.0, "dB", "a CPU", "other", "vocals", better="higher"),
        Metric("sdr_drop", 0.3, "dB", "a CPU", "song", "vocals", better="lower"),
    )
    one = two_limits(*metrics)["max_sdr_drop_db"]
    assert (one.held, one.waived, one.unanswered) == (False, "", ("other",))
