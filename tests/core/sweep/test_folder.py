"""The folder of a sweep."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import StoreError, UnsafePathError
from core.sweep.folder import LONGEST, found, identity, is_of, keep, name_of, owned, place_of
from core.sweep.messages import PointResult
from tests.flips import flipped

SWEPT = ["recipe=toy", "a=1,2", "b=x,y"]


@given(st.permutations(SWEPT))
def test_a_sweep_is_the_same_in_whatever_order_it_is_typed(arguments: list[str]) -> None:
    """The order of arguments does not change a sweep, so that it goes on where it was."""
    assert identity(arguments) == identity(SWEPT)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "output=/elsewhere",
        "store=/elsewhere",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=4",
        "hydra.verbose=true",
        "sweep.retries=0",
    ],
)
def test_a_sweep_is_the_same_however_it_is_run(elsewhere: str) -> None:
    """Another store or another number of jobs does not change a sweep, since figures stay."""
    assert identity([elsewhere, *SWEPT]) == identity(SWEPT)


@pytest.mark.parametrize("more", ["c=1", "storey=1", "reporter=[json]"])
def test_another_key_is_another_sweep(more: str) -> None:
    """Another key changes a sweep, even with the prefix of a key that does not count."""
    assert identity([*SWEPT, more]) != identity(SWEPT)
    assert identity(SWEPT) != identity(["recipe=toy", "a=1,2,3", "b=x,y"])


def test_the_folder_lies_under_the_recipe() -> None:
    """The sweep's folder is absolute, because a point may run elsewhere."""
    assert place_of("outputs", "toy", "1234") == Path.cwd() / "outputs" / "toy" / "sweep-1234"


def test_a_name_says_the_values_as_they_are() -> None:
    """A point's name holds the values, and of each key only the part after the last dot."""
    values = {"chunker.length": "22050", "precision": "torch_int8", "x": "-0.5"}
    assert name_of(values) == "length-22050_precision-torch_int8_x--0.5"
    assert name_of({}) == "point"


texts = st.text(max_size=120)
keys = st.lists(st.from_regex(r"[a-z]{1,3}(\.[a-b]{1,2})?", fullmatch=True), min_size=1, max_size=3)


@given(keys.map(lambda found: list(dict.fromkeys(found))), st.data())
def test_two_points_have_two_names(axes: list[str], data: st.DataObject) -> None:
    """Names differ for any values: quotes, slashes, spaces, or text like the next key."""
    alike = st.one_of(texts, st.from_regex(r"(1|_[ab]-1){0,3}", fullmatch=True))
    one = {key: data.draw(alike) for key in axes}
    two = {key: data.draw(alike) for key in axes}
    assume(one != two)
    assert name_of(one) != name_of(two)


def test_a_value_that_looks_like_the_next_key_is_told_apart() -> None:
    """A value like `1_b-2` never gives another point's name, such as that of `1` and `2_b-3`."""
    assert name_of({"a": "1_b-2", "b": "3"}) != name_of({"a": "1", "b": "2_b-3"})


@given(st.dictionaries(st.text(min_size=1, max_size=8), texts, max_size=4))
def test_a_name_is_one_folder_on_any_system(values: dict[str, str]) -> None:
    """A name has no separator, no `..`, no final dot or space, and is short enough."""
    name = name_of(values)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert name not in ("points", "logs")
    assert len(name) <= LONGEST + 20


def result(tmp_path: Path, said: PointResult, *, folder: bool = True) -> PointResult | None:
    """Return what is found of a point that told `said`, with its run folder or without."""
    (tmp_path / "points").mkdir()
    keep(tmp_path, "key", said)
    if folder:
        (tmp_path / "a-1").mkdir()
        (tmp_path / "a-1" / "recipe.lock.yaml").touch()
    return found(tmp_path, "key", "a-1")


@pytest.mark.parametrize("status", ["done", "missed"])
def test_a_point_that_ran_is_found(tmp_path: Path, status: str) -> None:
    """A finished point is found with its figures and their devices."""
    said = PointResult(status, figures={"sdr": (8.0, "a CPU")}, ran=("play",), placed=True)  # type: ignore[arg-type]  # one of the two
    assert result(tmp_path, said) == said


