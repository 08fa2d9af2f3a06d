"""What is said between a sweep and the process of a point."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core import Metric
from core.sweep.messages import PointResult, PointTask

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
lists = st.lists(texts, max_size=3).map(tuple)

tasks = st.builds(
    PointTask,
    *(lists, st.dictionaries(texts, texts, max_size=2), texts, texts, texts),
    *(st.none() | st.integers(1, 64), texts, texts, texts, st.booleans()),
)
answers = st.builds(
    PointResult,
    st.sampled_from(["done", "missed", "refused", "failed"]),
    texts,
    lists,
    st.integers(0, 255),
    figures=st.dictionaries(texts, st.tuples(numbers, texts), max_size=3),
    metrics=st.lists(st.builds(Metric, texts, numbers, texts, texts), max_size=2).map(tuple),
    ran=lists,
    cached=lists,
    seconds=numbers,
    placed=st.booleans(),
    on_target=st.booleans(),
)


@given(tasks)
def test_an_errand_arrives_as_it_was_sent(task: PointTask) -> None:
    """A task is sent on one line, though its recipe has many, and is read back equal."""
    sent = msgspec.json.encode(task)
    assert b"\n" not in sent
    assert msgspec.json.decode(sent, type=PointTask) == task


@given(answers)
def test_an_answer_arrives_as_it_was_given(result: PointResult) -> None:
    """A result is read back equal from a process's file and from a launcher's plain data."""
    assert msgspec.json.decode(msgspec.json.encode(result), type=PointResult) == result
    assert msgspec.convert(msgspec.to_builtins(result), PointResult) == result


def test_a_path_of_any_system_arrives(tmp_path: Path) -> None:
    """Paths with backslashes, quotes and letters of any alphabet are read back equal."""
    path = rf"C:\runs\{tmp_path.name} ünï 'x' "
    task = PointTask((), {}, "", path, path, None, "", path, path)
    assert msgspec.json.decode(msgspec.json.encode(task), type=PointTask) == task
