"""Items of a dataset: checked, and kept where they need not be read again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core import Dataset, InputError, Item, Notice, SavedFile, Signature, Split, Tensors
from core.errors import PluginError
from core.inference import items
from core.inference.items import cached_items
from tests.flips import flipped
from tests.toy import SIGNATURE

NOTICE = Notice("info", "mono")


@dataclass
class Options:
    """How many items there are, and where they begin."""

    count: int = 2
    start: float = 0.0


class Numbers(Dataset[Options]):
    """Counts up, and counts how often it was asked."""

    name = "numbers"
    Options = Options

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.made = 0

    def identity(self, split: Split) -> tuple[str, ...]:
        """Name the items."""
        return tuple(f"{split}:{number}" for number in range(self.options.count))

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Make them."""
        for one in self.identity(split):
            self.made += 1
            array = np.arange(5, dtype=np.float32)[None] + np.float32(self.options.start)
            yield Item(one, f"item {one}", {"x": array}, {"y": 2 * array}, (NOTICE,))

    def save(
        self, item: Item, outputs: Tensors, signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write nothing."""
        return ()


@pytest.fixture
def dataset() -> Numbers:
    """Return two items."""
    return Numbers(Options())


def same(ones: list[Item], others: list[Item]) -> bool:
    """Return whether all is the same in both."""

    def told(item: Item) -> object:
        arrays = {**item.inputs, **{f"ref {k}": v for k, v in item.references.items()}}
        return item.id, item.name, item.notices, {k: v.tolist() for k, v in arrays.items()}

    return [told(one) for one in ones] == [told(other) for other in others]


def test_what_was_read_once_is_not_read_again(dataset: Numbers, tmp_path: Path) -> None:
    """Kept items come back with their names, true outputs and notices."""
    first = list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    assert dataset.made == 2
    again = list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    assert dataset.made == 2
    assert same(first, again)
    assert same(first, list(dataset.items("evaluation", SIGNATURE)))


def test_a_name_ends_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a line break, from any dataset, is spelt out before a report shows it."""
    named = Item("1", "a\nb", {"x": np.zeros((1, 5), np.float32)})
    monkeypatch.setattr(Numbers, "items", lambda *_: iter([named]))
    (one,) = cached_items(Numbers(Options()), "evaluation", SIGNATURE, None)
    assert one.name == r"a\nb"


def test_without_a_place_nothing_is_kept(dataset: Numbers) -> None:
    """Outside of a run there is no place, and items are not kept."""
    for _ in range(2):
        list(cached_items(dataset, "evaluation", SIGNATURE, None))
    assert dataset.made == 4


def test_what_is_calibrated_on_has_no_true_outputs(dataset: Numbers, tmp_path: Path) -> None:
    """Calibration items have no true outputs, neither read nor kept ones."""
    for _ in range(2):
        found = list(cached_items(dataset, "calibration", SIGNATURE, tmp_path))
        assert [one.references for one in found] == [{}, {}]
    assert dataset.made == 2


def test_who_stops_at_the_last_item_keeps_all(dataset: Numbers, tmp_path: Path) -> None:
    """All items are kept even if the reader stops at the last one, as a quantizer does."""
    asked = cached_items(dataset, "calibration", SIGNATURE, tmp_path)
    for _ in range(2):
        next(asked)
    asked.close()
    list(cached_items(dataset, "calibration", SIGNATURE, tmp_path))
    assert dataset.made == 2


def test_who_stops_before_keeps_nothing(dataset: Numbers, tmp_path: Path) -> None:
    """Nothing is kept, and no file is left, if the reader stops before the last item."""
    asked = cached_items(dataset, "evaluation", SIGNATURE, tmp_path)
    next(asked)
    asked.close()
    assert list((tmp_path / "items").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "split", "axes"),
    [
        (Options(start=1), "evaluation", ()),
        (Options(count=3), "evaluation", ()),
        (Options(), "calibration", ()),
        (Options(), "evaluation", ("other", "place")),
    ],
)
def test_anything_else_is_read(
    dataset: Numbers, tmp_path: Path, options: Options, split: Split, axes: tuple[str, ...]
) -> None:
    """Items are read again for other options, other items, another split or another model."""
    list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    signature = SIGNATURE
    if axes:
        signature = Signature((replace(SIGNATURE.inputs[0], axes=axes),), SIGNATURE.outputs)
    other = Numbers(options)
    assert len(list(cached_items(other, split, signature, tmp_path))) == options.count
    assert other.made == options.count


