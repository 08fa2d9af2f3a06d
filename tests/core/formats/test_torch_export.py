"""Torch programs as files: equal ones are equal, and nothing pickled is read."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core import InputError, StageError
from core.formats.torch_export import describe, functional, load, operators, pruned, save, zeros


class Small(torch.nn.Module):
    """A convolution, and a weight that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 2, 3)
        self.unread = torch.nn.Parameter(torch.zeros(1000))

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        return torch.relu(self.conv(mix))


@pytest.fixture
def program() -> torch.export.ExportedProgram:
    """Return a program of two operators, the same every time."""
    torch.manual_seed(0)
    return torch.export.export(Small().eval(), (torch.ones(1, 1, 8),))


def rewritten(path: Path, name: str, content: bytes) -> Path:
    """Copy an archive with one more record, or another one of that name."""
    target = path.with_name(f"changed_{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for entry in old.infolist():
            if entry.filename != f"{root}/{name}":
                new.writestr(entry, old.read(entry))
        new.writestr(f"{root}/{name}", content)
    return target


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_program_comes_back(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    """A program that is read back computes the same and has the same description."""
    given = torch.randn(1, 1, 8)
    expected, said = program.module()(given), describe(program)
    save(program, tmp_path / "model.pt2")
    back = load(tmp_path / "model.pt2")
    torch.testing.assert_close(back.module()(given), expected, rtol=0, atol=0)
    assert describe(back) == said
    assert said["operators"] == {"conv1d": 1, "relu": 1}
    assert said["inputs"] == ["mix float32 1×1×8"]
    assert [tuple(t.shape) for t in zeros(back)] == [(1, 1, 8)]


def test_equal_programs_are_equal_files_without_paths(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    """Neither the example inputs nor the code's path gets into a file."""
    torch.manual_seed(0)
    again = torch.export.export(Small().eval(), (torch.zeros(1, 1, 8),))
    for index, one in enumerate((program, again)):
        (tmp_path / f"{index}").mkdir()
        save(one, tmp_path / f"{index}" / "model.pt2")
    first, second = ((tmp_path / name / "model.pt2").read_bytes() for name in "01")
    assert first == second
    assert str(Path(__file__).parent).encode() not in first


def test_what_reaches_no_output_is_taken_out(program: torch.export.ExportedProgram) -> None:
    """Weights that reach no output are removed, though an export holds every weight."""
    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    assert {name for name, _ in pruned(module).named_parameters()} == {"conv.weight", "conv.bias"}
    assert operators(module.graph.nodes) == {"conv1d": 1, "relu": 1}


class Writing(torch.nn.Module):
    """Writes into its input, into a part of a tensor, and into buffers of three kinds."""

    def __init__(self, used: str) -> None:
        super().__init__()
        self.used = used
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("past", torch.zeros(8))

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Return twice the input where nothing is remembered."""
        mix *= 2
        hidden = mix + 1
        hidden[..., :4] -= 1
        hidden[..., 4:].sub_(1)
        self.calls += 1
        if self.used == "calls":
            hidden = hidden * self.calls
        if self.used == "past":
            hidden, before = hidden + self.past, hidden
            self.past = before[0, 0] + self.past
        return hidden


def test_a_program_that_writes_into_tensors_computes_without() -> None:
    """The rewritten program gives the same result and writes to no input or unused buffer."""
    program = functional(torch.export.export(Writing("").eval(), (torch.ones(1, 1, 8),)))
    assert not [name for name in operators(program.graph.nodes) if str(name).endswith("_")]
    assert not program.graph_signature.user_inputs_to_mutate
    given = torch.randn(1, 1, 8)
    before = given.clone()
    torch.testing.assert_close(program.module()(given), before * 2)
    torch.testing.assert_close(given, before, rtol=0, atol=0)


def test_a_program_that_writes_nowhere_stays(program: torch.export.ExportedProgram) -> None:
    """A program that writes nowhere is returned as it is."""
    assert functional(program) is program


@pytest.mark.parametrize("used", ["calls", "past"])
def test_a_program_whose_outputs_remember_is_refused(used: str) -> None:
    """The error names the buffer that an output depends on, and no other."""
    program = torch.export.export(Writing(used).eval(), (torch.ones(1, 1, 8),))
    with pytest.raises(StageError, match=rf"it writes into `{used}`\n") as caught:
        functional(program)
    assert any("an input and an output of the module" in line for line in caught.value.lines)


@pytest.mark.parametrize("record", ["data/sample_inputs/model.pt", "data/weights/model.pt"])
def test_pickled_records_are_refused(
    record: str, program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    """Pickled records are refused, because PyTorch would unpickle them and run their code."""
    save(program, tmp_path / "model.pt2")
    trap = tmp_path / "sprung"
    buffer = io.BytesIO()
    torch.save(Trap(trap), buffer)
    changed = rewritten(tmp_path / "model.pt2", record, buffer.getvalue())
    with pytest.raises(InputError, match="holds pickled objects"):
        load(changed)
    assert not trap.exists()


def test_a_weight_declared_as_pickled_is_refused(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    """A weight is refused where the archive says that it must be unpickled."""
    save(program, tmp_path / "model.pt2")
    trap = tmp_path / "sprung"
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("weights_config.json"))
        text = archive.read(name).decode().replace('"use_pickle": false', '"use_pickle": true')
    changed = rewritten(
        tmp_path / "model.pt2", "data/weights/model_weights_config.json", text.encode()
    )
    changed = rewritten(changed, "data/weights/weight_0", pickle.dumps(Trap(trap)))
    with pytest.raises(InputError, match="holds pickled objects"):
        load(changed)
    assert not trap.exists()


def _deflated(path: Path) -> None:
    _copied(path, "model/data/weights/weight_9", bytes(50_000_000), zipfile.ZIP_DEFLATED)


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        _copied(path, name, b"other")


def _copied(path: Path, name: str, content: bytes, how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content, how)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_deflated, "is compressed"),
        (_twice, "twice"),
        (lambda path: _copied(path, "model/../../../out", b"x"), "leads out of it"),
        (lambda path: _copied(path, "/etc/out", b"x"), "leads out of it"),
        (lambda path: _copied(path, "model/a\\b", b"x"), "leads out of it"),
        (lambda path: _copied(path, "model/data/x_config.json", bytes(17 * 2**20)), "bytes"),
        (
            lambda path: _copied(path, "model/data/weights/x_config.json", b"[" * 100_000),
            "no archive",
        ),
        (lambda path: _copied(path, "model/data/weights/x_config.json", b"[1]"), "no archive"),
    ],
)
def test_an_archive_that_lies_is_refused_before_it_is_unpacked(
    program: torch.export.ExportedProgram,
    tmp_path: Path,
    change: Callable[[Path], None],
    said: str,
) -> None:
    """Entries of an archive must be uncompressed, unique, and below its root."""
    save(program, tmp_path / "model.pt2")
    load(tmp_path / "model.pt2")
    change(tmp_path / "model.pt2")
    with pytest.raises(InputError, match="no archive of a torch program") as refused:
        load(tmp_path / "model.pt2")
    assert said in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_program_ends_in_one_message(content: bytes, tmp_path: Path) -> None:
    """A file that is no program gives one message with what to do."""
    file = tmp_path / "model.pt2"
    file.write_bytes(content)
    with pytest.raises(InputError, match="no archive of a torch program") as caught:
        load(file)
    assert "export it again: exporter=torch_export" in caught.value.lines


def test_an_archive_that_pytorch_does_not_read_ends_in_one_message(tmp_path: Path) -> None:
    """Any error that PyTorch raises for an archive becomes one message."""
    file = tmp_path / "model.pt2"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/nothing.txt", "nothing")
    with pytest.raises(InputError, match="no program that PyTorch"):
        load(file)
