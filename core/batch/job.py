"""One run over a batch: make the model once, then play every item that is not done yet.

outputs/<recipe>/batch-<id>/
    items/<path of the item>/…   written by the dataset, whole or not at all
    manifest.jsonl               a line for each item: its hash, its files, or why there are none
    recipe.lock.yaml             the recipe, with every option

The id is a hash of everything that decides the results, so the same command resumes the batch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pluggy
from omegaconf import DictConfig, OmegaConf

from core.batch import on_ray
from core.batch.folder import LOCK_FILE, MANIFEST, STAGING, held_alone
from core.batch.manifest import Entry, Manifest
from core.batch.plan import BatchPlan, make_plan
from core.batch.standings import standings
from core.batch.worker import Job, Task, play_here
from core.config.pipeline import Pipeline
from core.config.recipes import Recipe
from core.config.settings import Mode, Scale
from core.errors import InputError
from core.machine import folders
from core.machine.environment import versions
from core.plugin.hooks import reporting
from core.plugin.progress import Progress
from core.plugin.records import NAMED, BatchRecord, Failed, named, passed_over
from core.plugin.registry import Registry
from core.plugin.step_names import MODEL
from core.plugin.values import Artifact, Notice
from core.run import lockfile
from core.run.execute import execute
from core.run.fitness import unfit
from core.store import uses
from core.store.limit import at_work
from core.store.local import Store
from core.store.locate import open_store

__all__ = ["run"]

#: The stage name that reporters get for the items, beside the steps of the plan.
STAGE = "items"


def run(cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe]) -> None:
    """Plan the batch and, unless `mode=plan`, play it; raises InputError where items failed."""
    store = open_store(cfg.store)
    if cfg.mode is Mode.plan:
        from core.batch.show_plan import show

        show(make_plan(cfg, registry, recipe, recipes, store), store.address)
        return
    with at_work(store, "batch", recipe, cfg.store_limit_gb):
        plan = make_plan(cfg, registry, recipe, recipes, store)
        with reporting(registry.manager, plan.steps.pipeline.reporter):
            try:
                _Batch(plan, store, registry.manager.hook, recipes).run()
            finally:
                registry.manager.hook.luthier_run_ended()


class _Batch:
    """One run: makes the model, plays the items, and reports the result."""

    def __init__(
        self,
        plan: BatchPlan,
        store: Store,
        hook: pluggy.HookRelay,
        recipes: Mapping[str, Recipe],
    ) -> None:
        self.plan, self.store, self.hook, self.recipes = plan, store, hook, recipes
        self.pipeline: Pipeline = plan.steps.pipeline
        #: Notices about damage in the files of earlier runs.
        self.found: list[Notice] = []

    def run(self) -> None:
        """Make the model, play every item that is not done, and report the result."""
        self.hook.luthier_run_started(plan=self.plan.steps.record)
        started = datetime.now(UTC)
        artifacts = execute(self.plan.steps, self.store, self.hook).artifacts
        place = self.plan.folder(artifacts)
        uses.placed(self.store.root, place)
        with held_alone(place):
            self._lock_file(place, artifacts)
            record = self._played(place, artifacts, started)
        self.hook.luthier_batch_finished(record=record, folder=str(place))
        if record.failed:
            raise _incomplete(record, place)

    def _played(
        self, place: Path, artifacts: dict[str, Artifact], started: datetime
    ) -> BatchRecord:
        self.hook.luthier_stage_started(stage=STAGE, title="play every item")
        with Manifest(place / MANIFEST) as manifest:
            tasks, done = self._left(manifest)
            job = Job(
                self.pipeline,
                artifacts[self.plan.source],
                artifacts[MODEL],
                place,
                self.plan.settings.retries,
                self.store.state_dir,
            )
            made: list[Entry] = []
            clock = time.perf_counter()

            def tell(done: float, total: float, message: str) -> None:
                inside = done / total if total else 0.0
                self._tell(done + len(made) + min(inside, 1.0), done + len(tasks), message)

            with closing(self._entries(job, tasks, Progress(tell))) as entries:
                for entry in entries:
                    manifest.add(entry)
                    made.append(entry)
                    self._tell(done + len(made), done + len(tasks), entry.source)
            seconds = time.perf_counter() - clock if tasks else 0.0
        return self._record(artifacts, started, made, done, seconds)

    def _left(self, manifest: Manifest) -> tuple[list[Task], int]:
        """Return the items to play, and the number of those that are done."""
        tasks, done, damaged = list[Task](), 0, list[str]()
        for standing in standings(self.plan.dataset.sources(), manifest):
            if standing.state == "done":
                done += 1
            else:
                tasks.append(Task(standing.source, standing.place))
            if standing.state == "damaged":
                damaged.append(standing.source.name)
            self._tell(0, 0, f"looking for finished items: {done} of {done + len(tasks)}")
        if manifest.damaged:
            self.found.append(Notice("warning", passed_over(manifest.damaged)))
        if damaged:
            text = f"played again because their files were damaged or gone: {named(damaged)}"
            self.found.append(Notice("warning", text))
        return tasks, done

    def _entries(
        self, job: Job, tasks: list[Task], progress: Progress
    ) -> Generator[Entry, None, None]:
        if tasks and self.plan.scale is Scale.ray:
            yield from on_ray.play_on_ray(job, tasks, self.plan.settings, progress)
        elif tasks:
            yield from play_here(job, tasks, progress)

    def _record(
        self,
        artifacts: dict[str, Artifact],
        started: datetime,
        made: list[Entry],
        done: int,
        seconds: float,
    ) -> BatchRecord:
        failed = [entry for entry in made if entry.status == "failed"]
        info = artifacts[MODEL].info
        notices = [
            *info.notices,
            *unfit(self.pipeline, info, self.recipes),
            *self.plan.notices,
            *self.found,
            *self.store.notices,
        ]
        again = sum(entry.retries > 0 for entry in made)
        if again:
            text = f"played again, because a worker died or the first try failed: {again} items"
            notices.append(Notice("warning", text))
        notices += [notice for artifact in artifacts.values() for notice in artifact.notices]
        return BatchRecord(
            recipe=self.pipeline.recipe,
            title=self.pipeline.title,
            started=started.isoformat(timespec="seconds"),
            seconds=seconds,
            items=done + len(made),
            played=len(made) - len(failed),
            done_before=done,
            failed=tuple(
                Failed(entry.source, entry.reason, entry.retries)
                for entry in sorted(failed, key=lambda entry: entry.source)
            ),
            covered_s=sum(entry.seconds for entry in made),
            processes=len({entry.worker for entry in made if entry.worker}),
            device=", ".join(sorted({entry.device for entry in made if entry.device})),
            notices=tuple(dict.fromkeys(notices)),
        )

    def _lock_file(self, place: Path, artifacts: dict[str, Artifact]) -> None:
        config = cast(
            "dict[str, Any]",
            OmegaConf.to_container(self.plan.cfg, resolve=True, enum_to_str=True),
        )
        config["scale"] = self.plan.scale.name
        # The person who runs the lock file chooses the cluster; the file does not.
        config["batch"].pop("address", None)
        text = lockfile.lock(config, artifacts, versions())
        partial = place / STAGING / LOCK_FILE
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(place / LOCK_FILE)
        except OSError as error:
            raise folders.unwritable("the batch's folder", error, place) from error

    def _tell(self, done: float, total: float, message: str) -> None:
        self.hook.luthier_stage_progress(stage=STAGE, done=done, total=total, message=message)


def _incomplete(record: BatchRecord, place: Path) -> InputError:
    told = [f"{one.source}: {one.reason.partition('; ')[0]}" for one in record.failed[:NAMED]]
    more = len(record.failed) - len(told)
    return InputError(
        f"{len(record.failed)} of {record.items} items failed",
        *told,
        f"and {more} more" if more else "",
        f"all reasons: {place / MANIFEST}",
        "repair or remove these items, and run the same command again: no other item is played "
        "again",
    )