def test_a_point_whose_run_folder_is_gone_runs_again(tmp_path: Path) -> None:
    """A point runs again if its run folder is gone: a person may have deleted it for that."""
    assert result(tmp_path, PointResult("done", placed=True), folder=False) is None


def test_a_point_that_ran_elsewhere_is_made_here(tmp_path: Path) -> None:
    """The figures of a point that ran elsewhere are known, and only its run folder is made."""
    assert result(tmp_path, PointResult("done", placed=False)) is None


def test_a_point_that_failed_runs_again(tmp_path: Path) -> None:
    """A failed point runs again, because the disk may have been the cause."""
    assert result(tmp_path, PointResult("failed", "x", exit_code=1)) is None


def test_a_point_that_was_refused_is_not_asked_again(tmp_path: Path) -> None:
    """A refused point counts without a run folder."""
    said = PointResult("refused", "8 places do not fit", ("take fewer",))
    assert result(tmp_path, said, folder=False) == said


def test_a_damaged_record_is_told_and_the_point_runs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a file, another version, a flip at any bit, or another point's record is damage."""
    assert found(tmp_path, "key", "a-1") is None
    said = PointResult("done", figures={"sdr": (8.0, "a CPU")}, placed=True)
    assert result(tmp_path, said) == said
    assert capsys.readouterr().err == ""
    keep(tmp_path, "other", said)
    file = tmp_path / "points" / "key.json"
    whole = file.read_bytes()
    others = (tmp_path / "points" / "other.json").read_bytes()
    for spoilt in (b"", whole[:-1], b'{"status": "done"}', others, *flipped(whole, 60)):
        file.write_bytes(spoilt)
        assert found(tmp_path, "key", "a-1") is None
        assert "of point a-1 is damaged, and the point runs again" in capsys.readouterr().err


def test_what_was_damaged_in_one_run_is_not_told_of_the_next(tmp_path: Path) -> None:
    """Damage that one run repaired is not reported by the next."""
    again = result(tmp_path, PointResult("done", placed=True, damaged=("the kept result",)))
    assert again == PointResult("done", placed=True)


def test_a_folder_knows_its_sweep(tmp_path: Path) -> None:
    """A damaged mark counts as none: the point is then written elsewhere."""
    assert not is_of(tmp_path, "1234")
    with owned(tmp_path, "1234"):
        assert is_of(tmp_path, "1234")
        assert not is_of(tmp_path, "5678")
        (tmp_path / "points" / "sweep").write_bytes(b"1234\xff")
        assert not is_of(tmp_path, "1234")


def test_a_folder_is_held_by_one_sweep(tmp_path: Path) -> None:
    """A folder has one sweep at a time, and is free after any end of it."""

    def start(*, stopped: bool = False) -> None:
        with owned(tmp_path, "1234"):
            if stopped:
                raise KeyboardInterrupt

    with owned(tmp_path, "1234"), pytest.raises(StoreError, match="running already"):
        start()
    with pytest.raises(KeyboardInterrupt):
        start(stopped=True)
    with owned(tmp_path, "1234"):
        assert is_of(tmp_path, "1234")


@pytest.mark.skipif(sys.platform == "win32", reason="a file in place of a folder, as POSIX says it")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The error for an unwritable folder holds its path and suggests another place."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as refused, owned(tmp_path / "file" / "sweep", "1234"):
        pass
    assert "cannot be written" in refused.value.what
    assert any("output=" in line for line in refused.value.lines)


@pytest.mark.parametrize("name", ["points", "logs", "points/lock"])
def test_a_folder_with_a_link_in_the_place_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    """A link in place of an own folder is refused, because logs and points would follow it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "sweep" / name).parent.mkdir(parents=True)
    (tmp_path / "sweep" / name).symlink_to(elsewhere)
    with pytest.raises(UnsafePathError, match="is a link"), owned(tmp_path / "sweep", "x"):
        pytest.fail("it is held")
    assert not any(elsewhere.iterdir())
