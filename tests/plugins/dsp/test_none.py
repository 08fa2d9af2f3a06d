"""The dsp `none` adds a batch axis and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from core import ModelInfo, NoOptions, Signature, StageError, TensorSpec
from plugins.dsp.none import Nothing

SIGNATURE = Signature(
    (TensorSpec("image", ("channel", "height", "width"), (3, "height", "width")),),
    (TensorSpec("upscaled", ("channel", "height", "width"), (3, "height", "width")),),
)


def test_tensors_pass_with_a_batch_axis_under_the_names_of_the_core() -> None:
    """Tensors pass unchanged; the core sees one batch axis and its own names."""
    transform = Nothing(NoOptions()).bind(ModelInfo(SIGNATURE, ("x",), ("y",)))
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    feeds, remembered = transform.forward({"image": image})
    assert {name: array.shape for name, array in feeds.items()} == {"x": (1, 3, 4, 5)}
    back = transform.inverse({"y": feeds["x"]}, remembered)
    assert list(back) == ["upscaled"]
    np.testing.assert_array_equal(image, back["upscaled"])


def test_a_core_with_other_tensors_is_refused() -> None:
    """A model whose core also takes a spectrogram is refused, because it needs another dsp."""
    with pytest.raises(StageError, match="its core has 2"):
        Nothing(NoOptions()).bind(ModelInfo(SIGNATURE, ("x", "mag"), ("y",)))
