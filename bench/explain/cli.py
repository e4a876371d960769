"""``python -m bench explain``: one sample, or some of one's own, explained."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

from bench.cli import progress, say, tell
from bench.data.imagenet import SUFFIXES
from bench.errors import BenchError
from bench.explain.explainer import METHOD, SUITE, ImageExplainer, TextExplainer
from bench.explain.explanation import FIGURES, Explanation, TextExplanation, cut, listed, percent, save
from bench.models.classes import Class, find

HELP = """\
Explain why a model gives an image, or a text, to a class.

An image becomes a picture beside it, photo_explanation.png; a text becomes a page in the current folder,
explanation.html. The most probable classes are printed. Models, methods and settings are those of the
benchmark, and so are the maps.
"""
EXAMPLES = """\
examples:
  python -m bench explain photo.jpg --model small_real
  python -m bench explain photo.jpg --model small_real --target 'tabby' --all-methods
  python -m bench explain photos/ --model deit_small_patch16_224 --method lrp,rollout --output explained/
  python -m bench explain photo.jpg --model vit_base_patch16_224 --checkpoint vit.pth --output why.html
  python -m bench explain --text 'a dull plot , but what a cast !' --target NEG
  python -m bench explain --model /my/bert - < reviews.txt
  python -m bench explain photo.jpg --method mypackage.MyMethod --set +method.alpha=2 --set protocol=clean

The models of the default suite, embedded, come with the project and know only drawn digits and some hundred
words. Images are read as the benchmark reads them: as stored, whatever their EXIF orientation.
"""
MARK = "_explanation"  # in the names of files that are written, so that a folder is not explained twice
PAGES = (".html",)


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


def main(arguments: Sequence[str]) -> int:
    """Explain what the command line names; returns the exit code: 2 for mistakes of the user."""
    import matplotlib

    matplotlib.use("agg")  # files need no window
    options = _parser().parse_args(arguments)
    try:
        jobs, explainer = _prepared(options)
        if options.target is not None:
            find(explainer.classes, options.target)  # or every sample would say that there is no such class
    except BenchError as e:
        say(f"error: {e}")
        return 2
    done, failed = [], 0
    with progress("explaining", len(jobs), "sample") as advance:
        for job in jobs:
            try:
                explanation = explainer(job.sample, options.target)
                _write(explanation, job.output)
            except BenchError as e:
                say(f"error: {e}")
                failed += 1
            else:
                done.append(_record(job, explanation))
                if not options.json:
                    tell(_summary(job, explanation))
            advance()
    if options.json:
        tell(json.dumps(done, indent=2, ensure_ascii=False))
    return 2 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench explain",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        metavar="input",
        help="images, folders of images, or -: texts, one per line of stdin",
    )
    add("--text", action="append", default=[], help="a text (again for more; - for those on stdin)")
    add(
        "--model",
        default=SUITE,
        help="a suite (embedded, small_real, paper), timm's name of an architecture, or for texts a "
        "directory of transformers (default: %(default)s)",
    )
    add("--checkpoint", help="a local file with the weights of timm's architecture (default: the hub's)")
    add(
        "--method",
        default=METHOD,
        help="a file of conf/method, several with commas, or package.module.Name of your own "
        "(default: %(default)s)",
    )
    add(
        "--all-methods", action="store_true", help="all methods that the protocol's tables compare, as a grid"
    )
    add("--target", help="the class to explain: its number, wnid or name (default: the predicted one)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting of python -m bench, e.g. method.start_layer=0, protocol=clean, device=cpu",
    )
    add(
        "--config-dir",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder with choices of your own: method/, model/, ...",
    )
    add(
        "--output",
        type=Path,
        help=f"the file to write ({', '.join(FIGURES)}, .html; a text .html), or a folder "
        "(default: beside the image; for a text, the current folder)",
    )
    add("--json", action="store_true", help="print classes, probabilities and files as JSON")
    return parser


def _prepared(options: argparse.Namespace) -> tuple[list[Job], ImageExplainer | TextExplainer]:
    """What to explain, and with what.

    Raises:
        BenchError: for a mistake in the options.
    """
    methods = None if options.all_methods else options.method.split(",")
    texts = [*options.text, *(name for name in options.inputs if name == "-")]
    files = [name for name in options.inputs if name != "-"]
    overrides = [*options.set, *(f"--config-dir={folder}" for folder in options.config_dir)]
    if not texts:
        jobs = of_images(files, options.output)
        return jobs, ImageExplainer(options.model, methods, overrides, options.checkpoint)
    if files:
        raise BenchError(
            f"{files[0]}: images and texts have different models; explain them one after the other"
        )
    if options.checkpoint is not None:
        raise BenchError(
            f"--checkpoint {options.checkpoint}: is for images; name a text's directory as --model"
        )
    jobs = of_texts(texts, options.output)
    from transformers.utils import logging

    logging.disable_progress_bar()  # of the weights: they are read in no time
    return jobs, TextExplainer(options.model, methods, overrides)


def _write(explanation: Explanation, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(explanation, path)
    except OSError as e:
        raise BenchError(f"--output {path}: cannot be written ({e.strerror}); choose another folder") from e


def _record(job: Job, explanation: Explanation) -> dict[str, Any]:
    record = {
        "input": job.name,
        "output": str(job.output),
        "model": explanation.model,
        "methods": list(explanation.maps),
        "explained": _class(explanation.explained, explanation.probability),
        "top": [_class(*pair) for pair in explanation.top],
    }
    if isinstance(explanation, TextExplanation):
        record |= {"words": len(explanation.words), "words_seen": explanation.seen}
    return record


def _class(shown: Class, probability: float) -> dict[str, Any]:
    return {"index": shown.index, "wnid": shown.wnid, "name": shown.name, "probability": probability}


def _summary(job: Job, explanation: Explanation) -> str:
    lines = [f"{shorten(job.name, 70)} → {job.output}", f"  explained: {explanation.explained}"]
    lines += [f"  {percent(probability):>7}  {c}" for c, probability in listed(explanation)]
    note = cut(explanation) if isinstance(explanation, TextExplanation) else None
    return "\n".join([*lines, f"  {note}"] if note else lines)


def of_images(inputs: Sequence[str], output: Path | None) -> list[Job]:
    """One job per image file, and per image in each folder.

    Args:
        output: a file or a folder; None writes a picture beside each image.

    Raises:
        BenchError: if there are none, or an output would overwrite an input or another output.
    """
    jobs = [Job(str(f), f, f.with_name(f"{f.stem}{MARK}.png")) for f in _images([Path(i) for i in inputs])]
    return _checked(_placed(jobs, output, (*FIGURES, *PAGES)))


def of_texts(texts: Sequence[str], output: Path | None) -> list[Job]:
    """One job per text; ``-`` stands for the lines of standard input.

    Args:
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
    jobs = [Job(t, t, Path(f"explanation{number}.html")) for t, number in zip(texts, numbers, strict=True)]
    return _checked(_placed(jobs, output, PAGES))


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
        found = sorted(
            f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and not f.stem.endswith(MARK)
        )
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
