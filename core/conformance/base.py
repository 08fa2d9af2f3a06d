"""The contract of every plugin, whatever its kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import pytest
from omegaconf import OmegaConf

from core.plugin import hooks
from core.plugin.annotation_checks import json_problem
from core.plugin.entry import Entry
from core.plugin.kinds import Converter, Plugin
from core.plugin.options import PLUGIN_KEY, build, describe, schema
from core.plugin.progress import silent
from core.plugin.registry import Registry
from core.plugin.stages import StageContext
from core.plugin.values import ArtifactSpec, Notice

__all__ = ["PluginSuite"]

HEAVY = (
    "torch", "onnx", "onnxruntime", "scipy", "numpy", "tensorrt", "tensorrt_rtx", "qai_hub", "ray",
)  # fmt: skip


class PluginSuite:
    """Name the class as `plugin`, and the `options` to test it with (its defaults, if left out)."""

    plugin: ClassVar[type[Plugin[Any]]]
    options: ClassVar[Any] = None

    def make(self) -> Any:
        """Return the plugin with the suite's options; Any, since each kind has its own methods.

        It is made as a run makes it: what its methods return is checked against the kind.
        """
        return self.entry().create(self._options())

    def make_unchecked(self) -> Any:
        """Return the plugin by itself, whose errors come as it raises them."""
        return self.plugin(self._options())

    def _options(self) -> Any:
        return self.options if self.options is not None else self.plugin.Options()

    @pytest.fixture
    def work(self, tmp_path: Path) -> StageContext:
        """Return an empty work folder whose progress goes to nobody."""
        folder = tmp_path / "work"
        folder.mkdir()
        return StageContext(folder, silent())

    def entry(self) -> Entry:
        """Return the plugin as the registry holds it."""
        registry = Registry(pluggy.PluginManager(hooks.PROJECT))
        registry.add(self.plugin, "conformance")
        return registry.find(self.plugin.kind, self.plugin.name)

    def test_the_registry_accepts_it(self) -> None:
        """It has a name, a kind, a docstring, and every method of its kind."""
        assert self.entry().summary, "give the class a docstring: its first line is shown in lists"

    def test_its_options_are_documented(self) -> None:
        """Every option has a docstring under its field."""
        silent_options = [o.name for o in describe(self.plugin.Options) if not o.text]
        assert silent_options == []

    def test_its_options_survive_the_config(self) -> None:
        """Options become a typed node and come back as the same object."""
        node = schema(self.entry())
        assert node[PLUGIN_KEY] == self.plugin.name
        required = [o.name for o in describe(self.plugin.Options) if o.default == "required"]
        interpolated = [o.name for o in describe(self.plugin.Options) if "target" in o.default]
        if required or interpolated:
            pytest.skip(f"options without a default of their own: {required + interpolated}")
        OmegaConf.resolve(node)
        assert build(self.entry(), node, self.plugin.kind) == self.plugin.Options()

    def test_its_facts_of_the_machine_are_plain_and_steady(self) -> None:
        """They are part of a key: JSON keeps them, and another instance gives the same."""
        facts = self.make().machine()
        assert json_problem(dict(facts)) == ""
        assert dict(self.make().machine()) == dict(facts)

    def test_its_advice_is_short_and_steady(self) -> None:
        """A stage advises in lines without breaks, and another instance says the same."""
        plugin = self.make()
        for format_ in sorted(plugin.accepts) if isinstance(plugin, Converter) else ():
            spec = ArtifactSpec(format_)
            told = [*plugin.advice(spec)]
            assert all(isinstance(one, Notice) and one.text for one in told)
            assert [one.text for one in told] == [" ".join(one.text.split()) for one in told]
            assert [*self.make().advice(spec)] == told

    def test_importing_it_is_cheap(self) -> None:
        """Listing plugins works on a bare machine: heavy libraries load inside methods."""
        code = (
            f"import sys, {self.plugin.__module__};"
            f"print(*[m for m in {HEAVY!r} if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == []
