"""Signals that ask a run to end: it saves what it has first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A time limit or a preemption on a cluster, a closed terminal. Ctrl-C raises KeyboardInterrupt already.
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals that would kill the process raise SystemExit instead.

    Those that something else handles already, such as submitit, are left to that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    ours = [s for s in ours if signal.getsignal(s) is signal.SIG_DFL]
    for s in ours:
        signal.signal(s, _end)
    try:
        yield
    finally:
        for s in ours:
            signal.signal(s, signal.SIG_DFL)


def _end(number: int, _) -> None:
    raise SystemExit(128 + number)
