"""The bundled reporters keep every reporter's contract."""

from __future__ import annotations

import pytest

from core.conformance import ReporterSuite
from core.plugin.records import RunRecord
from plugins.reporter.html import HtmlReport
from plugins.reporter.json import JsonReport
from plugins.reporter.terminal import Terminal
from plugins.reporter.trace import Trace


class Suite(ReporterSuite):
    """The conformance suite, on the realistic run."""

    @pytest.fixture(autouse=True)
    def _give_record(self, record: RunRecord) -> None:
        type(self).record = record


class TestTerminal(Suite):
    """`terminal` keeps every reporter's contract."""

    plugin = Terminal


class TestJson(Suite):
    """`json` keeps every reporter's contract."""

    plugin = JsonReport


class TestHtml(Suite):
    """`html` keeps every reporter's contract; it finds none of the saved files here."""

    plugin = HtmlReport


class TestTrace(Suite):
    """`trace` keeps every reporter's contract."""

    plugin = Trace
