"""The command ``tebench``: every program of the benchmark under one name.

  tebench run task=segmentation method=rollout      one cell; with -m the cells of a sweep
  tebench tables suite=embedded                     tables of what is finished
  tebench list methods                              what there is to choose from
  tebench COMMAND --help                            what a command takes

It is installed with the project; ``python -m bench`` and ``python -m bench.tables`` do the same from a checkout.
"""

import ast
import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench._own_packages import working_directory_last
from bench.cli import exit_codes, tell
from bench.errors import BenchError, did_you_mean
from bench.suggestions import GROUPS
from bench.usage import usage


@dataclass(frozen=True)
class Command:
    """A program under a name.

    Attributes:
        module: that has the program, imported when it is called.
        summary: what it does, in a line.
        settings: the file in ``conf`` with the settings of a program that hydra runs, which reads the command line
            itself; None for others.
    """

    module: str
    summary: str
    settings: str | None = None

    @property
    def function(self) -> str:
        """The function of the module; it takes the arguments, or of a program of hydra nothing."""
        return "main" if self.settings is None else "command_line"


COMMANDS = {
    "quick": Command("bench.quick", "one table of data and a model that come with the project, in about a minute"),
    "run": Command("bench.__main__", "explain and score one cell, or with -m those of a sweep", "bench"),
    "tables": Command("bench.tables.__main__", "tables of the finished cells"),
    "figures": Command("bench.figures.__main__", "curves of the finished cells"),
    "report": Command("bench.report.__main__", "one page to look at"),
    "compare": Command("bench.compare", "two methods: difference, interval and p-value over the same samples"),
    "board": Command("bench.board.__main__", "what the samples say of the ranking of methods: tables, a page, a check"),
    "submit": Command("bench.board.submit", "finished cells as entries of the board"),
    "agreement": Command("bench.agreement", "how far the methods' kept maps agree"),
    "explain": Command("bench.explain.cli", "one picture or text of your own"),
    "plan": Command("bench.plan.__main__", "what a sweep needs before it runs: passes, maps, hours, disk"),
    "status": Command("bench.status.__main__", "what is done, running and missing"),
    "list": Command("bench.listing", "methods, metrics, models, datasets, tasks, protocols, suites, experiments"),
    "check": Command("bench.check.__main__", "a method, metric, task, data set or model of your own, on tiny data"),
    "verify": Command("bench.verify.__main__", "methods and metrics against stored numbers"),
    "finetune": Command("bench.finetune.__main__", "train a classifier of texts by the paper's recipe", "finetune"),
    "completion": Command("bench.completion", 'print what makes a shell complete: eval "$(tebench completion bash)"'),
}  # fmt: skip
HELP = {"-h", "--help"}


def main() -> None:
    """Run the command that the command line names; a user's mistake ends it with a message and exit code 2."""
    # Processes that this one starts, such as the jobs of a cluster, take no package from the working directory.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    working_directory_last()
    name, *arguments = sys.argv[1:] or ["--help"]
    with exit_codes():
        sys.exit(run(name, arguments))


def run(name: str, arguments: Sequence[str]) -> int | None:
    """Run a command; returns its exit code, None for 0.

    Raises:
        BenchError: if there is no such command, and whatever it raises itself.
    """
    if name in HELP:
        tell(overview())
        return None
    if name == "--version":
        from importlib.metadata import version

        tell(version("transformer-explanation-bench"))
        return None
    if name not in COMMANDS:
        raise BenchError(f"tebench {name}: {did_you_mean(name, COMMANDS)}")
    command = COMMANDS[name]
    if HELP & set(arguments) and name != "explain":  # which has a parser of its own
        tell(documentation(name))
        return None
    if find_spec(command.module.removesuffix(".__main__")) is None:
        raise BenchError(f"tebench {name}: this installation has no {command.module}; install a newer one")
    program = getattr(importlib.import_module(command.module), command.function)
    if command.settings is not None:
        sys.argv = [f"tebench {name}", *arguments]
        return program()
    return program(arguments)


def overview() -> str:
    """What the command is, and all that it takes."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([__doc__.strip(), "", "commands:", *lines])


def documentation(name: str) -> str:
    """What a command says of itself: read from its file, as importing it takes seconds."""
    module = COMMANDS[name].module
    package = find_spec(module.removesuffix(".__main__"))
    if package is None or package.origin is None:
        return COMMANDS[name].summary
    file = Path(package.origin)
    file = file.with_name("__main__.py") if module.endswith(".__main__") else file
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or COMMANDS[name].summary
    text = text.replace("python -m bench explain", "tebench explain")
    for other, command in COMMANDS.items():
        named = re.escape(f"python -m {command.module.removesuffix('.__main__')}")
        text = re.sub(rf"{named}(?![.\w])", f"tebench {other}", text)
    if (settings := COMMANDS[name].settings) is None:
        return text
    return usage(text, settings, GROUPS if settings == "bench" else ("dataset",))
