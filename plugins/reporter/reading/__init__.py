"""How a run's record reads to a person: sentences, tables, and what stays on this machine."""

from plugins.reporter.reading.discreet import discreet
from plugins.reporter.reading.tables import Column, Table, average, others, tables, title_of
from plugins.reporter.reading.words import (
    decibels,
    duration,
    factor,
    listed,
    measured,
    megabytes,
    places,
    took_part,
    value,
)

__all__ = [
    "Column",
    "Table",
    "average",
    "decibels",
    "discreet",
    "duration",
    "factor",
    "listed",
    "measured",
    "megabytes",
    "others",
    "places",
    "tables",
    "title_of",
    "took_part",
    "value",
]
