"""The one way to the terminal: all output is first cleaned of control characters and secrets.

Every title, name and message may be a stranger's. `say` prints lines; `screen` returns a rich
console that shows text literally: markup comes from styles, never from brackets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from core.text.shown import plain, shown, without_credentials
from core.text.stream import Outlet

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["columns", "quiet", "say", "screen"]

_quiet = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Show nothing while the block runs, in any thread: a caller in Python asked for the result."""
    global _quiet  # noqa: PLW0603  # blocks of several threads may overlap
    _quiet += 1
    try:
        yield
    finally:
        _quiet -= 1


def say(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print `text` to standard output, or to standard error, at once."""
    stream = sys.stderr if err else sys.stdout
    if _quiet:
        return
    print(shown(text), end=end, file=Outlet(stream), flush=True)


def screen(
    file: TextIO | None = None,
    width: int | None = None,
    *,
    err: bool = False,
    forgiving: bool = False,
) -> Console:
    """Return a console on `file`, or on the current standard output or error.

    It reads nothing in brackets or colons as markup or as an emoji, and cleans every text, table
    and panel of control characters and secrets. It falls silent if nobody reads it any more, and
    with `forgiving` if the stream refuses text for any reason; otherwise that raises OSError.
    """
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

    class Screen(Console):
        """A console that no text can control."""

        def render_str(self, text: str, **options: Any) -> Text:
            """Clean text before its width is measured, so that columns stay in their places."""
            return super().render_str(shown(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            """Clean whole texts, before a line break splits a secret."""
            if isinstance(renderable, Text):
                hidden = without_credentials(renderable.plain)
                if hidden != renderable.plain:
                    return super().render(renderable.blank_copy(hidden), options)
            return super().render(renderable, options)

        def _render_buffer(self, buffer: Iterable[Segment]) -> str:
            # Text from elsewhere (titles of panels) is cleaned here. The console's own commands are
            # marked as such, and links only come from styles.
            return super()._render_buffer(
                segment if segment.control else Segment(plain(segment.text), segment.style)
                for segment in buffer
            )

    stream = file or (sys.stderr if err else sys.stdout)
    # A moving line of rich takes the place of the stream while it is shown.
    stream = getattr(stream, "rich_proxied_file", stream)
    return Screen(
        # To a type checker a text stream is no `TextIO`; rich needs only what Outlet has.
        file=cast("TextIO", Outlet(stream, forgiving=forgiving)),
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        quiet=_quiet > 0,
        legacy_windows=None,
    )


def columns(console: Console) -> int | None:
    """Return the width that lines must keep to; None in a pipe, where a line may be any length.

    There a program reads the lines, or a pager wraps them, unless `COLUMNS` gives their width.
    """
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None
