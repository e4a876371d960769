"""Pinned versions: the file that make constraints writes, and what a table says of other ones."""

import re

import pytest
from packaging.requirements import Requirement

from bench.catalogue import PROJECT
from bench.tables.pinned import FILE, NUMERICAL, other_versions, pinned
from bench.tables.table import table
from tests.constraints import pinned as kept
from tests.support.stored_rows import segmentation

LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]


def test_the_file_names_versions_alone():
    assert kept(LINES) == LINES
    text = FILE.read_text()
    assert "://" not in text
    assert "+cpu" not in text
    assert not re.search(r"^(nvidia|cuda|triton)", text, re.MULTILINE)


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
def test_every_version_of_python_has_one_version_of_each_package(python):
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(r) for r in [*project["dependencies"], *extras["dev"], *extras["cluster"]]]
    versions = pinned(python)
    for one in wanted:
        if one.name != project["name"]:
            assert versions[one.name.lower()] in one.specifier, one
    assert set(NUMERICAL) <= versions.keys()


def test_a_resolution_is_cut_to_what_is_pinned():
    lines = [
        "# made by",
        "torch==2.13.0+cpu",
        "nvidia-nccl-cu13==2.29.7 ; x",
        "triton==3",
        "a==1 ; python_version < '3.12'",
    ]
    assert kept(lines) == ["torch==2.13.0", "a==1 ; python_version < '3.12'"]
    for bad in ("--index-url host", "a @ file:///a.whl", "a>=1"):
        with pytest.raises(ValueError, match="expected name==version"):
            kept([bad])


def test_other_versions_are_named_and_builds_are_not():
    own = {"python": "3.12.1", **{package: pinned("3.12.1")[package] for package in NUMERICAL}}
    assert other_versions([own, own | {"torch": own["torch"] + "+cu130"}, {}]) is None
    said = other_versions(
        [own, own | {"torch": "2.6.0+cpu", "numpy": pinned("3.11.0")["numpy"], "pandas": "0.1"}]
    )
    assert f"torch 2.6.0+cpu instead of {own['torch']}" in said
    assert "numpy" in said  # another Python has another pin
    assert "pandas" not in said


def test_a_table_says_so(keep):
    versions = {"python": "3.11.7", "torch": "2.6.0", "numpy": pinned("3.11.7")["numpy"]}
    config = keep("rollout", segmentation(), record={"versions": versions})
    text = table(config).markdown()
    assert (
        "Computed with other versions than the pinned ones (bench/constraints.txt): torch 2.6.0 instead of"
        in text
    )
