"""An image upscaler for Luthier: a model, its images, tiles, PSNR, a preset and a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier import hookimpl

if TYPE_CHECKING:
    from core.plugin.kinds import Plugin

HERE = Path(__file__).parent


@hookimpl
def luthier_plugins() -> Sequence[type[Plugin[Any]]]:
    """Return the plugins of this distribution."""
    from luthier_upscaler.model import UpscalerModel
    from luthier_upscaler.psnr import Psnr
    from luthier_upscaler.shapes import Shapes
    from luthier_upscaler.tiles import Tiles

    return [UpscalerModel, Shapes, Tiles, Psnr]


@hookimpl
def luthier_presets() -> Sequence[str]:
    """Return the folder of the presets: `chunker=small_tiles`."""
    return [str(HERE / "conf")]


@hookimpl
def luthier_recipes() -> Sequence[str]:
    """Return the folder of the recipes."""
    return [str(HERE / "recipes")]
