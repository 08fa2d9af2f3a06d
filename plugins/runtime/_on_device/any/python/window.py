"""Runs one window: into the model's inputs, through the model, and back. Needs ONNX Runtime.

When a bundle is opened, a back end plays the golden window before it may play anything else. One
whose result is wrong is not used.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import cpu
import device
import golden
from manifest import BundleError, check, reason


def tell(text: str) -> None:
    """Print a line on the standard error."""
    print(text, file=sys.stderr)


class Window:
    """The models of the bundle, opened once, on the first back end that passes the test.

    `used` is its name. `golden` is None in a bundle without a golden window.
    """

    def __init__(
        self,
        folder: Path,
        metadata: dict,
        say: Callable[[str], None] = tell,
        *,
        every: bool = False,
    ) -> None:
        """Open the models; with `every`, try the remaining back ends, too.

        `say` gets a line for each back end. Raises BundleError where none can be used.
        """
        check(folder)
        graphs = metadata["host_graphs"]
        self.tensors, self.say, self.every = metadata["tensors"], say, every
        self.before = self.after = None
        self.adds_batch = not graphs
        self.golden = golden.Golden(folder) if metadata.get("golden") else None
        if graphs:
            self.before, self.after = (
                opened(cpu.inside(folder, graphs[name]["file"])) for name in ("forward", "inverse")
            )
        self.values = self.golden and self.forward(self.golden.inputs)
        if self.golden and graphs:
            self.check_dsp(graphs)
        self.model, self.used = self.first_that_passes(device.backends(folder, metadata))

    def run(self, inputs: dict) -> dict:
        """Map arrays to arrays, by the names and of the types of the signature."""
        values = self.forward(inputs)
        values |= played(self.model, values)
        return self.outputs(values)

    def forward(self, inputs: dict) -> dict:
        """Return all that the model takes, and what the way back needs."""
        names = self.tensors["inputs"]
        values = {names[name]: a[None] if self.adds_batch else a for name, a in inputs.items()}
        return values if self.before is None else values | played(self.before, values)

    def outputs(self, values: dict) -> dict:
        """Return the outputs by the names of the signature."""
        if self.after is not None:
            values = values | played(self.after, values)
        made = {name: values[tensor] for name, tensor in self.tensors["outputs"].items()}
        return {name: array[0] if self.adds_batch else array for name, array in made.items()}

    def check_dsp(self, graphs: dict) -> None:
        """Raise BundleError for a graph of the dsp that computes something else."""
        import numpy as np

        first = next(iter(self.golden.inputs.values()))
        feeds = dict(self.values)
        for value in self.after.get_inputs():
            if value.name not in feeds:
                feeds[value.name] = np.resize(first, value.shape).astype(np.float32)
        back = played(self.after, feeds)
        for stage, name, made in (
            ("forward", "forward", self.values),
            ("inverse", "inverse", back),
        ):
            label, db, least = self.golden.worst("dsp", stage, made)
            if db < least:
                raise BundleError(
                    f"{graphs[name]['file']} computes something else: {label} has {db:.1f} dB on "
                    f"the golden window, and {least:.1f} dB are needed; copy the bundle again"
                )

    def first_that_passes(self, backends: list) -> tuple:
        """Return the model on the first back end that passes the test, and the name of that."""
        chosen, whys = None, []
        for name, artifact, open_model in backends:
            if chosen and not self.every:
                break
            try:
                model, said = self.tried(artifact, open_model)
            except Exception as error:  # every engine has its own errors
                why = reason(error)
                whys.append(f"{name}: {why}")
                self.say(f"{name}: not used: {why}")
                continue
            self.say(f"{name}: {said}")
            chosen = chosen or (model, name)
        if chosen is None:
            raise BundleError("\n".join(["no back end can be used:", *(f"  {w}" for w in whys)]))
        return chosen

    def tried(self, artifact: str, open_model: Callable) -> tuple:
        """Open a back end, and play the golden window; raises BundleError for a wrong result."""
        started = time.perf_counter()
        model = open_model()
        clock = [time.perf_counter() - started]
        if self.golden is None:
            return model, f"opened in {1000 * clock[0]:.0f} ms; not tested: no golden window"
        for _ in range(2 if self.every else 1):
            started = time.perf_counter()
            made = played(model, self.values)
            clock.append(time.perf_counter() - started)
        named = self.outputs(self.values | made)
        if not self.adds_batch:
            named = {self.tensors["outputs"][name]: array for name, array in named.items()}
        said = []
        for stage, values in (("model", made), ("outputs", named)):
            label, db, least = self.golden.worst(artifact, stage, values)
            if not db >= least:
                raise BundleError(
                    f"its result is wrong: {label} has {db:.1f} dB on the golden window, and "
                    f"{least:.1f} dB are needed"
                )
            said.append(f"{stage} {db:.1f} dB of {least:.1f}")
        parts = ("cold start", "first window", "second window")
        times = [f"{part} {1000 * s:.0f} ms" for part, s in zip(parts, clock, strict=False)]
        return model, f"passes: {', '.join([*said, *times])}"


def opened(file: Path) -> object:
    """Return a graph, opened on the CPU; raises BundleError where ONNX Runtime refuses it."""
    try:
        return cpu.open_on_cpu(file)
    except Exception as error:  # ONNX Runtime has a class for every code
        raise BundleError(f"{file.name} cannot be opened: {reason(error)}") from error


def played(session: object, values: dict) -> dict:
    """Return all outputs of a session, by name; its inputs are taken from `values`."""
    feeds = {value.name: values[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
