"""How a run's record reads to a person: sentences, tables, and what stays on this machine."""

from plugins.reporter.reading.discreet import discreet
from plugins.reporter.reading.profile import Layer, Profile, Unit, profile_of, unit_shares
from plugins.reporter.reading.stages import costliest, stage_in_words
from plugins.reporter.reading.tables import (
    OVERALL,
    Column,
    Table,
    average,
    others,
    tables,
    title_of,
)
from plugins.reporter.reading.words import (
    SOUNDS,
    decibels,
    duration,
    factor,
    heard,
    listed,
    measured,
    megabytes,
    places,
    signed,
    took_part,
    value,
)

__all__ = [
    "OVERALL",
    "SOUNDS",
    "Column",
    "Layer",
    "Profile",
    "Table",
    "Unit",
    "average",
    "costliest",
    "decibels",
    "discreet",
    "duration",
    "factor",
    "heard",
    "listed",
    "measured",
    "megabytes",
    "others",
    "places",
    "profile_of",
    "signed",
    "stage_in_words",
    "tables",
    "title_of",
    "took_part",
    "unit_shares",
    "value",
]
