"""What is committed of the board is right, as far as its files tell."""

from bench.board.check import check
from bench.catalogue import PROJECT


def test_the_committed_board():
    faults = [str(fault) for one in check(PROJECT / "results" / "board", data=False) for fault in one.faults]
    assert faults == []
