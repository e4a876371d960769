"""The command tebench: what it hands over to, what it says of itself, and what shells complete."""

import os
import subprocess
import sys
from importlib.util import find_spec
from unittest.mock import patch

import pytest

from bench import command
from bench.catalogue import Catalogue
from bench.completion import SCRIPTS, completed
from bench.completion import main as completion
from bench.errors import BenchError
from bench.listing import KINDS, listed
from bench.listing import main as listing

COMPETING = [f"experiment=compete_{name}" for name in ("dear", "dear_texts", "dearest", "dearest_texts")]


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch):
    """The command changes where its process, and those it starts, take modules from: not for the tests after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    with patch.dict(os.environ):
        yield


@pytest.mark.parametrize("name", sorted(command.COMMANDS))
def test_a_command_is_a_program_and_says_what_it_does(name, capsys):
    module = command.COMMANDS[name].module
    source = find_spec(module).origin
    with open(source, encoding="utf-8") as file:
        assert f"def {command.COMMANDS[name].function}(" in file.read()
    assert len(command.documentation(name)) > 20
    assert "python -m bench." not in command.documentation(name)


def test_a_command_of_a_module_that_is_not_there(monkeypatch):
    monkeypatch.setitem(command.COMMANDS, "later", command.Command("bench.later.__main__", "something"))
    with pytest.raises(BenchError, match=r"tebench later: this installation has no bench\.later"):
        command.run("later", [])


def test_no_command_is_imported_for_its_help(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib, "import_module", lambda name: pytest.fail(name))
    assert command.run("tables", ["--help"]) is None
    assert "tebench tables suite=embedded" in capsys.readouterr().out
    command.run("--help", [])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in command.COMMANDS)


def test_arguments_and_exit_codes_are_passed_on(monkeypatch, capsys):
    seen = {}
    module = type(sys)("fake")
    module.main = lambda arguments: seen.update(arguments=arguments) or 3
    monkeypatch.setattr(command.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(sys, "argv", ["tebench", "status", "suite=paper", "--json"])
    with pytest.raises(SystemExit, match="3"):
        command.main()
    assert seen["arguments"] == ["suite=paper", "--json"]


def test_a_command_that_there_is_not(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tebench", "tabels"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "tebench tabels: did you mean tables?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_listed(kind):
    names = [one["name"] for one in listed(kind, Catalogue())]
    assert set(Catalogue().names(KINDS[kind])) <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", ["methods", "metrics", "tasks", "suites", "experiments", "protocols"])
def test_every_choice_says_what_it_is(kind):
    for one in listed(kind, Catalogue()):
        assert one["about"], f"{kind}: {one['name']} begins with no comment"
        assert "python -m" not in one["about"]


def test_a_choice_of_ones_own_is_listed_with_what_it_says(tmp_path, capsys):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text(
        "# Better than e.g. rollout. More of it.\n_target_: a.B\ntitle: my own\n"
    )
    listing(["methods", "--config-dir", str(tmp_path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "| mine " in line]
    assert "my own" in line
    assert line.rstrip(" |").endswith("Better than e.g. rollout.")
    with pytest.raises(BenchError, match="nothing: expected one of datasets, experiments, methods"):
        listing(["nothing"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tebench ta", ["tables "]),
        ("tebench run method=partial", ["method=partial_lrp"]),
        ("tebench run method=lrp,raw", ["method=lrp,raw_attention"]),
        ("tebench run model=embedded/i", ["model=embedded/image"]),
        ("tebench run explained=", ["explained=predicted", "explained=target"]),
        ("tebench run task=segmentation +metric=mi", ["+metric=miou"]),
        ("tebench tables batch", ["batch_size="]),
        ("tebench plan ra", ["rate="]),
        ("tebench plan experiment=compete_dear", COMPETING),
        ("tebench list sui", ["suites"]),
        ("tebench explain ", []),
    ],
)
def test_words_are_completed(line, expected):
    assert completed(line) == expected


def test_own_choices_are_completed(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("task: {}\n")
    assert completed(f"tebench run --config-dir {tmp_path} task=mi") == ["task=mine"]


def test_bash_completes_behind_an_equals_sign(tmp_path):
    """Bash takes the sign for the end of a word; what is completed must be the rest alone."""
    (tmp_path / "tebench").write_text("#!/bin/sh\necho 'method=rollout'\necho 'method=rollout_all_blocks'\n")
    (tmp_path / "tebench").chmod(0o755)
    script = f"""
        PATH={tmp_path}:$PATH
        {SCRIPTS["bash"]}
        COMP_LINE='tebench run method=ro'; COMP_POINT=${{#COMP_LINE}}
        _tebench; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rollout", "rollout_all_blocks"]


def test_a_shell_that_is_not_known():
    with pytest.raises(BenchError, match="completion tcsh: expected bash or zsh"):
        completion(["tcsh"])


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(launcher, monkeypatch):
    import bench.__main__ as program

    monkeypatch.setitem(program.PLUGINS, launcher, "no_such_namespace.plugin")
    monkeypatch.setattr(sys, "argv", ["tebench run", "-m", f"hydra/launcher={launcher}"])
    with pytest.raises(BenchError, match=rf"hydra/launcher={launcher}: what it needs .*bench\[cluster\]"):
        program.run_sweep()


def test_wandb_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    from bench.runner import tracking

    settings = {"mode": "offline", "project": "p", "entity": None, "group": None}
    tracking.check(settings)
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    tracking.check(settings | {"mode": "disabled"})
    with pytest.raises(BenchError, match=r"wandb is not installed; pip install .*bench\[wandb\]"):
        tracking.check(settings)
