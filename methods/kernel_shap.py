"""# KernelSHAP

**Formula.** The Shapley values of the game v(S), what the model says of the explained class when only the players S are
there: φ_i = Σ_S |S|! (M − |S| − 1)! / M! (v(S ∪ i) − v(S)). They are the φ that minimise
Σ_S w(S) (v(S) − v(∅) − Σ_{i ∈ S} φ_i)² with w(S) = (M − 1) / (C(M, |S|) |S| (M − |S|)) under Σ_i φ_i = v(all) − v(∅),
and so they can be estimated from some coalitions. Class-specific and signed; the map sums to v(all) − v(∅).

**Settings.** ``sampling`` is where the coalitions come from. ``shap``: sizes that the number of ``samples``
pays for completely are enumerated, the smallest and the largest first, and the rest is drawn in pairs of a
coalition and its complement; repeated ones weigh more. ``all``: every coalition, which gives the exact
values; for at most 16 players. ``captum``: sizes are drawn with a chance of (M − 1) / (k (M − k)), all
coalitions weigh 1, and the empty and the full one 10⁶ instead of being exact. ``coalitions`` gives those of
``captum`` by hand. What removing is, is said by ``fill`` or ``baseline``.

**Cost and memory.** One forward pass for each coalition, with the empty one, and one more; no backward pass.
``chunk`` edited inputs go through the model at once. Several classes cost no more than one. The least squares
of M players take samples · M numbers.

**Reference.** Lundberg & Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017 (arXiv
1705.07874). Code: shap's KernelExplainer (MIT) and captum's KernelShap (BSD-3); neither is used.

**Paper and code.** The default is shap's, 2 M + 2048 samples, but not its ``l1_reg``, which keeps ten players
unless it is told otherwise and sets the others to 0. captum's default is 25 samples. With fewer coalitions
than players the values are the least-norm ones of all that fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes
from methods.relevance import RefusedError
from methods.removal import Games, RemovalBased, check_choice, check_counts, given

MOST_EXACT = 16  # players whose coalitions are all evaluated
TRIVIAL_WEIGHT = 1e6  # captum's, of the empty and of the full coalition


@dataclass(frozen=True)
class KernelSHAP(RemovalBased):
    """Shapley values of words, patches or segments, by weighted least squares over coalitions.

    Lundberg & Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017 (arXiv 1705.07874), theorem 2.
    The other settings are those of :class:`methods.removal.RemovalBased`.

    Args:
        sampling: ``shap``, ``all`` or ``captum``: which coalitions of players are evaluated, and how they weigh.
        samples: how many, the empty and the full one not counted for ``shap``; None for 2 M + ``extra`` of M players
            with ``shap``, and 25 with ``captum``. Not used by ``all``.
        extra: see ``samples``; 2048 is shap's.
        seed: another seed draws other coalitions.
        coalitions: the coalitions of ``captum`` instead of drawn ones, (samples, players), 1 for who is there.

    Raises:
        ValueError: for a setting out of range.
    """

    version: ClassVar[int] = 1

    sampling: Literal["shap", "all", "captum"] = "shap"
    samples: int | None = None
    extra: int = 2048
    seed: int = 0
    coalitions: Tensor | None = None

    def __post_init__(self):
        super().__post_init__()
        check_choice("sampling", self.sampling, ("shap", "all", "captum"))
        if self.samples is not None:
            check_counts(self, "samples", least=2)
        check_counts(self, "extra", least=2)
        if self.coalitions is not None and self.sampling != "captum":
            raise ValueError(
                f"sampling={self.sampling!r}: coalitions are given to 'captum' alone, which weighs all 1"
            )

    def passes(self, tokens: int, blocks: int) -> Passes:
        """Of a sample whose every token is a player; fewer, where words have several."""
        return Passes(2 + self._count(min(tokens, self.most_players or tokens)), 0)

    def for_check(self) -> "KernelSHAP":
        """The same with few players and coalitions."""
        return replace(super().for_check(), samples=min(self.samples or 10, 10))

    def _values(self, games: Games) -> Sequence[Tensor]:
        if self.sampling == "captum":
            return self._fitted(games)
        drawn = [self._drawn(games, sample) for sample in range(len(games))]
        evaluated = games.values([torch.cat([torch.zeros_like(c[:1]), c]) for c, _ in drawn])
        return [
            _efficient(*own, values[1:] - values[0], whole - values[0])
            for own, values, whole in zip(drawn, evaluated, games.whole, strict=True)
        ]

    def _fitted(self, games: Games) -> Sequence[Tensor]:
        """By captum's regression, with an intercept and without constraints."""
        drawn = [self._by_size(games, sample) for sample in range(len(games))]
        found = []
        for own, values in zip(drawn, games.values(drawn), strict=True):
            trivial = (own == own[:, :1]).all(dim=1)
            root = torch.where(trivial, TRIVIAL_WEIGHT, 1.0).double().sqrt()[:, None]
            design = torch.cat([torch.ones(len(own), 1), own], dim=1).double()
            found.append(_least_squares(root * design, root * values)[1:])
        return found

    def _count(self, players: int) -> int:
        """How many coalitions of so many players are evaluated, the empty one left out."""
        if self.sampling == "captum":
            return (self.samples or 25) - 1
        every = max(2**players - 2, 1)
        return every if self.sampling == "all" else min(self.samples or 2 * players + self.extra, every)

    def _drawn(self, games: Games, sample: int) -> tuple[Tensor, Tensor]:
        """The coalitions of a sample, (n, players), and their weights (n,)."""
        players = games.sizes[sample]
        if self.sampling == "all" and players > MOST_EXACT:
            raise RefusedError(
                f"sampling='all': {players} players have 2^{players} coalitions; expected at most {MOST_EXACT} players "
                "(most_players puts neighbours together), or sampling='shap'"
            )
        if players < 2:
            return torch.zeros(1, players, dtype=torch.bool), torch.zeros(1).double()
        return _paired(players, self._count(players), games.generator(self.seed, sample))

    def _by_size(self, games: Games, sample: int) -> Tensor:
        """captum's coalitions: the full one, the empty one, and others whose sizes are drawn."""
        players = games.sizes[sample]
        if self.coalitions is not None:
            return given(self.coalitions, players)
        generator, count = games.generator(self.seed, sample), self._count(players) - 1
        coalitions = torch.zeros(count + 2, players, dtype=torch.bool)
        coalitions[0] = True
        if players > 1:
            sizes = torch.multinomial(_by_kernel(players), count, replacement=True, generator=generator) + 1
            for row, size in zip(coalitions[2:], sizes.tolist(), strict=True):
                row[_chosen(players, size, generator)] = True
        return coalitions


