"""`mode=usage` and `mode=clean`: what takes the disk, and how a person gets it back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.store.inventory import entries
from tests import toy
from tests.conftest import Command

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ran(command: Command, recipe: Path) -> Command:
    """Return the command line, after one run."""
    assert command(f"recipe={recipe}").code == 0
    toy.RAN.clear()
    return command


def names(root: Path) -> set[str]:
    """Return the names of what a store holds."""
    return {one.name for one in entries(root)}


def everything(root: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def statuses(tmp_path: Path) -> set[str]:
    """Return how the steps of the newest run came to their results."""
    newest = max(tmp_path.glob("outputs/toy/*/report.json"), key=lambda file: file.stat().st_mtime)
    return {step["status"] for step in json.loads(newest.read_text())["stages"]}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_usage_shows_totals_first_and_fits_the_screen(
    ran: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Steps, recipes, run folders and the rest each have their line; only paths may be longer."""
    monkeypatch.setenv("COLUMNS", str(columns))
    before = everything(tmp_path)
    done = ran("mode=usage")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"store    {tmp_path / 'store'}"
    assert f"in {len(names(tmp_path / 'store'))} results, store_limit_gb=0.5" in lines[1]
    assert lines[3] == f"outputs  {tmp_path / 'outputs'}"
    assert lines[4].endswith("in 1 run folder")
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["play"][1] == "1"
    assert rows["play"][-1] == "1", "one run folder uses it"
    assert rows["toy"][1] == "1"
    assert "inputs, decoded" in rows
    assert "which run used what" in done.out
    assert all(len(line) <= columns for line in lines if str(tmp_path) not in line)
    assert everything(tmp_path) == before


def test_usage_of_an_empty_place_makes_nothing(command: Command, tmp_path: Path) -> None:
    """Where nothing is, the totals are 0, and no folder is made."""
    done = command("mode=usage")
    assert "0 MB in 0 results" in done.out
    assert "0 MB in 0 run folders" in done.out
    assert list(tmp_path.iterdir()) == [tmp_path / "toy.yaml"] or not list(tmp_path.iterdir())


def test_usage_of_a_damaged_run_folder(ran: Command, tmp_path: Path) -> None:
    """A damaged lock file, a link and foreign folders below the outputs change nothing else."""
    (place,) = (tmp_path / "outputs" / "toy").iterdir()
    (place / "recipe.lock.yaml").write_bytes(b"\xff\x00: [")
    (tmp_path / "outputs" / "toy" / "other").mkdir()
    (tmp_path / "outputs" / "link").symlink_to("/")
    done = ran("mode=usage")
    assert done.code == 0, done.err
    assert "in 1 run folder\n" in done.out
    assert ran("mode=clean", "clean.unused=true").out.count("0 results would go") == 1


def test_clean_without_a_condition_says_which_there_are(ran: Command, tmp_path: Path) -> None:
    """Nothing is removed by a command that does not say what."""
    done = ran("mode=clean", "clean.confirm=true")
    assert done.code == 2
    for words in ("clean.unused=true", "clean.keep_last=3", "clean.older_than_days=30"):
        assert words in done.err
    assert names(tmp_path / "store")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("clean.older_than_days=-1", "`older_than_days` cannot be -1"),
        ("clean.larger_than_mb=nan", "`larger_than_mb` cannot be nan"),
        ("clean.keep_last=some", "`clean.keep_last` cannot be `some`"),
        ("clean.older=3", "no option `clean.older`"),
        ("store_limit_gb=much", "`store_limit_gb` cannot be `much`"),
    ],
)
def test_nonsense_is_refused(ran: Command, option: str, said: str) -> None:
    """A number out of bounds or a mistyped option ends in one message."""
    done = ran("mode=clean", option)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_limit_below_zero_is_refused_before_anything_runs(command: Command, recipe: Path) -> None:
    """A run with a limit that is no size does not start."""
    command(f"recipe={recipe}", "store_limit_gb=-1").refused(["`store_limit_gb` cannot be -1"])


