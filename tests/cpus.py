"""Run the numerical tests as on other processors: ``python -m tests.cpus``.

The libraries choose their code by what the processor can do, and add up in another order for each. So the
tests marked ``numerical`` are run once for every kind of code that this machine can execute and number of
threads, in a process of their own, and one line tells how each went. Whatever else is given goes to pytest.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CPUINFO = Path("/proc/cpuinfo")
THREADS = (1, 2)


@dataclass(frozen=True)
class Kind:
    """Code of the libraries for one kind of processor.

    Attributes:
        needs: the flags of /proc/cpuinfo without which its instructions cannot be executed.
        aten: ``ATEN_CPU_CAPABILITY``, what torch's own loops use.
        mkl: ``MKL_CBWR``, what torch's products use where torch is built with MKL.
        openblas: ``OPENBLAS_CORETYPE``, whose products NumPy and SciPy use.
    """

    needs: frozenset[str]
    aten: str
    mkl: str
    openblas: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ATEN_CPU_CAPABILITY": self.aten,
            "MKL_CBWR": self.mkl,
            "OPENBLAS_CORETYPE": self.openblas,
        }


AVX2 = frozenset({"avx2", "fma"})
AVX512 = AVX2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}
KINDS = {
    "prescott": Kind(frozenset(), "default", "COMPATIBLE", "Prescott"),
    "nehalem": Kind(frozenset({"sse4_2"}), "default", "COMPATIBLE", "Nehalem"),
    "haswell": Kind(AVX2, "avx2", "AVX2", "Haswell"),
    "zen": Kind(AVX2, "avx2", "AUTO", "Zen"),
    "skylakex": Kind(AVX512, "avx512", "AVX512", "SkylakeX"),
}


def flags() -> set[str]:
    """What the processor can do, in the words of /proc/cpuinfo; empty where there is no such file."""
    found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text() if CPUINFO.exists() else "", re.MULTILINE)
    return set(found[1].split()) if found else set()


def run(kind: Kind, threads: int, arguments: list[str]) -> tuple[bool, str]:
    """Run the numerical tests as one kind of processor does: whether they pass, and how it went in a line.

    What failed is printed in full.
    """
    environment = os.environ | kind.environment | {"OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "numerical and not slow", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    passed = done.returncode == 0
    if not passed:
        print(done.stdout + done.stderr, flush=True)
    last = (done.stdout.strip() or f"pytest ended with {done.returncode}").splitlines()[-1]
    counts = re.sub(r" in [\d.]+s.*", "", last.strip("= "))
    return passed, f"{counts}, {time.perf_counter() - began:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this one; may be repeated")
    parser.add_argument("--threads", action="append", type=int, help=f"instead of {THREADS}; may be repeated")
    given, arguments = parser.parse_known_args()
    if platform.machine() not in ("x86_64", "AMD64"):
        print(f"error: the kinds of code are those of x86-64, and this is {platform.machine()}")
        return 2
    here, all_passed = flags(), True
    for name in given.kind or KINDS:
        kind = KINDS[name]
        settings = " ".join(f"{key}={value}" for key, value in kind.environment.items())
        if missing := kind.needs - here:
            print(f"{name}: left out, as this processor lacks {', '.join(sorted(missing))}", flush=True)
            continue
        for threads in given.threads or THREADS:
            passed, how = run(kind, threads, arguments)
            print(f"{name}, {threads} thread(s) ({settings}): {how}", flush=True)
            all_passed &= passed
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
