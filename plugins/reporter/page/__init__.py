"""The pieces of `report.html`: each module renders one part, `document` puts them together."""

from plugins.reporter.page.decks import Deck, Track, decks
from plugins.reporter.page.document import document

__all__ = ["Deck", "Track", "decks", "document"]
