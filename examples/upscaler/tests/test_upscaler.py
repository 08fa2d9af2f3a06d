"""The plugins of this distribution keep the contracts of their kinds."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from core.config.discovery import discover
from core.inference.windows import play_with
from core.plugin.progress import silent
from luthier import EvaluatedItem, InputError, Item, NoOptions, StageError
from luthier.conformance import ChunkerSuite, DatasetSuite, EvaluatorSuite, ModelSuite

from luthier_upscaler import png
from luthier_upscaler.bicubic import bicubic
from luthier_upscaler.model import SIGNATURE, UpscalerModel
from luthier_upscaler.psnr import Psnr, psnr_db
from luthier_upscaler.shapes import Shapes, ShapesOptions
from luthier_upscaler.tiles import Tiles, TilesOptions

SMALL = ShapesOptions(count=2, size=32)


class TestModel(ModelSuite):
    """The model, its exported part and its weights."""

    plugin = UpscalerModel
    dsp = discover().find("dsp", "none").create(NoOptions())
    window = {"height": 16, "width": 24}

    def test_it_beats_bicubic(self, work) -> None:
        """On drawings outside its training set, the model is over 2 dB better than bicubic."""
        opened = self.make().open(self.fetched(work), {})
        for item in Shapes(ShapesOptions(count=3)).items("evaluation", SIGNATURE):
            true = item.references["upscaled"]
            reached = psnr_db(true, opened.reference(item.inputs)["upscaled"])
            assert reached > psnr_db(true, bicubic(item.inputs["image"])) + 2


class TestShapes(DatasetSuite):
    """Drawn images."""

    plugin = Shapes
    options = SMALL
    signature = SIGNATURE

    def test_files_are_read(self, tmp_path: Path) -> None:
        """With a path, the items are the images of the folder, named after their files."""
        image = next(Shapes(SMALL).items("evaluation", SIGNATURE)).inputs["image"]
        png.write(image, tmp_path / "photo.png")
        dataset = Shapes(ShapesOptions(path=str(tmp_path)))
        (item,) = dataset.items("evaluation", SIGNATURE)
        assert item.name == "photo"
        assert (item.id,) == dataset.identity("evaluation")
        np.testing.assert_allclose(item.inputs["image"], image, atol=1e-6)

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        """A truncated PNG file is refused with one message that names the file."""
        file = tmp_path / "photo.png"
        png.write(np.zeros((3, 8, 8), np.float32), file)
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(InputError, match=r"`photo.png` is damaged"):
            list(Shapes(ShapesOptions(path=str(file))).items("evaluation", SIGNATURE))


class TestTiles(ChunkerSuite):
    """Tiles, joined at twice the size, of images smaller, equal and larger than a tile."""

    plugin = Tiles
    options = TilesOptions(height=16, width=12, overlap=5)
    signature = SIGNATURE
    scale = 2
    lengths = [
        {"height": 16, "width": 12},
        {"height": 40, "width": 35},
        {"height": 5, "width": 50},
        {"height": 1, "width": 1},
        {"height": 17, "width": 13},
    ]

    def test_seams_vanish(self, tmp_path: Path) -> None:
        """The joined tiles agree with the model's output for the whole image to over 50 dB."""
        image = next(Shapes(ShapesOptions(size=96)).items("evaluation", SIGNATURE)).inputs["image"]
        suite = TestModel()
        from core import StageContext

        reference = suite.make().open(suite.fetched(StageContext(tmp_path, silent())), {}).reference
        tiles = Tiles(TilesOptions(height=48, width=48, overlap=16))
        tiled = play_with(reference, Item("i", "i", {"image": image}), SIGNATURE, tiles, silent())
        assert psnr_db(reference({"image": image})["upscaled"], tiled["upscaled"]) > 50


class TestPsnr(EvaluatorSuite):
    """PSNR of a bicubic enlargement."""

    plugin = Psnr
    signature = SIGNATURE
    item = next(Shapes(SMALL).items("evaluation", SIGNATURE))
    outputs = {"upscaled": bicubic(item.inputs["image"])}
    played = EvaluatedItem(item, outputs, outputs, outputs, (), "CPU (test)")

    def test_bicubic_gains_nothing_over_itself(self) -> None:
        """A bicubic enlargement has a PSNR gain of 0 dB over the bicubic baseline."""
        found = {m.name: m.value for m in self.make().evaluate(self.played, SIGNATURE)}
        assert found["psnr_gain"] == pytest.approx(0)
        assert found["psnr_to_fp32"] == 100


