"""A stranger's repository with a method of their own, and a board that it can be submitted to."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.board.known import add
from bench.board.submit import main as submit
from bench.config import configuration, quoted
from bench.runner.cell import run

SAMPLES = 16
URL = "https://example.org/mine.git"
METHOD = """\
from dataclasses import dataclass

from torch import Tensor

from methods.relevance import Tape


@dataclass(frozen=True)
class Mine:
    \"\"\"Attention of one block to each token, times its gradient.\"\"\"

    block: int = -1

    def __call__(self, forward, inputs, target: Tensor | None = None) -> Tensor:
        tape = Tape.record(forward, inputs)
        attention = tape.attentions[self.block]
        (gradient,) = tape.gradient(target, [attention])
        return (attention * gradient).clamp(min=0).mean(dim=1)[:, 0].detach()
"""
SECTION = (
    "_target_: mine_of_a_stranger.Mine\nname: mine\ntitle: Mine\nkind: method\nfamily: attention\nblock: -1\n"
)
DATA = f"""\
_target_: bench.embedded.two_digits.TwoDigits
name: two_digits
title: pictures of two drawn digits, with masks
limit: null
count: {SAMPLES}
seed: 106
"""
TASKS = ("segmentation", "localisation")


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder."""
    who = [
        "-c",
        "user.name=A stranger",
        "-c",
        "user.email=stranger@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Stranger:
    """A repository of somebody who has a method, with the commands that they type.

    Attributes:
        folder: the repository, with ``mine_of_a_stranger.py`` and ``conf/method/mine.yaml``.
        where: the overrides of all commands.
        board: the folder of the board that they submit to.
    """

    def __init__(self, folder: Path):
        self.folder, self.board = folder / "repository", folder / "board"
        for path, text in (
            ("mine_of_a_stranger.py", METHOD),
            ("conf/method/mine.yaml", SECTION),
            ("conf/dataset/two.yaml", DATA),
        ):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
        git(self.folder, "init", "--quiet")
        git(self.folder, "remote", "add", "origin", URL)
        git(self.folder, "add", ".")
        git(self.folder, "commit", "--quiet", "-m", "A method")
        results = f"paths.results={quoted(folder / 'results')}"
        self.where = [f"--config-dir={self.folder / 'conf'}", "dataset=two", results, "device=cpu"]

    def run(self, method: str, *overrides: str, tasks: Sequence[str] = TASKS) -> None:
        """``tebench run task=… method=…``."""
        for task in tasks:
            run(configuration([f"task={task}", f"method={method}", *self.where, *overrides]))

    def submit(self, method: str, *arguments: str, tasks: Sequence[str] = TASKS) -> Path:
        """``tebench submit task=… method=…``; returns the entry's file."""
        for task in tasks:
            submit([f"task={task}", f"method={method}", f"folder={self.board}", *self.where, *arguments])
        (found,) = self.board.glob(f"*/*/{method}--*.json")
        return found

    def known(self, *overrides: str) -> None:
        """``tebench board --known``, by who keeps the board."""
        chosen = [f"task={','.join(TASKS)}", "protocol=paper", *self.where, *overrides]
        add(self.board, chosen).save(self.board)


def importable(folder: Path, monkeypatch) -> None:
    """Let Python find a repository's modules, and forget those of another."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "mine_of_a_stranger", raising=False)
