"""A command line that ends with a message, run in this process: most of the time of another would be imports."""

import sys

import pytest

from bench import __main__ as program


def ended(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """With which exit code ``python -m bench`` ends, and what it says on standard error, without a traceback."""
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("BENCH_SWEEP", raising=False)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        program.command_line()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return end.value.code, err