def test_clean_first_shows_and_then_removes(ran: Command, tmp_path: Path) -> None:
    """The command that it prints removes what it showed; run folders stay as they are."""
    store = tmp_path / "store"
    before, kept = names(store), everything(tmp_path / "outputs")
    shown = ran("mode=clean", "clean.older_than_days=0")
    assert f"{len(before)} results would go" in shown.out
    assert names(store) == before
    again = shown.out.split("to remove them: ")[1].strip()
    assert again == (
        f"python -m core store={store} mode=clean clean.older_than_days=0 clean.confirm=true"
    )
    done = ran(*again.split()[4:])
    assert f"removed {len(before)} results" in done.out
    assert names(store) == set()
    assert everything(tmp_path / "outputs") == kept
    assert ran("mode=clean", "clean.older_than_days=0", "clean.confirm=true").code == 0


def test_after_a_clean_the_same_run_makes_everything_again(
    ran: Command, recipe: Path, tmp_path: Path
) -> None:
    """A clean-up costs time, and no result."""
    assert ran("mode=clean", "clean.older_than_days=0", "clean.confirm=true").code == 0
    done = ran(f"recipe={recipe}")
    assert done.code == 0, done.err
    assert "damaged" not in done.err
    assert "quantizer" in toy.RAN
    assert ran(f"recipe={recipe}").code == 0
    assert statuses(tmp_path) == {"cached"}


def test_only_what_no_run_folder_uses_goes(ran: Command, recipe: Path, tmp_path: Path) -> None:
    """A run whose folder was removed frees what no other run shares with it."""
    store = tmp_path / "store"
    first = names(store)
    assert ran(f"recipe={recipe}", "quantizer.levels=6", "output=other").code == 0
    assert names(store) > first
    shutil.rmtree("other")
    assert ran("mode=clean", "clean.unused=true", "clean.confirm=true").code == 0
    assert names(store) == first


def test_what_the_last_runs_used_stays(ran: Command, recipe: Path, tmp_path: Path) -> None:
    """`keep_last` counts runs, and a sweep with its points as one."""
    store = tmp_path / "store"
    assert ran("-m", f"recipe={recipe}", "quantizer.levels=6,7").code == 0
    toy.RAN.clear()
    assert ran("mode=clean", "clean.keep_last=1", "clean.confirm=true").code == 0
    points = [n for n in names(store) if n.startswith("quantizer/")]
    assert len(points) == 2, "those of the sweep; the run before it used another"
    assert ran("mode=clean", "clean.keep_last=0", "clean.confirm=true").code == 0
    assert names(store) == set()


def test_only_large_results_go(ran: Command) -> None:
    """Results of more MB than the limit go, and all conditions must hold."""
    assert "0 results would go" in ran("mode=clean", "clean.larger_than_mb=100").out
    both = ("clean.larger_than_mb=0", "clean.older_than_days=1")
    assert "0 results would go" in ran("mode=clean", *both).out


def test_a_sweep_is_brought_below_the_limit_at_its_end(
    ran: Command, recipe: Path, tmp_path: Path
) -> None:
    """What its points made stays for the same sweep; what older runs made goes."""
    store = tmp_path / "store"
    before = names(store)
    swept = ("-m", f"recipe={recipe}", "quantizer.levels=6,7", "store_limit_gb=0")
    done = ran(*swept)
    assert done.code == 0, done.err
    assert done.out.count("store: removed ") == 1
    assert "stay, above store_limit_gb=0" in done.out
    assert len([n for n in names(store) if n.startswith("quantizer/")]) == 2
    assert before - names(store)


