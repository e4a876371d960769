"""What a GPU does, in one go of at most eight minutes: ``make gpu PYTHON=python3`` writes ``results/speed/<card>.md``.

Needs this checkout and a Python with torch; nothing of it needs a network or ``make setup``. Packages that this Python
lacks (timm, hydra-core, omegaconf, antlr4-python3-runtime) are taken from wheels in the ignored folder ``wheels``, and
DeiT-Tiny and its images from ``data``, which is laid out as README.md describes. What cannot run for lack of them is
reported as not run, and ends nothing. The exit code is 1 if a golden or the bound of mixed precision is missed.
"""

import argparse
import pkgutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.speed.carried import PROJECT, carry

LIMIT = 480  # seconds
PARTS = {  # in this order, so that what matters most is there if time runs out
    "Maps against the reference implementation": "tests.speed.gpu_parts:goldens",
    "How far maps are from those in float64": "tests.speed.gpu_parts:deviations",
    "What a map costs": "tests.speed.gpu_parts:maps",
    "The perturbation test": "tests.speed.gpu_parts:perturbation",
}


class TimeIsUpError(Exception):
    """The limit was reached while a part was running."""


@dataclass
class Section:
    """What a part found.

    Attributes:
        title: of the section.
        lines: of markdown, in the order in which they were found.
        missed: what must not be.
        reason: why the part is not complete; empty if it is.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    reason: str = ""

    def text(self) -> str:
        """In markdown."""
        missed = [f"**missed**: {what}" for what in self.missed]
        reason = [f"*{self.reason}*"] if self.reason else []
        return "\n".join(
            [f"## {self.title}", "", *self.lines, *["", *missed] * bool(missed), "", *reason]
        ).strip()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeIsUpError in what takes longer; no limit where the system has no such timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(title: str, part: str, options: argparse.Namespace, device: Any, until: float) -> Section:
    """One part; whatever stops it is a reason in its section."""
    section = Section(title)
    try:
        with at_most(until - time.monotonic()):
            for line in pkgutil.resolve_name(part)(options, device, section.missed):
                section.lines.append(line)
                print(line, flush=True)
    except TimeIsUpError:
        section.reason = (
            f"not run{' to its end' * bool(section.lines)}: the {options.limit} seconds were over"
        )
    except ImportError as e:
        section.reason = f"not run: {e}; put a wheel of what is missing into {options.wheels.name}/"
    except Exception as e:  # also out of memory, or a driver's own: the other parts are worth having
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        section.reason = f"not run{' to its end' * bool(section.lines)}: {type(e).__name__}: {first}"
        section.missed += [] if type(e).__name__ == "BenchError" else [f"{title}: {section.reason}"]
    if section.reason:
        print(section.reason, file=sys.stderr, flush=True)
    return section


def parser() -> argparse.ArgumentParser:
    """What can be chosen."""
    made = argparse.ArgumentParser(prog="python -m tests.speed.gpu", description=__doc__.splitlines()[0])
    made.add_argument("--device", default="cuda", help="cuda, cuda:1, …; cpu to see whether all of it runs")
    made.add_argument("--wheels", type=Path, default=PROJECT / "wheels", help="folder")
    made.add_argument("--data", type=Path, help="data root with imagenet/ and models/; BENCH_DATA, or data")
    made.add_argument("--model", default="vit_base_patch16_224", help="timm's name, for the speed")
    made.add_argument("--batch", type=int, help="images at once, for the speed; 64, or what fits")
    made.add_argument("--images", type=int, default=96, help="for the deviations")
    made.add_argument("--repetitions", type=int, default=5)
    made.add_argument("--limit", type=int, default=LIMIT, help="seconds for everything")
    made.add_argument("--output", type=Path, help="file; results/speed/<card>.md, on a CPU none")
    return made


def main() -> None:
    """Run all parts, and keep what they found after each."""
    made = parser()
    options = made.parse_args()
    until = time.monotonic() + options.limit
    with tempfile.TemporaryDirectory() as scratch:
        taken = carry(options.wheels, Path(scratch))
        try:
            import torch

            from tests.speed import machine

            device = torch.device(options.device)
            torch.empty(0, device=device)
        except (ImportError, RuntimeError, AssertionError) as e:
            made.error(f"--device {options.device}: {str(e).splitlines()[0]}")
        output = options.output or (
            None if device.type == "cpu" else machine.FOLDER / f"{machine.file_name(device)}.md"
        )
        head = f"# {machine.device_name(device)}\n\n{machine.made_by('make gpu', device)}"
        head += f" From wheels: {', '.join(taken)}." if taken else ""
        sections = []
        for title, part in PARTS.items():
            print(f"\n{title}", flush=True)
            sections.append(run(title, part, options, device, until))
            if output is not None:
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text("\n\n".join([head, *(s.text() for s in sections)]) + "\n")
    missed = [what for section in sections for what in section.missed]
    for what in missed:
        print(f"missed: {what}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
