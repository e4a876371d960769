"""Sweeps on a real Slurm, brought up on this machine: ``python -m tests.slurm`` (needs root)."""
