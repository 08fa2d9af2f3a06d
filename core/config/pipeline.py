"""Makes the plugins of a composed config, slot by slot, and refuses an empty slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from core.config.compose import words_of_job
from core.config.inputs import take_input
from core.config.limits import Limit, limits_of
from core.config.precision_options import check_precision, without_effect
from core.config.settings import PLURAL, SLOTS, Measure, Settings, checked, target_of
from core.config.touched import check_asked
from core.config.trained_window import with_lengths
from core.errors import ConfigError, did_you_mean
from core.machine.program import line
from core.plugin import kinds, options
from core.plugin.registry import Registry
from core.plugin.values import Target

if TYPE_CHECKING:
    from core.config.recipes import Recipe

__all__ = ["Pipeline", "make_pipeline"]


@dataclass(frozen=True)
class Pipeline:
    """The plugins of one run, made and typed, with what the recipe says beside them.

    `never_run` says why this machine cannot open what the runtime compiles; "" where it can. It is
    asked once, so that all that is planned and run from here, on whatever machine, goes by it.
    `idle_precision` says why the precision changes nothing; "" where it does.
    """

    recipe: str
    title: str
    target: Target
    precision: str
    measure: Measure
    contract: tuple[Limit, ...]
    model: kinds.Model[Any]
    dataset: kinds.Dataset[Any]
    calibration: kinds.Dataset[Any] | None
    exporter: kinds.Exporter[Any] | None
    graph: Sequence[kinds.Graph[Any]]
    quantizer: kinds.Quantizer[Any] | None
    dsp: kinds.Dsp[Any]
    chunker: kinds.Chunker[Any]
    runtime: kinds.Runtime[Any]
    host: kinds.Runtime[Any] | None
    evaluator: Sequence[kinds.Evaluator[Any]]
    reporter: Sequence[kinds.Reporter[Any]]
    against: kinds.Chunker[Any] | None = None
    never_run: str = ""
    idle_precision: str = ""

    @property
    def plays_itself(self) -> bool:
        """Return whether the runtime itself plays whole inputs here; otherwise the host does."""
        return self.runtime.plays and not self.never_run

    @property
    def probes(self) -> bool:
        """Return whether a few windows run on the compiled model, which is too slow for all."""
        return not self.runtime.plays and not self.never_run

    @property
    def plugins(self) -> list[kinds.Plugin[Any]]:
        """Return every plugin of the recipe, in the order of its slots."""
        slots = [getattr(self, slot) for slot in SLOTS]
        each = [slot if isinstance(slot, Sequence) else (slot,) for slot in slots]
        every = [plugin for plugins in each for plugin in plugins if plugin is not None]
        return every if self.against is None else [*every, self.against]


def make_pipeline(
    cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe]
) -> Pipeline:
    """Make every plugin that `cfg` names.

    Raises ConfigError for a slot that must not be empty, and for a recipe that reaches out of its
    folder without being asked to.
    """
    _check_keys(cfg)
    check_asked(cfg, recipes, recipe, registry, words_of_job())
    take_input(cfg, registry)
    check_precision(cfg, registry)
    made: dict[str, Any] = {slot: _slot(cfg, registry, slot) for slot in SLOTS}
    for slot in ("model", "dataset", "dsp", "chunker", "runtime"):
        if made[slot] is None:
            raise _empty(slot, recipe, list(recipes), registry)
    model, against = made["model"], _against(cfg, registry)
    made["chunker"] = with_lengths(made["chunker"], model, cfg.chunker, "chunker")
    precision = cfg.precision.get("name", "fp32") if cfg.precision else "fp32"
    runtime: kinds.Runtime[Any] = made["runtime"]
    quantizer: kinds.Quantizer[Any] | None = made["quantizer"]
    return Pipeline(
        recipe=recipe or "custom",
        title=cfg.title,
        target=target_of(cfg),
        precision=precision,
        measure=cast("Measure", checked(cfg, "measure")),
        contract=limits_of(cfg.contract, registry, made["evaluator"]),
        **made,
        against=against and with_lengths(against, model, None, "measure.against"),
        never_run=runtime.unopenable() if runtime.compiles else "",
        idle_precision=without_effect(
            cfg, quantizes=quantizer is not None and not quantizer.passes
        ),
    )


def _empty(slot: str, recipe: str, recipes: Sequence[str], registry: Registry) -> ConfigError:
    """Return the error for a slot that must not be empty."""
    if recipe:
        known = f"{slot} plugins: {', '.join(registry.names(SLOTS[slot]))}"
        return ConfigError(f"the recipe names no {slot}", known)
    return ConfigError(
        "no recipe is given",
        f"give one: {line([f'recipe={recipes[0]}'])}" if recipes else "",
        f"recipes: {', '.join(recipes)}",
    )


def _check_keys(cfg: DictConfig) -> None:
    """Refuse a key that was added by force (`+x=1`)."""
    known = list(Settings.__dataclass_fields__)
    for key in map(str, cfg):
        if key not in known:
            raise ConfigError(
                f"there is no option `{key}`", did_you_mean(key, known), f"keys: {', '.join(known)}"
            )


def _slot(cfg: DictConfig, registry: Registry, slot: str) -> Any:
    node = cfg.get(slot)
    if slot in PLURAL:
        return tuple(
            _plugin(n, registry, slot, f"{slot}.{name}") for name, n in (node or {}).items()
        )
    return None if node is None else _plugin(node, registry, slot, slot)


def _plugin(node: Any, registry: Registry, slot: str, path: str) -> kinds.Plugin[Any]:
    if not OmegaConf.is_dict(node) or options.PLUGIN_KEY not in node:
        raise ConfigError(
            f"`{path}` names no plugin",
            f"give one: {slot}=<name>",
            f"{SLOTS[slot]} plugins: {', '.join(registry.names(SLOTS[slot]))}",
        )
    entry = registry.find(SLOTS[slot], node[options.PLUGIN_KEY])
    return entry.create(options.build(entry, node, path))


def _against(cfg: DictConfig, registry: Registry) -> kinds.Chunker[Any] | None:
    """Return the chunker of the reference for quality; None if it is the recipe's own."""
    given, path = cfg.measure.against, "measure.against"
    if not given:
        return None
    name = given.get(options.PLUGIN_KEY)
    if not isinstance(name, str):
        known = f"chunker plugins: {', '.join(registry.names('chunker'))}"
        raise ConfigError(
            f"`{path}` names no plugin", f"give one: {path}={{plugin: <name>, ...}}", known
        )
    entry = registry.find("chunker", name)
    node = options.schema(entry)
    OmegaConf.set_struct(node, False)
    try:
        node = cast("DictConfig", OmegaConf.merge(node, given))
    except OmegaConfBaseException as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"`{path}` is not valid: {first}", f"at: {path}") from error
    return cast("kinds.Chunker[Any]", entry.create(options.build(entry, node, path)))


assert set(SLOTS) <= set(Settings.__dataclass_fields__), "every slot is a key of the config"
