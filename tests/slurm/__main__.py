"""Compute cells in shards on a Slurm that loses a node and preempts a job, and compare the tables.

They must be those of one process on this machine, byte for byte: of one task in shards that are disturbed, and of a
board of two models, four methods and three tasks. Nothing in it depends on how fast the machine is: it can be run while
all cores are busy.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import Cluster, ClusterError, install, wait_until
from tests.slurm.slowly import DONE, PAUSE

ROOT = Path(__file__).parents[2]
CELLS = ["task=segmentation", "suite=embedded", "limit=24", "batch_size=1", "num_workers=1"]
METHODS = "method._target_=tests.slurm.slowly.Rollout,tests.slurm.slowly.TransformerAttribution"
SHARDS = 3
# A board; its methods are explained once for two of the tasks, which share their images.
TASKS = ("segmentation", "perturbation", "faithfulness")
MODELS = ("embedded/image", "small_vit")
OF_BOARD = ["--config-dir", str(Path(__file__).parent / "conf"), "suite=embedded", "limit=4", "batch_size=2"]
METHODS_OF_BOARD = f"{METHODS},tests.slurm.slowly.RawAttention,tests.slurm.slowly.GradCAM"
BATCHES = 8  # of a shard: 24 samples, one at a time
LAUNCHER = [
    "hydra/launcher=slurm",
    "hydra.launcher.partition=test",
    "hydra.launcher.gpus_per_node=null",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=null",
    "hydra.launcher.timeout_min=30",
]
SECONDS_PER_SAMPLE = 1


def check(what: str, holds: bool) -> None:
    """Say what holds.

    Raises:
        ClusterError: if it does not.
    """
    if not holds:
        raise ClusterError(f"not so: {what}")
    print(f"ok: {what}", flush=True)


class Sweep:
    """``python -m bench -m`` in a folder of its own, on a cluster; as a context it ends there.

    Args:
        results: where those of another sweep are; None for a folder of its own.
    """

    def __init__(self, cluster: Cluster, folder: Path, *overrides: str, results: Path | None = None):
        self.folder = folder
        folder.mkdir()
        self._output = folder / "output.txt"
        results = results or folder / "results"
        arguments = [sys.executable, "-m", "bench", "-m", *overrides, f"paths.results={results}"]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    def batches(self, job: str) -> int:
        """How many batches a job has explained, before and after it was queued again."""
        printed = self.folder / "outputs" / "slurm" / f"{job}_0_log.out"
        return printed.read_text().count(DONE) if printed.exists() else 0

    def tables(self, *chosen: str) -> dict[str, bytes]:
        """The files of all tables made from its results, with those of what is chosen."""
        make = [sys.executable, "-m", "bench.tables", *(chosen or ("table=segmentation", *CELLS))]
        results = self.folder / "results"
        subprocess.run([*make, f"paths.results={results}"], check=True, stdout=subprocess.DEVNULL)
        return {str(file.relative_to(results)): file.read_bytes() for file in results.glob("*/tables/**/*.*")}


def running(cluster: Cluster, sweep: Sweep, node: str) -> str:
    """A job that computes on a node for the first time, as soon as there is one."""

    def found() -> list[str]:
        check_alive(sweep)
        here = {"JobState": "RUNNING", "NodeList": node, "Restarts": "0"}
        jobs = [id for id, job in cluster.jobs().items() if here.items() <= job.items()]
        return [id for id in jobs if sweep.batches(id) >= 2]

    wait_until(found, f"a job that computes on {node}")
    return found()[0]


def check_alive(sweep: Sweep) -> None:
    """Raises ClusterError if a sweep has ended."""
    if sweep.process.poll() is not None:
        raise ClusterError("the sweep ended before its time")


def restarts(cluster: Cluster, job: str) -> int:
    """How often a job was queued again."""
    return int(cluster.jobs()[job]["Restarts"])


def states(cluster: Cluster) -> set[str]:
    """The states of all jobs."""
    return {job["JobState"] for job in cluster.jobs().values()}


def examine(folder: Path) -> None:
    """Bring the cluster up, run all checks, and take it down.

    Raises:
        ClusterError: at the first that fails.
    """
    with Cluster(folder) as cluster:
        check(f"a Slurm of {len(cluster.nodes)} nodes is up", True)
        with Sweep(cluster, folder / "whole", *CELLS, METHODS) as whole:
            check("one process computed the cells", whole.process.wait() == 0)
        cluster.environment[PAUSE] = str(SECONDS_PER_SAMPLE)
        shards = [f"shards={SHARDS}", f"shard=range(0,{SHARDS})"]
        with Sweep(cluster, folder / "sharded", *CELLS, METHODS, *shards, *LAUNCHER) as sharded:
            preempted = disturb(cluster, sharded)
            check("all jobs were waited for, and none failed", sharded.process.wait() == 0)
        wait_until(lambda: states(cluster) == {"COMPLETED"}, "Slurm to call all jobs completed", 60)
        check(f"all {len(cluster.jobs())} jobs completed", True)
        batches = sharded.batches(preempted)
        check(
            f"job {preempted} went on where it was: {batches} batches explained for {BATCHES}",
            # Those during which a signal came may be lost.
            BATCHES <= batches <= BATCHES + restarts(cluster, preempted),
        )
        expected, tables = whole.tables(), sharded.tables()
        check(f"there are {len(expected)} files of tables", len(expected) == 3)
        check("those of the cluster are the same, byte for byte", tables == expected)
        board(cluster, folder)
        told_early(cluster, folder)
        report_of_failure(cluster, folder)


def board(cluster: Cluster, folder: Path) -> None:
    """Two models, four methods, three tasks: the tables of one process, no job for what is stored or does not fit."""
    cluster.environment[PAUSE] = "0"
    choice = [*OF_BOARD, f"task={','.join(TASKS)}", f"model={','.join(MODELS)}"]
    cells = len(TASKS) * len(MODELS) * len(METHODS_OF_BOARD.split(","))
    with Sweep(cluster, folder / "board-whole", *choice, METHODS_OF_BOARD) as whole:
        check(f"one process computed the {cells} cells of a board", whole.process.wait() == 0)
    before = len(cluster.jobs())
    with Sweep(cluster, folder / "board", *choice, METHODS_OF_BOARD, *LAUNCHER) as swept:
        check("the cluster computed them", swept.process.wait() == 0)
    check(f"in {cells} jobs", len(cluster.jobs()) == before + cells)
    for task, model in itertools.product(TASKS, MODELS):
        chosen = [*OF_BOARD, f"task={task}", f"model={model}"]
        expected, tables = whole.tables(*chosen), swept.tables(*chosen)
    check(f"there are {len(expected)} files of tables", len(expected) == 3 * len(TASKS) * len(MODELS))
    check("those of the cluster are the same, byte for byte", tables == expected)
    nothing_to_do(cluster, swept, choice)


def nothing_to_do(cluster: Cluster, swept: Sweep, choice: list[str]) -> None:
    """What is stored makes no job, nor does what does not fit, which is said."""
    before, same = len(cluster.jobs()), [*choice, METHODS_OF_BOARD, *LAUNCHER]
    with Sweep(cluster, swept.folder / "again", *same, results=swept.folder / "results") as again:
        check("the same sweep again ends well", again.process.wait() == 0)
    unfitting = [*OF_BOARD, "task=perturbation", "method=oracle", *LAUNCHER]
    with Sweep(cluster, swept.folder / "unfit", *unfitting) as unfit:
        check("a sweep of what does not fit says so", unfit.process.wait() == 2)
    check("with the reason", "have no annotation" in unfit.output)
    check("neither submitted a job", len(cluster.jobs()) == before)


def told_early(cluster: Cluster, folder: Path) -> None:
    """A job that is preempted before it can listen is queued again, too."""
    before = set(cluster.jobs())
    with Sweep(cluster, folder / "early", *CELLS, "method=raw_attention", *LAUNCHER) as sweep:
        wait_until(lambda: check_alive(sweep) or set(cluster.jobs()) - before, "the job to be submitted")
        (job,) = set(cluster.jobs()) - before
        # Its first step begins when Python is started, which then takes seconds to listen.
        wait_until(
            lambda: f"{cluster.jobs()[job]['JobId']}.0" in cluster.ask("squeue", "--steps"), "its start"
        )
        cluster.ask("scancel", "--signal=USR2", job)
        wait_until(lambda: restarts(cluster, job) >= 1, f"job {job} to be queued again")
        check(f"job {job}, which was told before it could listen, was queued again", True)
        check("and was waited for", sweep.process.wait() == 0)
    check("it computed its cell", len(list(sweep.folder.glob("results/*/cells/mask_overlap/*.json"))) == 1)


def disturb(cluster: Cluster, sweep: Sweep) -> str:
    """Lose a node and preempt a job while they compute; returns the job that was preempted."""
    lost = running(cluster, sweep, "n1")
    cluster.lose_node("n1")
    wait_until(lambda: restarts(cluster, lost) == 1, f"job {lost} to be queued again")
    check(f"job {lost}, whose node was lost, was queued again", True)
    preempted = running(cluster, sweep, "n2")
    cluster.ask("scancel", "--signal=USR2", preempted)
    # Slurm may repeat the signal, which then may reach the job that was queued again.
    wait_until(lambda: restarts(cluster, preempted) >= 1, f"job {preempted} to be queued again")
    check(f"job {preempted}, which was preempted, was queued again", True)
    cluster.start_node("n1")
    return preempted


def report_of_failure(cluster: Cluster, folder: Path) -> None:
    """A cell that fails on the cluster is named where the sweep was started, and stops no other."""
    cells = [*CELLS, "method=gradcam", "explained=target,predicted"]
    with Sweep(cluster, folder / "failing", *cells, *LAUNCHER) as sweep:
        check("the exit code says that a cell failed", sweep.process.wait() == 2)
    check("its message is shown", "this data set has no annotated classes" in sweep.output)
    check("and no traceback", "Traceback" not in sweep.output)
    finished = list(sweep.folder.glob("results/*/cells/mask_overlap/*.json"))
    check("the other cell was computed", len(finished) == 1)


def main() -> int:
    """Exit code 0 if everything holds. Otherwise the files of the cluster are kept."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the cluster is taken down
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    folder = None
    try:
        install()
        folder = Path(tempfile.mkdtemp(prefix="bench-slurm-"))
        examine(folder)
    except ClusterError as e:
        print(f"error: {e}" + (f"\nLogs and outputs are in {folder}" if folder else ""), file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
