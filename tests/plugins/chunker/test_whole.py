"""The chunker `whole` gives the whole input as one window and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from core import Item, NoOptions, Signature, StageError, TensorSpec, Window
from core.inference.windows import play_with
from core.plugin.progress import silent
from plugins.chunker.whole import Whole

SIGNATURE = Signature(
    (TensorSpec("image", ("channel", "height", "width"), (3, "height", "width")),),
    (TensorSpec("upscaled", ("channel", "height", "width"), (3, "height", "width")),),
)


def test_an_input_passes_in_one_piece() -> None:
    """The model sees the whole input once, and its outputs are returned unchanged."""
    image = np.random.default_rng(0).standard_normal((3, 5, 7)).astype(np.float32)
    seen = []

    def model(piece: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(piece["image"].shape)
        return {"upscaled": piece["image"].repeat(2, axis=1)}

    item = Item("i", "i", {"image": image})
    outputs = play_with(model, item, SIGNATURE, Whole(NoOptions()), silent())
    assert seen == [(3, 5, 7)]
    np.testing.assert_array_equal(image.repeat(2, axis=1), outputs["upscaled"])


def test_there_is_no_window_to_resize() -> None:
    """`whole` cuts no axis, and `resized` returns the same chunker."""
    whole = Whole(NoOptions())
    assert whole.window() == {}
    assert whole.resized({"time": 44100}) is whole


def test_another_length_than_the_model_takes_is_told() -> None:
    """An input of a wrong length is refused.

    Where the outputs can be joined, the message shows how to cut the input.
    """
    line, out = TensorSpec("x", ("a",), (8,)), TensorSpec("y", ("b",), (3,))
    whole, given = Whole(NoOptions()), {"x": np.zeros(9, np.float32)}
    with pytest.raises(StageError, match="has 9 along `a`, and the model takes 8") as caught:
        whole.cut(given, Window(0, {}, {}), Signature((line,), (line,)))
    assert "chunker=overlap_add chunker.axis=a chunker.length=8" in caught.value.lines[0]
    with pytest.raises(StageError) as caught:
        whole.cut(given, Window(0, {}, {}), Signature((line,), (out,)))
    assert caught.value.lines == ("give data of 8 along `a`",)
