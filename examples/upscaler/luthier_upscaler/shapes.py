"""Images to upscale: drawn images, whose true large version is known, or a person's PNG files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.store.hashing import file_digest
from luthier import Dataset, InputError, Item, SavedFile, Signature, Split, Tensors

from luthier_upscaler import png

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Shapes", "ShapesOptions", "generator"]

#: The smallest drawing in pixels: a shape needs this size.
SMALLEST = 8
#: The largest drawing, and the most drawings: every drawing gets its id before the first is drawn.
LARGEST, MOST = 4096, 10_000
#: The parts of the drawn images: no image is in two parts.
PARTS = ("training", "calibration", "evaluation")


def generator(part: str, seed: int, index: int) -> np.random.Generator:
    """Return the random generator of one drawn image."""
    import numpy as np

    return np.random.default_rng([PARTS.index(part), seed, index])


@dataclass
class ShapesOptions:
    """The parameters of the drawings, or the path of the files."""

    path: str | None = None
    """A PNG file, or a folder of them; without it, images are drawn. `input=photo.png` sets it."""
    count: int = 4
    """How many images are drawn."""
    size: int = 96
    """Height and width of a drawn input in pixels; its true large version is twice that."""
    seed: int = 0
    """Another seed draws other images."""

    def __post_init__(self) -> None:
        """Raise ValueError for images that cannot be drawn."""
        if not 1 <= self.count <= MOST:
            raise ValueError(f"`count` is {self.count}: give 1 to {MOST:,}")
        if not SMALLEST <= self.size <= LARGEST:
            raise ValueError(f"`size` is {self.size}: give {SMALLEST} to {LARGEST:,}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"`seed` is {self.seed}: give 0 to 2^63 - 1")


class Shapes(Dataset[ShapesOptions]):
    """Draws images of discs, boxes, stripes and strokes, or reads PNG files."""

    name = "shapes"
    Options = ShapesOptions
    axes = ("channel", "height", "width")
    opens = (".png",)

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the hash of every file, or the parameters of every drawn image."""
        options = self.options
        if options.path is not None:
            return tuple(dict.fromkeys(file_digest(file) for file in self._files(options.path)))
        return tuple(
            f"shapes:{split}:{options.seed}:{options.size}:{index}"
            for index in range(options.count)
        )

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Yield the images; only drawn images have a reference, which is twice as large."""
        options, ids = self.options, self.identity(split)
        source, target = signature.inputs[0].name, signature.outputs[0].name
        if options.path is not None:
            files = {file_digest(file): file for file in reversed(self._files(options.path))}
            for id_ in ids:
                yield Item(id_, files[id_].stem, {source: png.read(files[id_])})
            return
        from luthier_upscaler.drawing import draw, halved

        for index, id_ in enumerate(ids):
            large = draw(2 * options.size, generator(split, options.seed, index))
            name = f"drawing {options.seed}.{index}"
            yield Item(id_, name, {source: halved(large)}, {target: large})

    def save(
        self, item: Item, outputs: Tensors, signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write `images/<item>/`: the input, the output, and the true image if it is known.

        The end of the id separates two files of the same name.
        """
        target = signature.outputs[0].name
        images = {"input": item.inputs[signature.inputs[0].name], target: outputs[target]}
        if target in item.references:
            images["true"] = item.references[target]
        below = Path("images", f"{_plain(item.name)}_{_plain(item.id)[-8:]}")
        (folder / below).mkdir(parents=True, exist_ok=True)
        saved = []
        for label, image in images.items():
            png.write(image, folder / below / f"{label}.png")
            saved.append(SavedFile((below / f"{label}.png").as_posix(), label, item.name))
        return saved

    def _files(self, path: str) -> list[Path]:
        """Return the file, or the files of the folder in order."""
        found = Path(path).expanduser()
        files = sorted(f for f in found.glob("*") if f.suffix.lower() in self.opens)
        files = [found] if found.is_file() else files
        if not files:
            raise InputError(
                f"`{path}` is neither a PNG file nor a folder with PNG files",
                f"at: {found.resolve()}",
                "give one: input=photo.png",
            )
        return files


def _plain(text: str) -> str:
    """Return a text that every file system accepts as a name."""
    return re.sub(r"[^\w-]+", "_", text)
