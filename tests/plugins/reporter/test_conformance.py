"""The reporters in the box keep what every reporter must keep."""

from __future__ import annotations

import pytest

from core.conformance import ReporterSuite
from core.plugin.records import RunRecord
from plugins.reporter.html import HtmlReport
from plugins.reporter.json import JsonReport
from plugins.reporter.terminal import Terminal


class Suite(ReporterSuite):
    """The suite on the realistic run."""

    @pytest.fixture(autouse=True)
    def _give_record(self, record: RunRecord) -> None:
        type(self).record = record


class TestTerminal(Suite):
    """`terminal`."""

    plugin = Terminal


class TestJson(Suite):
    """`json`."""

    plugin = JsonReport


class TestHtml(Suite):
    """`html`, which here finds none of the saved files."""

    plugin = HtmlReport
