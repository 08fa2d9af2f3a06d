"""The pieces of `sweep.html`: each module renders one part, `document` puts them together."""

from plugins.reporter.sweep_page.document import document

__all__ = ["document"]
