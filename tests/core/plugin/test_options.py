"""One dataclass is the schema, the docs and the object."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from core import from_target
from core.errors import ConfigError
from core.plugin.entry import Entry
from core.plugin.options import build, describe, schema
from tests.core.plugin.test_registry import Named


class Colour(Enum):
    """Three of them."""

    red = 1
    green = 2


@dataclass(frozen=True)
class FrozenOptions:
    """Options that are frozen, as an author may like them."""

    count: int
    """How many."""
    colour: Colour = Colour.red
    """Which
    colour."""
    names: list[str] = field(default_factory=list)
    """Whose."""
    fact: int = from_target("number")
    """From the target."""


def entry(options: type[Any] = FrozenOptions) -> Entry:
    cls = type("Frozen", (Named,), {"name": "frozen", "Options": options})
    return Entry("graph", "frozen", cls, "test", "test.py")


def test_a_frozen_dataclass_can_still_be_overridden() -> None:
    """A recipe can override a frozen dataclass, though OmegaConf makes its node read-only."""
    node = schema(entry())
    node.count = 3
    node.fact = 1
    assert build(entry(), node, "graph") == FrozenOptions(count=3, fact=1)


def test_types_are_checked() -> None:
    """A value of the wrong type is refused where it is set."""
    with pytest.raises(ValidationError):
        schema(entry()).count = "many"


def test_a_key_that_was_added_by_force_is_refused() -> None:
    """`+graph.foo=1` passes composition, and ends in a config error, not a dataclass error."""
    node = schema(entry())
    OmegaConf.update(node, "coutn", 1, force_add=True)
    with pytest.raises(ConfigError, match="no option `coutn`") as error:
        build(entry(), node, "graph")
    assert "did you mean `count`" in str(error.value)


def test_a_required_option_is_asked_for() -> None:
    """The message for a missing option is the text to type."""
    node = schema(entry())
    node.fact = 1
    with pytest.raises(ConfigError, match=r"graph\.count=\.\.\."):
        build(entry(), node, "graph")


def test_a_fact_that_the_target_lacks_is_named() -> None:
    """The error of a broken interpolation names the missing fact."""
    config = OmegaConf.create({"target": {"facts": {}}, "graph": schema(entry())})
    config.graph.count = 1
    with pytest.raises(ConfigError, match="needs a fact that the target does not give"):
        build(entry(), config.graph, "graph")


def test_docs_come_from_the_string_under_each_field() -> None:
    """Option docs hold the string, the type, the default, and the source of a value."""
    docs = {o.name: o for o in describe(FrozenOptions)}
    assert docs["colour"].text == "Which colour."
    assert docs["colour"].default == "red"
    assert docs["count"].default == "required"
    assert docs["fact"].default == "from the target"


def test_a_value_that_the_plugin_refuses_names_the_slot() -> None:
    """A ValueError of `__post_init__` becomes a message with the slot."""

    @dataclass
    class Picky:
        """Takes no three."""

        count: int = 1
        """How many."""

        def __post_init__(self) -> None:
            if self.count == 3:
                raise ValueError("`count` cannot be 3")

    picky = entry(Picky)
    node = schema(picky)
    node.count = 3
    with pytest.raises(ConfigError, match="`count` cannot be 3") as error:
        build(picky, node, "graph")
    assert "at: graph" in str(error.value)
