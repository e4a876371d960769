"""How equal rows are that were computed in batches of other shapes, or on another processor."""

import numpy as np
import pandas as pd

PIXELS = ("correct", "intersection", "union")


def assert_same_but_for_rounding(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Compare rows of the same samples: exactly, but for what near ties decide.

    A pixel that lies at the threshold of its map may fall to either side, so counts of pixels may differ by
    one; two pixels may change places, which moves an average precision by less than 1e-5.
    """
    assert list(ours.columns) == list(theirs.columns)
    for column in ours:
        if column in PIXELS:
            difference = np.stack(ours[column]) - np.stack(theirs[column])
            assert np.abs(difference).max() <= 1, column
        elif pd.api.types.is_float_dtype(ours[column]):
            np.testing.assert_allclose(ours[column], theirs[column], rtol=0, atol=1e-5, err_msg=column)
        else:
            assert ours[column].map(str).tolist() == theirs[column].map(str).tolist(), column
