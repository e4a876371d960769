"""What goes with a version: the same number everywhere, a log of changes, a workflow that runs README's commands."""

import re
import tomllib

import pytest
import yaml

from bench.catalogue import CONF, PROJECT

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == VERSION
    assert {"message", "title", "authors", "license", "date-released"} <= citation.keys()


def test_the_newest_changes_are_of_this_version():
    versions = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == VERSION


@pytest.mark.parametrize("file", sorted((CONF / "protocol").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_version_of_a_protocol_is_in_its_log(file):
    protocol = yaml.safe_load(file.read_text())
    noted = re.findall(r"^## (.+)$", (CONF / "protocol" / "CHANGES.md").read_text(), re.MULTILINE)
    for version in range(1, protocol["version"] + 1):
        assert f"{protocol['name']} v{version}" in noted


def test_the_public_workflow_runs_the_two_commands():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text())
    runs = {name: [step.get("run", "") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    readme = (PROJECT / "README.md").read_text().partition("## Two commands")[2].partition("```\n")[2]
    commands = re.findall(r"^make \w+", readme.partition("```")[0], re.MULTILINE)
    assert commands == ["make tables", "make test"]
    every = [line for lines in runs.values() for line in lines]
    assert all(command in every for command in commands)
    assert workflow["jobs"]["unpinned"]["continue-on-error"] is True
    assert "make test CONSTRAINTS=" in runs["unpinned"]
