"""Changes the code that judges and keeps, one place at a time, and sees whether a test notices.

    python -m tools.mutate                   every subject (make mutate)
    python -m tools.mutate contract store    some of them; the figures of the others stay
    python -m tools.mutate --most 0          every change, not only the drawn ones

cosmic-ray makes the changes in a copy of the working tree, and for each change runs the tests of
the module. A change that no test noticed must be in `docs/results/mutation.json` with a reason: the
program means the same, or nobody could see the difference. The exit code is 1 if a survivor has no
reason, or if tests notice less than `LEAST` of the changes.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tools.results import about

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "mutation.json"
COMMAND = "make mutate"
#: The share of the changes that tests must notice.
LEAST = 0.85
#: The number of drawn changes of one module, and the seed: all changes would take a day.
MOST, SEED = 40, 0
#: Seconds after which a change has made an endless loop; a test would notice this loop, too.
LIMIT_S = 120.0
#: Kinds of changes. Each operator is replaced only by its nearest neighbours: a shift in place of
#: an addition, for example, fails everywhere. `|` occurs only in annotations, which are not run.
OPERATORS = frozenset(
    {
        "core/AddNot",
        "core/NumberReplacer",
        "core/ReplaceAndWithOr",
        "core/ReplaceOrWithAnd",
        "core/ReplaceTrueWithFalse",
        "core/ReplaceFalseWithTrue",
        "core/ReplaceUnaryOperator_Delete_Not",
        "core/ReplaceUnaryOperator_Delete_USub",
        "core/ReplaceComparisonOperator_Eq_NotEq",
        "core/ReplaceComparisonOperator_NotEq_Eq",
        "core/ReplaceComparisonOperator_Lt_LtE",
        "core/ReplaceComparisonOperator_LtE_Lt",
        "core/ReplaceComparisonOperator_Gt_GtE",
        "core/ReplaceComparisonOperator_GtE_Gt",
        "core/ReplaceComparisonOperator_Lt_Gt",
        "core/ReplaceComparisonOperator_Gt_Lt",
        "core/ReplaceComparisonOperator_Is_IsNot",
        "core/ReplaceComparisonOperator_IsNot_Is",
        "core/ReplaceBinaryOperator_Add_Sub",
        "core/ReplaceBinaryOperator_Sub_Add",
        "core/ReplaceBinaryOperator_Mul_Div",
        "core/ReplaceBinaryOperator_Div_Mul",
        "core/ReplaceBinaryOperator_Pow_Mul",
        "core/ReplaceBinaryOperator_Mod_Mul",
        "core/ReplaceBinaryOperator_FloorDiv_Mul",
        "core/ReplaceBreakWithContinue",
        "core/ReplaceContinueWithBreak",
        "core/ZeroIterationForLoop",
        "core/ExceptionReplacer",
    }
)


@dataclass(frozen=True)
class Subject:
    """A module to change, and the tests that should notice the changes."""

    module: str
    tests: tuple[str, ...]


SUBJECTS = {
    "limits": Subject("core/config/limits.py", ("core/measure/test_contract.py",)),
    "contract": Subject("core/measure/contract.py", ("core/measure/test_contract.py",)),
    "metrics": Subject("core/measure/metrics.py", ("core/measure/test_metrics.py",)),
    "error_budget": Subject(
        "core/measure/error_budget_rows.py", ("core/measure/test_error_budget_rows.py",)
    ),
    "check": Subject(
        "core/plan/check.py", ("core/plan/test_check.py", "core/plan/test_never_run.py")
    ),
    "fingerprint": Subject(
        "core/store/fingerprint.py",
        ("core/store/test_fingerprint.py", "core/plugin/test_options.py"),
    ),
    "source_code": Subject("core/store/source_code.py", ("core/store/test_source_code.py",)),
    "entry": Subject("core/store/entry.py", ("core/store/test_local.py",)),
    "store": Subject("core/store/local.py", ("core/store/test_local.py",)),
    "lease": Subject(
        "core/store/lease.py", ("core/store/test_lease_waiting.py", "core/store/test_lease.py")
    ),
    "choose": Subject("core/run/choose.py", ("core/run/test_best.py", "core/run/test_choose.py")),
    "benchmark": Subject(
        "core/run/benchmark.py", ("core/run/test_benchmark.py", "core/run/test_choose.py")
    ),
    "overlap_add": Subject(
        "plugins/chunker/overlap_add.py", ("plugins/chunker/test_overlap_add.py",)
    ),
    "whole": Subject("plugins/chunker/whole.py", ("plugins/chunker/test_whole.py",)),
    "stft": Subject(
        "plugins/dsp/stft.py",
        ("plugins/dsp/test_spectral_graphs.py", "plugins/dsp/test_stft.py"),
    ),
    "pareto": Subject("core/sweep/pareto.py", ("core/sweep/test_pareto.py",)),
}


def copied(folder: Path) -> Path:
    """Copy the files of the working tree that git knows; all changes are made in the copy."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, check=True)  # noqa: S603  # git
    for name in filter(None, listed.stdout.decode().split("\0")):
        file = folder / name
        if (ROOT / name).is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, file)
    return folder


