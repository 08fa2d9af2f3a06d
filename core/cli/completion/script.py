"""`--completion SHELL`: prints the script that a shell reads to complete commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import ConfigError, did_you_mean
from core.machine.program import line

__all__ = ["SHELLS", "print_script"]

#: How each shell is told to read the script from now on.
SHELLS = {
    "bash": "{command} >> ~/.bashrc",
    "zsh": "{command} >> ~/.zshrc",
    "fish": "{command} > ~/.config/fish/conf.d/luthier.fish",
}


def print_script(arguments: Sequence[str]) -> None:
    """Print the script of the shell that is named after `--completion`, or by `=`.

    Raises ConfigError for another word, with what to type.
    """
    index = next(i for i, word in enumerate(arguments) if word.startswith("--completion"))
    shell = arguments[index].partition("=")[2] or "".join(arguments[index + 1 : index + 2])
    if shell not in SHELLS:
        raise ConfigError(
            f"`--completion` cannot be `{shell}`" if shell else "`--completion` needs a shell",
            did_you_mean(shell, SHELLS),
            "type one of:",
            *(how.format(command=line(["--completion", name])) for name, how in SHELLS.items()),
        )
    script = Path(__file__).with_name(f"luthier.{shell}").read_text(encoding="utf-8")
    sys.stdout.write(script)
