"""Curves with 95 % intervals, for papers and pages."""