def test_what_is_large_is_not_kept(
    dataset: Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large items are not kept, as judged by the first one, before much is written in vain."""
    monkeypatch.setattr(items, "LARGEST", 2 * 2 * 5 * 4 - 1)
    for _ in range(2):
        assert len(list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))) == 2
        assert list((tmp_path / "items").iterdir()) == []
    assert dataset.made == 4


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "list"])
def test_what_was_damaged_is_told_and_read_again(
    dataset: Numbers, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged items are reported and read again; afterwards the kept copy is whole."""
    first = list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    (place,) = (tmp_path / "items").iterdir()
    file = place / ("items.json" if damage == "list" else "files/1.safetensors")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-3] if damage != "changed" else content[:-1] + b"\x00")
    for _ in range(2):
        assert same(first, list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path)))
    assert dataset.made == 4
    assert capsys.readouterr().err.count("the kept inputs of dataset `numbers` are damaged") == 1


def test_no_flip_reaches_an_item(
    dataset: Numbers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No flipped bit, in the list or a tensor, and no other input's files change an item."""
    first = list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    (place,) = (tmp_path / "items").iterdir()
    other = Numbers(Options(start=5))
    list(cached_items(other, "evaluation", SIGNATURE, tmp_path / "other"))
    (strange,) = (tmp_path / "other" / "items").iterdir()
    for name in ("items.json", "files/0.safetensors"):
        for spoilt in flipped((place / name).read_bytes(), 20):
            (place / name).write_bytes(spoilt)
            assert same(first, list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path)))
            assert "are damaged, and read again" in capsys.readouterr().err
    shutil.rmtree(place)
    shutil.copytree(strange, place)
    assert same(first, list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path)))
    assert "its list is that of other inputs" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_costs_nothing_else(
    dataset: Numbers, tmp_path: Path
) -> None:
    """Items are read even where their place cannot be written."""
    (tmp_path / "items").write_text("a file")
    assert len(list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))) == 2


def test_a_full_disk_costs_nothing_else(
    dataset: Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items are read on a full disk, and no unfinished file is left."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(items, "save", full)
    assert len(list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))) == 2
    assert list((tmp_path / "items").iterdir()) == []


def test_two_that_read_at_once_keep_it_once(dataset: Numbers, tmp_path: Path) -> None:
    """Of two readers, in one process or two, the second finds the place taken and goes on."""
    one, two = (cached_items(dataset, "evaluation", SIGNATURE, tmp_path) for _ in range(2))
    firsts = next(one), next(two)
    assert same([firsts[0], *one], [firsts[1], *two])
    assert len(list((tmp_path / "items").iterdir())) == 1
    list(cached_items(dataset, "evaluation", SIGNATURE, tmp_path))
    assert dataset.made == 4


class Wrong(Numbers):
    """Names its input as no model does."""

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Rename."""
        for item in super().items(split, signature):
            yield replace(item, inputs={"z": item.inputs["x"]})


def test_an_item_that_does_not_fit_is_refused_and_not_kept(tmp_path: Path) -> None:
    """An item that does not fit the model's inputs is refused and not kept."""
    with pytest.raises(PluginError, match="gives nothing for the input `x`"):
        list(cached_items(Wrong(Options()), "evaluation", SIGNATURE, tmp_path))
    with pytest.raises(InputError, match="has no items"):
        list(cached_items(Numbers(Options(count=0)), "evaluation", SIGNATURE, tmp_path))
    assert list((tmp_path / "items").iterdir()) == []
