"""Entropy and Kullback–Leibler divergence between distributions over classes."""

import numpy as np
import pytest
from scipy.stats import entropy

from metrics import entropy_drop, kl_divergence

RNG = np.random.default_rng(0)
CLEAN, EDITED = RNG.dirichlet(np.ones(4), (3, 5)), RNG.dirichlet(np.ones(4), (3, 5))


def test_against_scipy():
    assert entropy_drop(CLEAN, EDITED) == pytest.approx(
        entropy(CLEAN, axis=-1) - entropy(EDITED, axis=-1), abs=1e-12
    )
    assert kl_divergence(CLEAN, EDITED) == pytest.approx(entropy(EDITED, CLEAN, axis=-1), abs=1e-12)


def test_by_hand():
    assert kl_divergence([0.5, 0.5], [1, 0]) == pytest.approx(np.log(2))
    assert entropy_drop([0.5, 0.5], [1, 0]) == pytest.approx(np.log(2))
    assert np.isposinf(kl_divergence([1, 0], [0.5, 0.5]))
    assert kl_divergence(CLEAN, CLEAN) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("function", [entropy_drop, kl_divergence])
def test_numbers_are_scaled_to_a_distribution(function):
    assert function(3 * CLEAN, 0.1 * EDITED) == pytest.approx(function(CLEAN, EDITED))


@pytest.mark.parametrize("function", [entropy_drop, kl_divergence])
@pytest.mark.parametrize("bad", [[-0.1, 1.1], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_what_is_no_distribution_is_refused(function, bad):
    for arguments in ([bad, [0.5, 0.5]], [[0.5, 0.5], bad]):
        with pytest.raises(ValueError, match="0 or more"):
            function(*arguments)


@pytest.mark.parametrize("function", [entropy_drop, kl_divergence])
def test_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"\(…, classes\)"):
        function([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match=r"\(…, classes\)"):
        function(1.0, 1.0)
