"""What ``--help`` says of a program that takes the choices and settings of ``conf``; it reads the files alone."""

import re
import shutil
import textwrap
from pathlib import Path

from bench.catalogue import CONF, Catalogue
from bench.suggestions import GROUPS, choices

SETTING = re.compile(r"(?P<indent> *)(?P<key>\w+):(?: (?P<value>.*?))?(?: +# (?P<comment>.*))?")
SECTIONS = ("paths", "wandb")  # whose keys are shown, too
LEFT_OUT = ("hydra", "defaults")


def usage(header: str, config: str, groups: tuple[str, ...] = GROUPS, facts: Catalogue | None = None) -> str:
    """The header, the names that can be chosen, and the settings with what is said of them in their file.

    Args:
        header: what the program does, with examples.
        config: the name of the file in ``conf`` that has its settings.
        groups: of choices.
        facts: where the choices are; None for the project's own.
    """
    width = min(shutil.get_terminal_size().columns, 110)
    parts = [header.strip(), ""]
    if groups:
        parts.append("choices, as NAME=CHOICE:")
        parts += [
            _paragraph(group, ", ".join(sorted(choices(facts or Catalogue(), group))), width)
            for group in groups
        ]
        parts.append("")
    parts.append("settings, as NAME=VALUE:")
    parts += [_paragraph(name, said, width) for name, said in _settings(CONF / f"{config}.yaml")]
    return "\n".join(parts)


def _paragraph(name: str, text: str, width: int) -> str:
    first, others = f"  {name:<14} ", " " * 17
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=others, **whole)


def _settings(file: Path) -> list[tuple[str, str]]:
    """The settings of a file with their values and comments; a comment may also stand in the lines above."""
    found: list[tuple[str, str]] = []
    above: list[str] = []
    section = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        match = SETTING.fullmatch(line)
        if match is None:
            above = [*above, line.lstrip("# ")] if line.startswith("#") else []
            continue
        key, value = match["key"], match["value"] or ""
        if not match["indent"]:
            section = key
        if not match["indent"] and value and key not in LEFT_OUT:
            found.append((key, _said(value, match["comment"] or " ".join(above))))
        elif len(match["indent"]) == 2 and section in SECTIONS:
            found.append((f"{section}.{key}", _said(value, match["comment"])))
        above = []
    return found


def _said(value: str, comment: str | None) -> str:
    shown = re.sub(r"\$\{project:([\w/]+)\}", r"\1/", value)
    shown = re.sub(r"\$\{oc\.env:(\w+),([^}]+)\}", r"$\1, else \2", shown)
    shown = re.sub(r"\$\{paths\.(\w+)\}", r"paths.\1", shown)
    shown = re.sub(r"\$\{(task|dataset)\.\w+\}", r"by the \1", shown)
    shown = re.sub(r"\$\{nested_subset:.+\}", "by the suite or the model", shown)
    return f"[{shown}] {comment or ''}".rstrip()
