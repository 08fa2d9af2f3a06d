"""The pieces of `report.html`: each module renders one part, `document` puts them together."""

from plugins.reporter.page.document import document
from plugins.reporter.page.listening import Deck, Track, decks

__all__ = ["Deck", "Track", "decks", "document"]