def test_a_store_at_a_url_says_what_is_not_counted(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects at the URL are neither counted nor removed; this machine's copies are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = command("store=memory://a/b", "mode=usage")
    assert "this machine's copies of memory://a/b" in done.out, done.err
    assert "not counted" in done.out
    done = command("store=memory://a/b", "mode=clean", "clean.unused=true")
    assert "nothing at the URL is removed" in done.out, done.err


def test_clean_beside_a_running_job(ran: Command, toys: Path, recipe: Path, tmp_path: Path) -> None:
    """A job that stands in the middle of a run keeps all that it used, and ends as ever."""
    store = tmp_path / "store"
    earlier = names(store)
    job = subprocess.Popen(
        [sys.executable, "-m", "core", f"recipe={recipe}", f"store={store}", "output=beside",
         "model.gain=3", "quantizer.seconds=1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(toys), str(ROOT)))},
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with job:
        while not {n for n in names(store) - earlier if n.startswith("graph.copied/")}:
            assert job.poll() is None, job.stderr and job.stderr.read()
            time.sleep(0.02)
        while not list((store / "locks").glob("quantizer-*")):
            time.sleep(0.02)
        time.sleep(0.3)  # it sleeps by now; the test holds at any other moment, too
        os.kill(job.pid, signal.SIGSTOP)
        try:
            theirs = names(store) - earlier
            done = ran("mode=clean", "clean.older_than_days=0", "clean.confirm=true")
        finally:
            os.kill(job.pid, signal.SIGCONT)
        out, err = job.communicate()
    assert done.code == 0, done.err
    assert "a running job uses it" in done.out
    assert names(store) >= theirs
    assert not names(store) & {n for n in earlier if n.startswith(("play/", "quantizer/"))}
    assert job.returncode == 0, out + err
    assert "damaged" not in err
    (report,) = tmp_path.glob("beside/toy/*/report.json")
    assert {s["status"] for s in json.loads(report.read_text())["stages"]} <= {"ran", "cached"}


def test_ctrl_c_during_clean_says_what_is_gone(
    ran: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went by then is said, and the next clean-up goes on."""
    from core.store import removal

    real, calls = removal.why_not, [0]

    def interrupted(*given: object) -> str:
        calls[0] += 1
        if calls[0] > 2:
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]  # handed on

    with monkeypatch.context() as patched:
        patched.setattr(removal, "why_not", interrupted)
        done = ran("mode=clean", "clean.older_than_days=0", "clean.confirm=true")
    assert done.code == 130
    assert "removed 2 results" in done.out
    assert "interrupted" in done.err
    left = len(names(tmp_path / "store"))
    done = ran("mode=clean", "clean.older_than_days=0", "clean.confirm=true")
    assert f"removed {left} results" in done.out


def test_make_clean_leaves_outputs(tmp_path: Path) -> None:
    """`make clean` removes what `make` made, and no stems."""
    stems = tmp_path / "outputs" / "a" / "stems"
    stems.mkdir(parents=True)
    (tmp_path / ".venv").mkdir()
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    subprocess.run([make, "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True)
    assert stems.is_dir()
    assert not (tmp_path / ".venv").exists()


def test_beyond_the_limit_what_was_played_goes_and_the_same_run_computes_nothing(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only descriptions stay of what a repetition does not read; a change makes it again."""
    monkeypatch.setenv("COLUMNS", "200")
    store, tight = tmp_path / "store", (f"recipe={recipe}", "store_limit_gb=0")
    done = command(*tight)
    assert done.code == 0, done.err
    assert "removed what this run read and played" in done.out
    for step in ("play", "reference", "ideal"):
        assert not list(store.glob(f"{step}/*/files"))
    assert not list((store / "state" / "items").glob("[0-9a-f]*"))
    assert list(store.glob("save/*/files"))

    done = command(*tight, "mode=plan")
    assert "0 of " in done.out
    done = command(*tight)
    assert (done.code, statuses(tmp_path)) == (0, {"cached"}), done.err
    assert "damaged" not in done.err
    first, second = sorted(tmp_path.glob("outputs/toy/*"))
    assert (first / "y.txt").read_bytes() == (second / "y.txt").read_bytes()

    done = command(*tight, "evaluator=[largest,near]", "mode=plan")
    assert "its files were removed to make room" in done.out
    toy.RAN.clear()
    done = command(*tight, "evaluator=[largest,near]")
    assert done.code == 0, done.err
    assert "quantizer" not in toy.RAN


def test_of_several_precisions_the_saved_files_of_one_stay(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A choice leaves the files of its last precision; another choice makes its own again."""
    recipe.write_text(recipe.read_text().replace("quantizer: ", "precision: fine\n#"))
    tight = (f"recipe={recipe}", "store_limit_gb=0", "ladder=[rough,middling,fine]")
    done = command(*tight, "contract.min_snr_db=35")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "store").glob("save/*"))) == 2
    assert len(list((tmp_path / "store").glob("save/*/files"))) == 1
    toy.RAN.clear()
    done = command(*tight, "contract.min_snr_db=35")
    assert (done.code, toy.RAN) == (0, [])
    # The first precision holds now, whose files are gone.
    done = command(*tight, "contract.min_snr_db=1")
    assert done.code == 0, done.err
    assert {"play", "save"} <= set(toy.RAN) <= {"play", "save", "evaluate"}
    kept = sorted(tmp_path.glob("outputs/toy/*/y.txt"))
    assert len(kept) == 3
    assert all(file.read_text() for file in kept)
