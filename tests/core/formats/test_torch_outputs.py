"""What a torch module gives, by the names of the signature: in order, or by its own names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch

from core import StageError
from core.formats.torch_outputs import by_name

ONE, TWO = torch.zeros(1), torch.ones(2)


@pytest.mark.parametrize(
    "given",
    [
        (ONE, TWO),
        [ONE, TWO],
        {"b": TWO, "a": ONE},
        OrderedDict(b=TWO, rest=ONE, a=ONE),  # what the library transformers gives is one
    ],
)
def test_a_mapping_goes_by_its_names_and_a_sequence_by_order(given: Any) -> None:
    """A dict in another order swaps no outputs, and may hold more."""
    named = by_name(given, ["a", "b"])
    assert list(named) == ["a", "b"]
    assert named["a"] is ONE
    assert named["b"] is TWO


def test_a_tensor_is_one_output() -> None:
    """A tensor is one output, not a sequence of rows."""
    assert by_name(TWO, ["a"]) == {"a": TWO}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((ONE, TWO), "gives 2 output.s., but names 1"),
        ({"b": ONE}, "gives no output `a`"),
        ({}, "gives no output `a`"),
        ("ab", "gives a str as output `a`"),
        (None, "gives nothing as output `a`"),
        (([ONE, TWO],), "gives a list as output `a`"),
    ],
)
def test_what_does_not_fit_the_names_is_refused(given: Any, said: str) -> None:
    """The error holds the names on both sides, or the type that came instead of a tensor."""
    with pytest.raises(StageError, match=said):
        by_name(given, ["a"])
