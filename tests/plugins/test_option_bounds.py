"""Every number among the options has a bound, so no recipe asks for more than a machine has."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from core.config.discovery import discover

#: Numbers whose size costs nothing: a generator's seed, an upper bound that is only compared, a
#: version.
FREE = {"seed", "calibration_seed", "limit", "calibration_limit", "edges", "opset", "job_mb"}
FREE |= {"soc_model", "htp_arch", "memory_limit_mb", "preview_items"}


def _numbers() -> list[Any]:
    """Return every whole-number option of every plugin in the box."""
    found = []
    for plugin in (entry.cls for entry in discover()):
        kinds = typing.get_type_hints(plugin.Options)
        for field in dataclasses.fields(plugin.Options):
            told = (kinds[field.name], *typing.get_args(kinds[field.name]))
            if int in told and dict not in map(typing.get_origin, told) and field.name not in FREE:
                found.append(pytest.param(plugin, field.name, id=f"{plugin.name}.{field.name}"))
    return found


@pytest.mark.parametrize(("plugin", "name"), _numbers())
def test_a_number_that_nothing_can_hold_is_refused_by_its_option(plugin: Any, name: str) -> None:
    """A number of 10^15 is refused by a ValueError that names the option, before anything runs."""
    given = {
        field.name: "x"
        for field in dataclasses.fields(plugin.Options)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for value in (10**15, -(10**15)):
        with pytest.raises(ValueError, match=f"`{name}`"):
            plugin.Options(**{**given, name: value})
