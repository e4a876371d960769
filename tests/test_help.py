"""What the programs say of themselves, quickly; how they end; and what they make of a slip of the pen."""

import subprocess
import sys

import pytest

from bench import __main__ as program
from bench.config import checked, configuration
from bench.errors import BenchError
from tests.support.refusals import refused

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "datasets",
    "pandas",
    "scipy",
    "matplotlib",
    "sklearn",
)
PROGRAMS = {
    "bench": "method=rollout",
    "bench explain": "--all-methods",
    "bench.tables": "--partial",
    "bench.figures": "--output",
    "bench.report": "samples",
    "bench.status": "--json",
    "bench.plan": "--measure",
    "bench.finetune": "learning_rate",
    "bench.embedded.train": "--only",
    "bench.quick": "limit=8",
    "bench.compare": "--json",
    "bench.check": "--config-dir",
    "bench.listing": "experiments",
    "bench.verify": "golden=FOLDER",
    "bench.agreement": "Spearman",
    "bench.completion": "zsh",
    "bench.board": "--check",
    "bench.eraser": "golden=",
}
CODE = """
import runpy, sys
module, *arguments = sys.argv[1].split()
sys.argv = [module, *arguments, "--help"]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as e:
    assert not e.code, e.code
print("imported:", *(name for name in sys.argv_heavy if name in sys.modules))
""".replace("sys.argv_heavy", repr(HEAVY))


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_imports_nothing_that_computes(name):
    done = subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, _, imported = done.stdout.partition("imported:")
    assert imported.split() == []
    assert PROGRAMS[name] in text
    assert "hydra." not in text.lower().replace("hydra/launcher", "")
    assert "Powered by" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_help_lists_the_choices_and_the_settings_with_what_they_mean(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "--help"])
    monkeypatch.setenv("COLUMNS", "80")
    program.command_line()
    shown = capsys.readouterr().out
    for word in ("partial_lrp", "small_real/image", "table1", "clean", "miou"):
        assert word in shown
    assert "save_every     [30] seconds between saves" in shown
    assert "paths.data     [$BENCH_DATA, else data/] real data" in shown


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=rolout", r"method=rolout: there is no such method; did you mean rollout"),
        ("task=segmentaton", "there is no such task; did you mean segmentation"),
        ("suite=smal_real", "there is no such suite; did you mean small_real"),
        ("protocol=papr", "there is no such protocol; did you mean paper"),
        ("model=tim", "there is no such model; did you mean timm"),
        ("experiment=tabel1", "there is no such experiment; did you mean table1"),
        ("suite=mine", "there is no such suite; expected one of embedded, paper, real, small_real"),
        ("limt=3", "limt: there is no such setting; did you mean limit"),
        (
            "method.start_layr=1",
            r"method.start_layr: .* did you mean method.start_layer\? \+method.start_layr=…",
        ),
        ("protocol.images.siz=32", "did you mean protocol.images.size"),
    ],
)
def test_what_was_meant_is_asked(override, message):
    with refused(message):
        configuration([override])
    with refused(message):
        checked([override])


def test_a_sweep_is_looked_at_before_it_begins():
    with refused("method=lpr: there is no such method; did you mean lrp"):
        checked(["-m", "method=rollout,lpr"])
    with refused("did you mean method.start_layer"):
        checked(["-m", "method=rollout,lrp", "method.start_layr=0,1", "shards=4", "shard=range(4)"])
    fine = ["-m", "method=rollout,lrp", "method.start_layer=0,1", "shards=4", "shard=range(4)", "+x.y=1"]
    assert checked(fine) == fine


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cfg", "job", "method=rollout"],
        ["-m", "method=rollout", "protocol.token_f1.k=[5],[10]", "task=token_f1"],
        ["-m", "method=choice(rollout,lrp)", "seed=range(3)"],
        ["~method.seed", "method=random"],
        ["hydra.searchpath=[file:///mine]", "method=mine"],
    ],
)
def test_what_hydra_takes_passes(arguments):
    assert checked(arguments) == arguments


def test_what_has_no_value_is_named_not_what_refers_to_it():
    with pytest.raises(
        BenchError, match=r"^model.architecture has no value: set it with model.architecture="
    ):
        configuration(["model=timm"])


@pytest.mark.parametrize("arguments", [["method=rollout"], ["-m", "method=rollout,lrp"]])
def test_ctrl_c_ends_a_run_without_a_traceback(monkeypatch, capsys, tmp_path, arguments):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.runner.cell.run", interrupted)
    # In a folder of its own: what is finished is not run again.
    monkeypatch.setattr(sys, "argv", ["bench", *arguments, f"paths.results={tmp_path}"])
    monkeypatch.delenv("BENCH_SWEEP", raising=False)
    with pytest.raises(SystemExit) as raised:
        program.command_line()
    assert raised.value.code == 130
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "interrupted"
    assert all(line.startswith("looking at what fits") for line in said[:-1])  # where the machine is slow


def test_ctrl_c_ends_the_other_programs_so_too(monkeypatch, capsys):
    from bench.cli import command_line

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["bench.tables"])
    with pytest.raises(SystemExit) as raised:
        command_line(interrupted)
    assert raised.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollout"], "rollout: expected NAME=VALUE, as method=rollout"),
        (["method="], "method= has no value: tebench list methods"),
        (["method=[rollout"], r"method=\[rollout: cannot be read"),
        (["method=rollout,lrp"], "several values need -m, as in tebench run -m method=rollout,lrp"),
        (["method=rollout", "--multirn"], "--multirn: did you mean --multirun"),
        (["method=rollout", "dataset.title=a, b"], "one value with a comma in it needs quotes"),
    ],
)
def test_what_is_written_wrongly_is_said_in_our_words(arguments, said, capsys):
    with pytest.raises(BenchError, match=said) as refusal:
        checked(arguments)
    assert "hydra" not in str(refusal.value).lower()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "method=rollout,lrp", "shard=range(0,2)", "shards=2"],
        ["method=rollout", "dataset.title='a, b'"],
        ["method=rollout", "--cfg", "job"],
        ["method=rollout", "~dataset.title"],
    ],
)
def test_what_hydra_takes_is_let_through(arguments):
    assert checked(arguments) == arguments


@pytest.mark.parametrize("tables", [True, False])
def test_a_misspelt_table_or_figure_is_guessed(tables):
    from bench.figures.program import main as figures
    from bench.tables.program import main as tabled

    with pytest.raises(BenchError, match=r"segmentaton: did you mean segmentation\?"):
        tabled(["table=segmentaton"]) if tables else figures(["figure=segmentaton"])
