"""A Slurm of several nodes on this machine, with all its files in one folder."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

CONFIGURATION = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# Jobs that are queued again wait for their old credentials to expire.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
MinJobAge=86400
KillWait=5
"""


class ClusterError(Exception):
    """What keeps a cluster from being brought up or used, in a line for the user."""


def install() -> None:
    """Install Slurm and munge from the distribution, if they are missing.

    Raises:
        ClusterError: if that cannot be done here.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "this test installs and starts Slurm, so it must run as root (a container will do)"
        )
    if all(shutil.which(program) for program in ("slurmctld", "slurmd", "munged")):
        return
    if not shutil.which("apt-get"):
        raise ClusterError(
            "slurmctld, slurmd and munged are missing, and there is no apt-get to install them"
        )
    apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    packages = ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]
    for arguments in (["update"], packages):
        done = _run([*apt, *arguments], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode:
            raise ClusterError(f"apt-get {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


class Cluster:
    """Nodes of one CPU each. As a context it is up within, and nothing of it is left running after.

    Args:
        folder: for everything that the daemons write.
        nodes: their names.
    """

    def __init__(self, folder: Path, nodes: tuple[str, ...] = ("n1", "n2")):
        self.folder, self.nodes = folder, nodes
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        try:
            self._configure()
            self._start("munged", "--foreground", *self._munge_files())
            wait_until((self.folder / "munge.socket").exists, "munged to start", 60)
            self._start("slurmctld", "-D")
            wait_until(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld to start", 60)
            for node in self.nodes:
                self.start_node(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if "slurmctld" in self._daemons:
            self.ask("scancel", "--user=root")
            wait_until(lambda: not self.ask("squeue", "--noheader"), "jobs to end", fail=False)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for node in self.nodes:
            self._kill_processes_of(node)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        return _run(command, env=self.environment).stdout.strip()

    def start_node(self, node: str) -> None:
        """Start a node, or start it again, and wait until it takes jobs."""
        # Slurm gives jobs this variable; with it in the daemon's, all processes of a node have it.
        self._start("slurmd", "-D", "-N", node, name=node, SLURMD_NODENAME=node)
        wait_until(
            lambda: self.ask("sinfo", "-hN", "-n", node, "-o", "%t") in ("idle", "mix", "alloc"),
            f"node {node}",
        )

    def lose_node(self, node: str) -> None:
        """What becomes of a machine whose power fails: all its processes are gone, and it says no word."""
        self._kill_processes_of(node)
        self._daemons.pop(node).wait()
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def jobs(self) -> dict[str, dict[str, str]]:
        """All jobs since the start by their id (array_task), as ``scontrol show job`` describes them."""
        described = {}
        for line in self.ask("scontrol", "show", "job", "--oneliner").splitlines():
            job = dict(entry.partition("=")[::2] for entry in line.split() if "=" in entry)
            if "JobId" in job:
                described[
                    f"{job['ArrayJobId']}_{job['ArrayTaskId']}" if "ArrayJobId" in job else job["JobId"]
                ] = job
        return described

    def _configure(self) -> None:
        host, ports = socket.gethostname().partition(".")[0], _free_ports(1 + len(self.nodes))
        lines = [CONFIGURATION.format(folder=self.folder, host=host, port=ports[0])]
        for node, port in zip(self.nodes, ports[1:], strict=True):
            where = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            lines.append(f"NodeName={node} {where} CPUs=1 RealMemory=1000 State=UNKNOWN\n")
        lines.append(
            f"PartitionName=test Nodes={','.join(self.nodes)} Default=YES MaxTime=INFINITE State=UP\n"
        )
        self.folder.chmod(0o711)  # munged insists that others can reach its socket
        (self.folder / "slurm.conf").write_text("".join(lines))
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)

    def _munge_files(self) -> Iterator[str]:
        for option, suffix in (
            ("socket", "socket"),
            ("key-file", "key"),
            ("pid-file", "pid"),
            ("seed-file", "seed"),
        ):
            yield f"--{option}={self.folder}/munge.{suffix}"

    def _start(self, program: str, *arguments: str, name: str | None = None, **variables: str) -> None:
        log = (self.folder / f"{name or program}.log").open("ab")
        self._daemons[name or program] = subprocess.Popen(
            [shutil.which(program), *arguments],
            env=self.environment | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _kill_processes_of(self, node: str) -> None:
        mark = {f"SLURM_CONF={self.environment['SLURM_CONF']}".encode(), f"SLURMD_NODENAME={node}".encode()}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if mark <= set((process / "environ").read_bytes().split(b"\0")):
                    found.append(
                        (not (process / "cmdline").read_bytes().startswith(b"slurm"), int(process.name))
                    )
        for _, pid in sorted(found):  # Slurm's own first: they would report that the others are gone
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300, fail: bool = True) -> None:
    """Wait for a condition.

    Raises:
        ClusterError: if it does not come true, unless ``fail`` is False.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            if fail:
                raise ClusterError(f"waited {seconds:.0f} seconds in vain for {what}")
            return
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _run(command, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