def _by_kernel(players: int) -> Tensor:
    """(M − 1) / (k (M − k)) for the sizes k = 1, …, M − 1: the weight of all coalitions of a size together."""
    sizes = torch.arange(1, players, dtype=torch.float64)
    return (players - 1) / (sizes * (players - sizes))


def _chosen(players: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(players, generator=generator)[:size]


def _paired(players: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """shap's coalitions of at least two players, (n, players), and their weights, which sum to 1.

    A size k and its complement's, M − k, go together. Such a pair of sizes is enumerated while all that is left to
    pay, shared out by the kernel, would pay for all its coalitions.
    """
    kernel = _by_kernel(players)
    halves = range(1, players // 2 + 1)
    pairs = {k: float(kernel[k - 1]) * (1 if 2 * k == players else 2) for k in halves}
    total, left = sum(pairs.values()), count
    rows: dict[tuple[int, ...], float] = {}
    while pairs:
        k = next(iter(pairs))
        subsets = comb(players, k) * (1 if 2 * k == players else 2)
        if left * pairs[k] / sum(pairs.values()) < subsets * (1 - 1e-8):
            break
        each = pairs.pop(k) / total / subsets
        for members in combinations(range(players), k):
            rows[members] = rows[_complement(members, players)] = each
        left -= subsets
    rows |= _at_random(players, left, pairs, sum(pairs.values()) / total, generator) if left and pairs else {}
    coalitions = torch.zeros(len(rows), players, dtype=torch.bool)
    for row, members in zip(coalitions, rows, strict=True):
        row[list(members)] = True
    return coalitions, torch.tensor(list(rows.values()), dtype=torch.float64)


def _at_random(
    players: int, count: int, pairs: dict[int, float], share: float, generator: torch.Generator
) -> dict[tuple[int, ...], float]:
    """So many different coalitions of some sizes, with their complements; repeated ones weigh more.

    Args:
        pairs: by the smaller size, how often it and its complement's are drawn.
        share: what the weights sum to.
    """
    sizes, chances = list(pairs), torch.tensor(list(pairs.values()), dtype=torch.float64)
    drawn: dict[tuple[int, ...], float] = {}
    for index in torch.multinomial(chances, 4 * count, replacement=True, generator=generator).tolist():
        members = tuple(sorted(_chosen(players, sizes[index], generator).tolist()))
        for one in (members, _complement(members, players)):
            if one in drawn or len(drawn) < count:
                drawn[one] = drawn.get(one, 0) + 1
        if len(drawn) == count:
            break
    total = sum(drawn.values())
    return {one: share * times / total for one, times in drawn.items()}


def _complement(members: tuple[int, ...], players: int) -> tuple[int, ...]:
    return tuple(sorted(set(range(players)) - set(members)))


def _efficient(coalitions: Tensor, weights: Tensor, values: Tensor, total: Tensor) -> Tensor:
    """The φ (players, classes) that fit values best and sum to a total.

    Args:
        coalitions: (n, players), with their weights (n,).
        values: v(S) − v(∅), (n, classes).
        total: v(all) − v(∅), (classes,).
    """
    players = coalitions.shape[1]
    if players == 0:
        return values.new_zeros(0, values.shape[1])
    last = coalitions[:, -1:].double()  # whose φ is what the others leave of the total
    root = weights.sqrt()[:, None]
    others = _least_squares(root * (coalitions[:, :-1].double() - last), root * (values - last * total))
    return torch.cat([others, total[None] - others.sum(dim=0, keepdim=True)])


def _least_squares(design: Tensor, values: Tensor) -> Tensor:
    """The least-norm solution where there are several."""
    if 0 in design.shape:
        return values.new_zeros(design.shape[1], values.shape[1])
    return torch.linalg.lstsq(design, values, driver="gelsd").solution