@pytest.mark.parametrize("kind", range(5), ids=["none", "sub", "up", "average", "paeth"])
def test_every_png_filter_is_undone(kind: int, tmp_path: Path, monkeypatch) -> None:
    """For each filter of PNG, a file with filtered rows is read as the original pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3))
    left, up, corner = (np.pad(pixels, ((1, 0), (1, 0), (0, 0)))[s] for s in _NEIGHBOURS)
    straight = left + up - corner
    near = [np.abs(straight - p) for p in (left, up, corner)]
    paeth = np.select(
        [(near[0] <= near[1]) & (near[0] <= near[2]), near[1] <= near[2]], [left, up], corner
    )
    predicted = [0, left, up, (left + up) // 2, paeth][kind]
    rows = ((pixels - predicted) % 256).astype(np.uint8).reshape(6, -1)
    filtered = np.concatenate([np.full((6, 1), kind, np.uint8), rows], axis=1).tobytes()
    real = png.zlib.compress
    with monkeypatch.context() as patch:
        patch.setattr(png.zlib, "compress", lambda _: real(filtered))
        png.write(np.zeros((3, 6, 7), np.float32), tmp_path / "filtered.png")
    read = png.read(tmp_path / "filtered.png")
    np.testing.assert_array_equal(np.round(read * 255).transpose(1, 2, 0), pixels)


#: Slices for the pixels to the left, above, and above to the left, in a padded image.
_NEIGHBOURS = (np.s_[1:, :-1], np.s_[:-1, 1:], np.s_[:-1, :-1])


def test_bicubic_is_pytorchs() -> None:
    """The bicubic baseline equals PyTorch's bicubic interpolation."""
    import torch

    image = np.random.default_rng(0).random((3, 9, 7)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], scale_factor=2, mode="bicubic"
    )
    np.testing.assert_allclose(bicubic(image), expected[0].numpy(), atol=1e-5)


def part(kind: bytes, data: bytes) -> bytes:
    """Return one part of a PNG file, with its correct checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(width: int, height: int, data: bytes, more: bytes = b"") -> bytes:
    """Return a grey PNG whose header gives any size, around the packed rows `data`."""
    header = struct.pack(">IIBBBBB", width, height, 8, png.GREY, 0, 0, 0)
    parts = part(b"IHDR", header) + more + part(b"IDAT", zlib.compress(data))
    return png.MAGIC + parts + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed(2**31 - 1, 2**31 - 1, b""), "says that it has 2,147,483,647 x"),
        (packed(2**31, 1, b""), "says that it has 2,147,483,648 x 1 pixels"),
        (packed(0, 5, b""), "says that it has 0 x 5 pixels"),
        (packed(8000, 8000, bytes(9)), "it holds fewer pixels than it declares"),
        (packed(3, 2, bytes(50_000_000)), "it holds more pixels than it declares"),
        (packed(3, 2, bytes(8), part(b"IDAT", b"")), None),
        (packed(3, 2, b"\x07" * 8), "is damaged"),
    ],
)
def test_an_image_is_as_large_as_it_says(content: bytes, said: str | None, tmp_path: Path) -> None:
    """A PNG of a false size is refused, and the reader takes less than 5 MB of memory."""
    file = tmp_path / "photo.png"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        if said is None:
            assert png.read(file).shape == (3, 2, 3)
        else:
            with pytest.raises(InputError) as refused:
                png.read(file)
            assert said in str(refused.value)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_thousand_parts_take_no_more_time_than_one(tmp_path: Path) -> None:
    """A PNG with 100,000 text parts is read in less than 20 seconds."""
    file = tmp_path / "photo.png"
    file.write_bytes(packed(3, 2, bytes(8), part(b"tEXt", bytes(20)) * 100_000))
    started = time.monotonic()
    assert png.read(file).shape == (3, 2, 3)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "values", [{"count": 10**9}, {"count": 0}, {"size": 10**9}, {"seed": 2**70}, {"seed": -1}]
)
def test_drawings_that_cannot_be_are_refused(values: dict[str, int]) -> None:
    """Impossible numbers, sizes and seeds of drawings are refused before an image is drawn."""
    with pytest.raises(ValueError, match="give"):
        ShapesOptions(**values)


@pytest.mark.parametrize("values", [{"height": 10**12}, {"width": 0}, {"overlap": 64}])
def test_tiles_that_cannot_be_are_refused(values: dict[str, int]) -> None:
    """Impossible tile options are refused, and so is an image that needs too many tiles."""
    with pytest.raises(ValueError, match=r"tile has|give 0"):
        TilesOptions(**values)
    with pytest.raises(StageError, match="would cut the image into"):
        Tiles(TilesOptions(1, 1, 0)).split({"height": 8000, "width": 8000})
