"""Signals that ask a run to end: it saves what it has first."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A time limit or a preemption on a cluster, a closed terminal. Ctrl-C raises KeyboardInterrupt already.
NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals that would kill the process raise SystemExit instead.

    Those that something else handles already, such as submitit, are left to that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [s for s in SIGNALS if signal.getsignal(s) is signal.SIG_DFL]
    for s in ours:
        signal.signal(s, _end)
    try:
        yield
    finally:
        for s in ours:
            signal.signal(s, signal.SIG_DFL)


def heed_parent_alone(_worker: int) -> None:
    """In a process that reads samples: let these signals end it only if they come from the run.

    Who ends a job may signal all its processes, and the run saves its rows before it ends those that read.
    """
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo(SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)


def _end(number: int, _) -> None:
    for s in SIGNALS:
        if signal.getsignal(s) is _end:
            signal.signal(s, signal.SIG_IGN)  # one that comes again must not end the saving
    raise SystemExit(128 + number)
