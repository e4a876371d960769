"""One HTML file to look at a suite: tables, curves, costs, maps of single samples, and every cell.

``python -m bench.report suite=embedded`` makes it; nothing in it comes from a network.
"""
