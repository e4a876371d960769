"""Which samples a command line names, and the file that each of them becomes."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.imagenet import SUFFIXES
from bench.errors import BenchError
from bench.explain.defaults import FIGURES, PAGES, SUITE

MARK = "_explanation"  # in the names of files that are written, so that a folder is not explained twice


@dataclass(frozen=True)
class Job:
    """One sample to explain.

    Attributes:
        name: of the file, or the text itself.
        sample: what an explainer takes.
        output: the file to write.
    """

    name: str
    sample: Path | str
    output: Path


def of_images(inputs: Sequence[str], output: Path | None, mark: str = MARK) -> list[Job]:
    """One job per image file, and per image in each folder.

    Args:
        mark: what the name of a picture ends with, after that of the image.
        output: a file or a folder; None writes a picture beside each image.

    Raises:
        BenchError: if there are none, or an output would overwrite an input or another output.
    """
    jobs = [Job(str(f), f, f.with_name(f"{f.stem}{mark}.png")) for f in _images([Path(i) for i in inputs])]
    return _checked(_placed(jobs, output, (*FIGURES, *PAGES)))


def of_texts(texts: Sequence[str], output: Path | None, mark: str = MARK) -> list[Job]:
    """One job per text; ``-`` stands for the lines of standard input.

    Args:
        mark: what the name of a page begins with.
        output: a file or a folder; None writes pages to the current folder.

    Raises:
        BenchError: if there are none, or the output cannot be written.
    """
    if "-" in texts:
        lines = [line.strip() for line in sys.stdin if line.strip()]
        texts = [*(text for text in texts if text != "-"), *lines]
    if not texts:
        raise BenchError("-: no text on standard input; expected one per line")
    numbers = [""] if len(texts) == 1 else [f"_{i + 1}" for i in range(len(texts))]
    jobs = [
        Job(t, t, Path(f"{mark.lstrip('_')}{number}.html")) for t, number in zip(texts, numbers, strict=True)
    ]
    return _checked(_placed(jobs, output, PAGES))


def mark_of(model: str, checkpoint: str | None) -> str:
    """What names of files end with, so that those of one model do not replace those of another."""
    chosen = [] if model == SUITE else [Path(model).name]
    chosen += [Path(checkpoint).stem] if checkpoint else []
    return "_".join([MARK, *(re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII) for name in chosen)])


def _images(paths: Sequence[Path]) -> list[Path]:
    """The files, and the images in the folders."""
    if not paths:
        raise BenchError(
            "nothing to explain: name an image, a folder of images, or --text '...' (see --help)"
        )
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and MARK not in f.stem)
        if not found:
            raise BenchError(f"{path}: no images in this folder; expected {', '.join(sorted(SUFFIXES))}")
        files += found
    return list(dict.fromkeys(files))


def _placed(jobs: list[Job], output: Path | None, suffixes: Sequence[str]) -> list[Job]:
    """The jobs with the output that the user chose.

    Raises:
        BenchError: if it is of no known kind, or one file for several samples.
    """
    if output is None:
        return jobs
    if not output.suffix or output.is_dir():
        if output.is_file():
            raise BenchError(
                f"--output {output}: is a file; name a folder, or a file as {', '.join(suffixes)}"
            )
        return [replace(job, output=output / job.output.name) for job in jobs]
    if output.suffix.lower() not in suffixes:
        raise BenchError(f"--output {output}: cannot be written; expected a folder or {', '.join(suffixes)}")
    if len(jobs) > 1:
        raise BenchError(f"--output {output}: there are {len(jobs)} samples; name a folder for their files")
    return [replace(job, output=output) for job in jobs]


def _checked(jobs: list[Job]) -> list[Job]:
    """The jobs, of which none overwrites an input or the output of another.

    Raises:
        BenchError: if one does.
    """
    inputs = {job.sample.resolve() for job in jobs if isinstance(job.sample, Path)}
    writer: dict[Path, Job] = {}
    for job in jobs:
        path = job.output.resolve()
        if path in inputs:
            raise BenchError(f"--output {job.output}: is the input itself; choose another name")
        if path in writer:
            raise BenchError(
                f"{job.name} and {writer[path].name} would both be written to {job.output}; "
                "explain them one after the other, each with its --output"
            )
        writer[path] = job
    return jobs
