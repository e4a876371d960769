"""Pages from docstrings, which are read from the sources: nothing is imported."""

import ast
import re
from pathlib import Path

SECTIONS = {"Args:": "Arguments", "Attributes:": "Attributes", "Returns:": "Returns", "Raises:": "Raises"}
ROLE = re.compile(r":\w+:`~?([^`]+)`")
ENTRY = re.compile(r"(\*{0,2}[\w., ]+): (.*)")


def markdown(docstring: str) -> str:
    """A docstring in markdown: sections become lists, names of code stand in code."""
    text = ROLE.sub(r"`\1`", docstring).replace("``", "`")
    lines, section = [], None
    for line in text.splitlines():
        stripped = line.strip()
        if stripped in SECTIONS:
            section = SECTIONS[stripped]
            lines += ["", f"**{section}**", ""]
        elif section is None or (line and not line.startswith(" ")):
            section = None
            lines.append(line)
        elif (
            line.startswith("    ") and not line.startswith("     ") and (entry := ENTRY.fullmatch(stripped))
        ):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(f"  {stripped}" if stripped else "")
    return "\n".join(lines)


def first_sentence(docstring: str) -> str:
    """The first sentence, on one line, headings and formulas left out."""
    plain = "\n".join(line for line in docstring.splitlines() if not line.startswith("#"))
    text = " ".join(plain.strip().partition("\n\n")[0].split()).removeprefix("**Formula.** ")
    return (
        ROLE.sub(r"`\1`", re.split(r"(?<=[\w)]\.) ", text, maxsplit=1)[0])
        .replace("``", "`")
        .replace("|", "\\|")
    )


class Module:
    """What the source of a module says.

    Attributes:
        name: without its package.
        doc: its docstring.
        classes: the docstring of each public class, by name.
        bases: the names of the classes that each derives from.
        functions: the docstring of each public function.
    """

    def __init__(self, file: Path):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        self.name, self.doc = file.stem, ast.get_docstring(tree) or ""
        public = [n for n in tree.body if not getattr(n, "name", "_").startswith("_")]
        classes = [n for n in public if isinstance(n, ast.ClassDef)]
        self.classes = {n.name: ast.get_docstring(n) or "" for n in classes}
        self.bases = {n.name: [ast.unparse(base) for base in n.bases] for n in classes}
        self.functions = {
            n.name: ast.get_docstring(n) or "" for n in public if isinstance(n, ast.FunctionDef)
        }

    @property
    def title(self) -> str:
        """The heading with which its docstring begins; else its name."""
        name = self.name.replace("_", " ")
        return self.doc.partition("\n")[0][2:] if self.doc.startswith("# ") else name[:1].upper() + name[1:]


def modules(folder: Path) -> list[Module]:
    """The modules of a package in the order of their names."""
    return [Module(file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
