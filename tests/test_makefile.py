"""What the targets of the Makefile run."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


def commands(*arguments: str) -> list[str]:
    """The commands of ours that make would run."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # without the variables of a make that runs the tests
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if " -m bench" in line or " -m tests." in line]


EXPERIMENTS = sorted(file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml"))
OF_THE_PAPER = ["ablation_perturbation", "ablation_segmentation", "figure4", "table1", "table2"]
FURTHER_TARGETS = {"faithfulness_texts": "faithfulness"}  # of experiments whose target has another name
COMPETING = [name for name in EXPERIMENTS if name.startswith("compete_")]
FURTHER = [name for name in EXPERIMENTS if name not in (*OF_THE_PAPER, *COMPETING)]
CLUSTER = ["LAUNCHER=slurm", "LAUNCHER_ARGS=hydra.launcher.partition=gpu", "SHARDS=8"]


def test_launchers_and_shards_are_for_cells_and_not_for_tables():
    ran = commands("tables", "SUITE=small_real", *CLUSTER)
    assert [command.split()[2] for command in ran].count("bench") == len(OF_THE_PAPER)
    for command in ran:
        computes = "-m bench -m" in command
        assert computes == ("hydra/launcher=slurm hydra.launcher.partition=gpu" in command)
        assert computes == ("shards=8 'shard=range(0,8)'" in command)
        assert "suite=small_real" in command


def test_every_further_experiment_has_a_target_that_tables_it():
    targets = dict.fromkeys(FURTHER_TARGETS.get(name, name) for name in FURTHER)
    ran = [command for target in targets for command in commands(target, "SUITE=small_real")]
    for experiment in FURTHER:
        assert sum(f"experiment={experiment} " in command for command in ran) == 1
        assert sum(f"table={experiment} " in command for command in ran) == 1


def test_all_methods_compete_in_tasks_that_may_be_chosen():
    images, texts = commands("compete", "TASKS=perturbation,sanity"), commands("compete-texts")
    for experiment in COMPETING:
        ran = texts if experiment.endswith("_texts") else images
        assert sum(" -m bench -m " in c and f"experiment={experiment} " in c for c in ran) == 1
    tables = [c for c in images if "bench.tables" in c]
    assert (
        sum("table=sanity " in c for c in tables) == 3
    )  # of the cheap ones; with the dear; with the dearest
    assert sum("experiment=compete_dearest " in c for c in tables) == 2
    assert all("task=perturbation,sanity" in c for c in images if c not in tables)


def test_one_shard_is_a_whole_cell():
    ran = commands("table1", "SUITE=small_real")
    assert "hydra/launcher=basic" in ran[0]
    assert not any("shard" in command for command in ran)


def test_a_sweep_is_of_all_experiments_or_of_some_and_makes_no_tables():
    ran = commands("sweep", *CLUSTER, "ARGS='model.options={a: b}' limit=3")
    computed = [command for command in ran if "experiment=" in command]
    assert sorted(command.partition("experiment=")[2].split()[0] for command in computed) == OF_THE_PAPER
    assert all("'model.options={a: b}' limit=3" in command for command in computed)
    assert not any("bench.tables" in command for command in ran)
    assert len(commands("sweep", "EXPERIMENTS=table1 figure4")) == 2


@pytest.mark.parametrize(
    ("target", "program"),
    [
        ("models", "tests.families"),
        ("speed", "tests.speed"),
        ("gpu", "tests.speed.gpu"),
        ("precision", "tests.speed.precision"),
        ("profile", "tests.speed.profile"),
    ],
)
def test_what_is_no_part_of_the_benchmark_runs_from_the_tests(target, program):
    (ran,) = commands(target)
    assert ran.split()[1:3] == ["-m", program]
    assert importlib.util.find_spec(program) is not None


def test_fine_tuning_is_of_the_movies_or_of_a_choice():
    (movies,) = commands("finetune-movies", "ARGS=start=/models/bert")
    (chosen,) = commands("finetune", "dataset=fever", "ARGS=start=/models/bert")
    assert movies.split()[1:] == ["-m", "bench.finetune", "dataset=movies", "start=/models/bert"]
    assert chosen.split()[1:] == ["-m", "bench.finetune", "dataset=fever", "start=/models/bert"]


def test_the_tables_of_eraser_are_made_of_a_data_root():
    (ran,) = commands("eraser", "DATA=/data", "GOLDEN=/golden", "ARGS=out=results/eraser")
    assert ran.split()[1:] == ["-m", "bench.eraser", "data=/data", "golden=/golden", "out=results/eraser"]
