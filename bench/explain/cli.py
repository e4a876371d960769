"""``tebench explain``: one sample, or some of one's own, explained."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from bench.cli import progress, say, tell
from bench.errors import BenchError
from bench.explain.defaults import FIGURES, METHOD, SUITE

# What computes is imported where it is used: --help is for those who want to know what there is.
if TYPE_CHECKING:
    from bench.explain.explainer import ImageExplainer, TextExplainer
    from bench.explain.explanation import Explanation
    from bench.explain.jobs import Job
    from bench.models.classes import Class

HELP = """\
Explain why a model gives an image, or a text, to a class.

An image becomes a picture beside it, photo_explanation.png (with another model than the default
photo_explanation_MODEL.png), a text a page in the current folder, explanation.html. The most probable
classes are printed. Models, methods and settings are those of the benchmark, and so are the maps.
"""
EXAMPLES = """\
examples:
  tebench explain photo.jpg --model small_real
  tebench explain photo.jpg --model small_real --target 'tabby' --all-methods
  tebench explain photos/ --model deit_small_patch16_224 --method lrp,rollout --output explained/
  tebench explain photo.jpg --model vit_base_patch16_224 --checkpoint vit.pth --output why.html
  tebench explain --text 'a dull plot , but what a cast !' --target NEG
  tebench explain --model /my/bert - < reviews.txt
  tebench explain photo.jpg --method mypackage.MyMethod --set +method.alpha=2 --set protocol=clean

The models of the default suite, embedded, come with the project and know only drawn digits and some hundred
words. Images are read as the benchmark reads them: as stored, whatever their EXIF orientation.
"""


def main(arguments: Sequence[str]) -> int:
    """Explain what the command line names; returns the exit code: 2 for mistakes of the user."""
    options = _parser().parse_args(arguments)
    import matplotlib

    from bench.models.classes import find

    matplotlib.use("agg")  # files need no window
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
                if explainer.note and not options.json and not done:  # a mistake alone needs no note
                    say(f"note: {explainer.note}")
                done.append(_record(job, explanation, explainer.note))
                if not options.json:
                    tell(_summary(job, explanation))
            advance()
    if options.json:
        tell(json.dumps(done, indent=2, ensure_ascii=False))
    return 2 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tebench explain",
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
        help="a suite (embedded, small_real, real, paper), timm's name of an architecture, or for texts a "
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
    add(
        "--json",
        action="store_true",
        help="print classes, probabilities, files and relevances as JSON: one number for each patch or pixel "
        "of a method's own map, or for each word that the model saw",
    )
    return parser


def _prepared(options: argparse.Namespace) -> tuple[list["Job"], "ImageExplainer | TextExplainer"]:
    """What to explain, and with what.

    Raises:
        BenchError: for a mistake in the options.
    """
    from bench.explain.explainer import ImageExplainer, TextExplainer
    from bench.explain.jobs import mark_of, of_images, of_texts

    mark = mark_of(options.model, options.checkpoint)
    methods = None if options.all_methods else options.method.split(",")
    texts = [*options.text, *(name for name in options.inputs if name == "-")]
    files = [name for name in options.inputs if name != "-"]
    overrides = [*options.set, *(f"--config-dir={folder}" for folder in options.config_dir)]
    if not texts:
        jobs = of_images(files, options.output, mark)
        return jobs, ImageExplainer(options.model, methods, overrides, options.checkpoint)
    if files:
        raise BenchError(
            f"{files[0]}: images and texts have different models; explain them one after the other"
        )
    if options.checkpoint is not None:
        raise BenchError(
            f"--checkpoint {options.checkpoint}: is for images; name a text's directory as --model"
        )
    jobs = of_texts(texts, options.output, mark)
    return jobs, TextExplainer(options.model, methods, overrides)


def _write(explanation: "Explanation", path: Path) -> None:
    from bench.explain.explanation import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.is_file() else None
        save(explanation, path)
        if before not in (None, path.read_bytes()):
            say(f"{path}: replaced another explanation")
    except OSError as e:
        raise BenchError(f"--output {path}: cannot be written ({e.strerror}); choose another folder") from e


def _record(job: "Job", explanation: "Explanation", note: str | None) -> dict[str, Any]:
    from bench.explain.explanation import TextExplanation

    record = {
        "input": job.name,
        "output": str(job.output),
        "model": explanation.model,
        "methods": list(explanation.maps),
        "explained": _class(explanation.explained, explanation.probability),
        "top": [_class(*pair) for pair in explanation.top],
        "relevance": {name: _rounded(values.tolist()) for name, values in explanation.relevance.items()},
    }
    if isinstance(explanation, TextExplanation):
        record |= {
            "words": len(explanation.words),
            "words_seen": explanation.seen,
            "seen": explanation.words[: explanation.seen],
        }
    return record | ({"note": note} if note else {})


def _rounded(values: Any) -> Any:
    """Numbers, in lists however deep, with as many digits as float32 has."""
    return [_rounded(each) for each in values] if isinstance(values, list) else float(f"{values:.7g}")


def _class(shown: "Class", probability: float) -> dict[str, Any]:
    return {"index": shown.index, "wnid": shown.wnid, "name": shown.name, "probability": probability}


def _summary(job: "Job", explanation: "Explanation") -> str:
    from bench.explain.explanation import TextExplanation, cut, listed, percent

    lines = [
        f"{shorten(job.name, 70)} → {job.output}",
        f"  model: {explanation.model}, {len(explanation.classes)} classes",
    ]
    lines += [f"  explained: {explanation.explained}"]
    lines += [f"  {percent(probability):>7}  {c}" for c, probability in listed(explanation)]
    note = cut(explanation) if isinstance(explanation, TextExplanation) else None
    return "\n".join([*lines, f"  {note}"] if note else lines)
