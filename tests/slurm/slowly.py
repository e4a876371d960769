"""Methods that take their time, so that something can happen to a job in the middle of its samples."""

import os
import time

import methods

PAUSE = "BENCH_TEST_PAUSE"  # seconds before every batch
DONE = "a batch was explained"  # printed after each, so that the test can follow a job


class _Slowly:
    def __call__(self, forward, inputs, target=None):
        time.sleep(float(os.environ.get(PAUSE, 0)))
        print(DONE, flush=True)
        return super().__call__(forward, inputs, target)


class Rollout(_Slowly, methods.Rollout):
    """Attention rollout."""


class TransformerAttribution(_Slowly, methods.TransformerAttribution):
    """Transformer attribution."""
