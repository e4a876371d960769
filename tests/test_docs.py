"""The site: its notebook runs, its pages are of what there is, and its links lead somewhere."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from bench.catalogue import PROJECT, Catalogue

NOTEBOOKS = sorted((PROJECT / "docs" / "notebooks").glob("*.ipynb"))
PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), *sorted(PROJECT.glob("*.md"))]
BUILDS_SITE = importlib.util.find_spec("material") is not None


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file, monkeypatch):
    """Every cell in its order; the last one's numbers are sensible."""
    import matplotlib

    matplotlib.use("agg")
    names: dict = {}
    for cell in json.loads(file.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(file), "exec"), names)
    shares = names["object_share"]
    assert set(shares) == {"rollout", "gradcam", "transformer_attribution"}
    assert all(0 <= share <= 1 for share in shares.values())
    assert names["explanation"]._repr_html_().startswith("<")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", page.read_text()):
        assert (page.parent / target).exists() or is_made(page, target), target


def is_made(page, target: str) -> bool:
    """Whether a link of a page in docs leads to one that is made from docstrings."""
    return bool(re.search(r"(^|/)(methods|metrics)/\w+\.md$", target)) and page.is_relative_to(
        PROJECT / "docs"
    )


def test_pictures_are_of_methods_and_small():
    pictures = sorted((PROJECT / "docs" / "pictures").rglob("*.*"))
    assert {file.stem for file in pictures} <= {*Catalogue().names("method"), "explanation"}
    assert all(file.stat().st_size < 200_000 for file in pictures)
    assert sum(file.stat().st_size for file in pictures) < 1_000_000


def test_every_method_has_a_page_with_formula_and_reference():
    """Its module's docstring, or that of its class."""
    from bench.config import target_of

    facts = Catalogue()
    for name in facts.names("method"):
        target = facts.read("method", name).get("_target_", "")
        if target.startswith("methods."):
            cls = target_of("method", {"_target_": target})
            text = (sys.modules[cls.__module__].__doc__ or "") + (cls.__doc__ or "")
            assert len(text) > 200, f"{name}: the page would be empty"
            if facts.method(name).competes:
                assert re.search(r"\b(19|20)\d\d\b", text), f"{name}: no reference"
                assert re.search(r"\*\*Formula\.\*\*|[=Σ∇⊙⁺]|E_h", text), f"{name}: no formula"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not BUILDS_SITE:
        pytest.skip("mkdocs-material is not installed; make setup installs it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_a_page_for_every_method_and_metric(site):
    listed = (site / "methods" / "index.html").read_text()
    facts = Catalogue()
    for name in facts.names("method"):
        if facts.read("method", name).get("_target_", "").startswith("methods."):
            assert f"<code>{name}</code>" in listed, name
    metrics = (site / "metrics" / "index.html").read_text()
    for name in facts.names("metric"):
        assert f"<code>{name}</code>" in metrics, name
    assert (site / "notebooks" / "one_image.html").exists()
    assert "http" not in "".join(re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"(http[^\"]+)", listed))