def run(name: str, most: int) -> list[dict[str, Any]]:
    """Change one subject at every drawn place, and return a row for each change."""
    subject = SUBJECTS[name]
    with tempfile.TemporaryDirectory(prefix="luthier-mutate-") as scratch:
        tree, session = copied(Path(scratch, "tree")), Path(scratch, "session.sqlite")
        tests = [f"tests/{test}" for test in subject.tests]
        command = [sys.executable, "-m", "pytest", "-n0", "-q", "-x", "-p", "no:cacheprovider"]
        config = Path(scratch, "config.toml")
        config.write_text(
            "[cosmic-ray]\n"
            f"module-path = {json.dumps([subject.module])}\n"
            f"timeout = {LIMIT_S}\n"
            "excluded-modules = []\n"
            f"test-command = {json.dumps(' '.join([*command, *tests]))}\n"
            '[cosmic-ray.distributor]\nname = "local"\n'
        )

        def cosmic_ray(*words: object) -> None:
            line = [sys.executable, "-m", "cosmic_ray.cli", *map(str, words)]
            subprocess.run(line, cwd=tree, check=True)  # noqa: S603  # our own words

        cosmic_ray("init", config, session)
        with use_db(session, WorkDB.Mode.open) as work:
            _draw(work, most)
        cosmic_ray("baseline", config)
        cosmic_ray("exec", config, session)
        with use_db(session, WorkDB.Mode.open) as work:
            results = dict(work.results)
            items = {item.job_id: item for item in work.work_items}
            text = (ROOT / subject.module).read_text(encoding="utf-8").splitlines()
            return [
                _row(name, items[job], result, text)
                for job, result in results.items()
                if result.worker_outcome is not WorkerOutcome.SKIPPED
            ]


def _draw(work: WorkDB, most: int) -> None:
    """Skip the changes that are not drawn; `most` of 0 draws every change."""
    items = sorted(work.work_items, key=_place)
    wanted = [item for item in items if item.mutations[0].operator_name in OPERATORS]
    if most and len(wanted) > most:
        wanted = random.Random(SEED).sample(wanted, most)  # noqa: S311  # a draw of places
    drawn = {item.job_id for item in wanted}
    skipped = [item.job_id for item in items if item.job_id not in drawn]
    for job in skipped:
        work.set_result(job, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def _place(item: WorkItem) -> tuple[tuple[int, int], str, int]:
    (mutation,) = item.mutations
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def _row(name: str, item: WorkItem, result: WorkResult, text: list[str]) -> dict[str, Any]:
    (mutation,) = item.mutations
    line = text[mutation.start_pos[0] - 1].strip()
    noticed = result.test_outcome is not TestOutcome.SURVIVED
    change = [one[1:].strip() for one in (result.diff or "").splitlines() if one[:1] == "+"][1:]
    return {
        "subject": name,
        "change": mutation.operator_name.removeprefix("core/"),
        "line": line,
        "becomes": " ".join(change),
        "noticed": noticed,
    }


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["subject"], row["line"], row["becomes"]


def _before() -> dict[str, Any]:
    """Return what is committed."""
    if not RESULTS.is_file():
        return {"subjects": {}, "survivors": []}
    return dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def with_rows(before: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `before` with the subjects of `rows` measured anew.

    There are counts for each subject, and the survivors; a survivor that was known keeps its
    reason.
    """
    reasons = {_key(one): one["reason"] for one in before["survivors"]}
    anew = {row["subject"] for row in rows}
    subjects = {name: counts for name, counts in before["subjects"].items() if name not in anew}
    for row in rows:
        counts = subjects.setdefault(row["subject"], {"changes": 0, "noticed": 0})
        counts["changes"] += 1
        counts["noticed"] += row["noticed"]
    survivors = [one for one in before["survivors"] if one["subject"] not in anew]
    survivors += [
        {
            **{k: row[k] for k in ("subject", "line", "becomes")},
            "reason": reasons.get(_key(row), ""),
        }
        for row in rows
        if not row["noticed"]
    ]
    changes, noticed = (
        sum(one[key] for one in subjects.values()) for key in ("changes", "noticed")
    )
    return {
        **about(COMMAND),
        "changes": changes,
        "noticed": noticed,
        "subjects": {name: subjects[name] for name in SUBJECTS if name in subjects},
        "survivors": sorted(survivors, key=_key),
    }


def _faults(found: dict[str, Any]) -> Iterator[str]:
    if found["noticed"] < LEAST * found["changes"]:
        yield f"{found['noticed']} of {found['changes']} changes noticed: less than {LEAST:.0%}"
    for one in found["survivors"]:
        if not one["reason"]:
            yield f"{one['subject']}: no test notices `{one['line']}` as `{one['becomes']}`"


def main() -> int:
    """Run the subjects side by side, write the result of each, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], default=[])
    parser.add_argument("--most", type=int, default=MOST, help="changes of one module; 0 for all")
    given = parser.parse_args()
    names = given.subjects or list(SUBJECTS)
    found = _before()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in as_completed([pool.submit(run, name, given.most) for name in names]):
            found = with_rows(found, done.result())
            if given.most == MOST:
                text = json.dumps(found, indent=1, ensure_ascii=False)
                RESULTS.write_text(text + "\n", encoding="utf-8")
    print(f"{found['noticed']} of {found['changes']} changes noticed")
    faults = list(_faults(found))
    print("\n".join(faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
