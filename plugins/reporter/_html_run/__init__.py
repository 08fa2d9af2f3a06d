"""The pieces of `report.html`: each module renders one part, `document` puts them together."""

from plugins.reporter._html_run.document import document
from plugins.reporter._html_run.earlier import earlier
from plugins.reporter._html_run.files import beside, files
from plugins.reporter._html_run.media import Medium, Track, media_of

__all__ = ["Medium", "Track", "beside", "document", "earlier", "files", "media_of"]
