"""Pages of the site that are not written by hand: methods, metrics, the notebook, and files outside of docs."""

import json
import os
import re
import sys
from pathlib import Path, PurePosixPath

import yaml
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
from docstrings import Module, first_sentence, markdown, modules

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures" / "methods"
FIGURE = (
    "The six in an image of the embedded data, which also shows a small two, on the small model that comes with the "
    "project (maps of both signs: blue below 0, red above):"
)
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
# Pages that lie elsewhere, and their place on the site.
OUTSIDE = {
    "README.md": "index.md",
    **{name: f"project/{name}" for name in ("REPRODUCING.md", "CHANGELOG.md", "CONTRIBUTING.md")},
    **{
        str(file.relative_to(ROOT)): f"project/{file.relative_to(ROOT)}"
        for folder in ("results", "conf/protocol")
        for file in sorted((ROOT / folder).rglob("*.md"))
        if "cells" not in file.parts
    },
}


def on_files(files, config):
    """Add the pages."""
    pages = {place: (ROOT / name).read_text(encoding="utf-8") for name, place in OUTSIDE.items()}
    pages |= method_pages() | metric_pages()
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{notebook.stem}.md"] = of_notebook(notebook)
    source_of = {place: name for name, place in OUTSIDE.items()}
    linked: set[str] = set()
    for file in list(files):
        if file.src_uri.endswith(".md"):
            text = Path(file.abs_src_path).read_text(encoding="utf-8")
            files.remove(file)
            pages[file.src_uri] = text
            source_of[file.src_uri] = f"docs/{file.src_uri}"
    for place, text in pages.items():
        text = relinked(text, place, source_of.get(place, f"docs/{place}"), linked)
        files.append(File.generated(config, place, content=text))
    for name in sorted(linked):
        files.append(File.generated(config, f"source/{name}", content=(ROOT / name).read_bytes()))
    return files


def relinked(text: str, place: str, source: str, linked: set[str]) -> str:
    """A page whose links lead to pages of the site, or to copies of the files they name.

    Args:
        place: of the page on the site.
        source: of the file that the page is made from, from the root of the project.
        linked: gains the files outside of the site that are linked to.
    """

    def new(match: re.Match) -> str:
        target = os.path.normpath(PurePosixPath(source).parent / match[1])
        if target in OUTSIDE:
            there = OUTSIDE[target]
        elif (ROOT / target).is_dir():
            indices = [p for name, p in OUTSIDE.items() if name.startswith(f"{target}/")]
            there = "tables.md" if not indices else indices[0]
        elif target.startswith("docs/"):
            there = target.removeprefix("docs/")
            if there.endswith(".ipynb") and there[:-6] != place[:-3]:  # but for the notebook's own page
                there = f"{there[:-6]}.md"
        elif (ROOT / target).is_file():
            linked.add(target)
            there = f"source/{target}"
        else:
            return match[0]  # dead: mkdocs says so
        return os.path.relpath(there, PurePosixPath(place).parent) + (match[2] or "")

    return LINK.sub(new, text)


def choices(package: str, group: str) -> dict[str, list[str]]:
    """The names of the choices that make each class of a package, by the name of the class."""
    found: dict[str, list[str]] = {}
    contents = {
        f.stem: yaml.safe_load(f.read_text()) or {} for f in sorted((ROOT / "conf" / group).glob("*.yaml"))
    }

    def target(name: str) -> str:
        own = contents.get(name, {})
        parents = [p for p in own.get("defaults", []) if isinstance(p, str) and p != "_self_"]
        return own.get("_target_") or next((target(p) for p in parents), "")

    for name in contents:
        module, _, cls = target(name).rpartition(".")
        if module.partition(".")[0] == package:
            found.setdefault(cls, []).append(name)
    return found


def page(module: Module, package: str, chosen: dict[str, list[str]], key: str) -> str:
    """The page of a module of methods or metrics."""
    text = module.doc if module.doc.startswith("# ") else f"# {module.title}\n\n{module.doc}"
    parts = [markdown(text)]
    names = [name for cls in module.classes for name in chosen.get(cls, ())]
    if names:
        parts.append("## In the benchmark\n\n" + ", ".join(f"`{key}={name}`" for name in names))
    drawn = [name for name in names if (PICTURES / f"{name}.jpg").exists()]
    if key == "method" and drawn:
        shown = [f"![{name}](../pictures/methods/{name}.jpg){{ title={name} }} `{name}`" for name in drawn]
        parts.append(f"{FIGURE}\n\n" + "\n\n".join(shown))
    for name, doc in {**module.classes, **module.functions}.items():
        if doc:
            parts.append(f"## {package}.{name}\n\n{markdown(doc)}")
    parts.append(f"[Source](../../{package}/{module.name}.py)")
    return "\n\n".join(parts) + "\n"


def method_pages() -> dict[str, str]:
    """A page for each module with a method that can be chosen, and the list of all."""
    chosen = choices("methods", "method")
    shown = [m for m in modules(ROOT / "methods") if set(m.classes) & set(chosen)]
    pages = {f"methods/{m.name}.md": page(m, "methods", chosen, "method") for m in shown}
    rows = [
        f"| [{m.title}]({m.name}.md) | {', '.join(f'`{n}`' for c in m.classes for n in chosen.get(c, ()))} | "
        f"{first_sentence(m.doc)} |"
        for m in shown
    ]
    head = "# Methods\n\nA page each: formula, cost, reference, where paper and code differ.\n"
    pages["methods/index.md"] = (
        "\n".join([head, "| method | `method=` | what it is |", "|:--|:--|:--|", *rows]) + "\n"
    )
    return pages


def metric_pages() -> dict[str, str]:
    """A page for each module of metrics, and the list of the metrics that can be chosen."""
    chosen = choices("metrics", "metric")
    shown = modules(ROOT / "metrics")
    pages = {f"metrics/{m.name}.md": page(m, "metrics", chosen, "+metric") for m in shown}
    rows = [
        f"| `{name}` | [{cls}]({m.name}.md) | {first_sentence(m.classes[cls])} |"
        for m in shown
        for cls in m.classes
        for name in chosen.get(cls, ())
    ]
    others = [
        f"- [{m.title}]({m.name}.md): {first_sentence(m.doc)}"
        for m in shown
        if not set(m.classes) & set(chosen)
    ]
    head = "# Metrics\n\nA metric is a formula on stored columns: arrays in, numbers out.\n"
    table = ["| `+metric=` | class | what it is |", "|:--|:--|:--|", *rows]
    pages["metrics/index.md"] = "\n".join([head, *table, "\n## What they are made of\n", *others]) + "\n"
    return pages


def of_notebook(file: Path) -> str:
    """A notebook as a page: its text and its code; the tests run it."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    parts = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    return "\n\n".join(parts) + f"\n\n[The notebook]({file.name})\n"
