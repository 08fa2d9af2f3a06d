"""The pieces of `sweep.html`: each module renders one part, `document` puts them together."""

from plugins.reporter._html_sweep.document import document

__all__ = ["document"]
