"""# Partition SHAP

**Formula.** Owen values over a binary tree whose leaves are the players. At each node, its two children play
a game of two: each gets the mean of what it adds when its sibling is there and when it is not, v(S ∪ a) −
v(S) and v(S ∪ a ∪ b) − v(S ∪ b). Each child then shares out what it got in both of these contexts, with half
the weight. The map sums to v(all) − v(∅). Class-specific and signed.

**Settings.** The default ``tree`` halves a text, or the longer side of a grid of patches, again and again; a
linkage matrix of scipy gives another. ``max_evals`` bounds the number of coalitions: nodes with the most to
share out are opened first, and those that are not opened share it out evenly. What removing is, is said by
``fill`` or ``baseline``.

**Cost and memory.** At most ``max_evals`` forward passes for each class, and two more; no backward pass. A
full tree over M players takes about 2/3 (M² − 1). Classes share the coalitions that they have in common.
``chunk`` edited inputs go through the model at once, a few of each sample and class.

**Reference.** Lundberg et al.; Owen, "Values of Games with a Priori Unions", 1977. Code: shap's
PartitionExplainer, MIT, which is not used.

**Paper and code.** There is no paper; ferret's "SHAP" is this method. shap makes its tree of a text by rules
about punctuation, replaces runs of masked tokens by one, and opens five nodes at a time, which is kept here.
Of several classes shap opens the nodes that matter to any of them; here each class has its own, so that it
has the map that it has alone.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes
from methods.players import Tree
from methods.removal import Games, RemovalBased, check_counts

AT_ONCE = 5  # nodes of a game that are opened together


@dataclass(frozen=True)
class PartitionSHAP(RemovalBased):
    """Owen values of words, patches or segments over a binary tree.

    The other settings are those of :class:`methods.removal.RemovalBased`.

    Args:
        max_evals: coalitions that are evaluated for a class, the empty and the full one not counted.
        tree: over the players, a linkage matrix of scipy: row k, (players − 1, 2 or more), starts with the two nodes
            that node ``players + k`` is made of. None halves neighbours.

    Raises:
        ValueError: for a setting out of range.
    """

    version: ClassVar[int] = 1

    max_evals: int = 500
    tree: Tensor | None = None

    def __post_init__(self):
        super().__post_init__()
        check_counts(self, "max_evals")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """At most, for one class of a sample whose every token is a player, with the default tree of a text."""
        return Passes(2 + min(self.max_evals, _full(min(tokens, self.most_players or tokens))), 0)

    def for_check(self) -> "PartitionSHAP":
        """The same with few players and coalitions."""
        return replace(super().for_check(), max_evals=min(self.max_evals, 6))

    def _values(self, games: Games) -> Sequence[Tensor]:
        nothing = [torch.zeros(players, dtype=torch.bool) for players in games.sizes]
        known: list[dict[bytes, Tensor]] = [{} for _ in nothing]
        _evaluate(games, [[none] for none in nothing], known)
        roots = [_root(self._tree(games, players), players) for players in games.sizes]
        shares = [
            [_Shares(*sample, k, self.max_evals) for k in range(games.target.shape[1])]
            for sample in zip(roots, nothing, known, games.whole, strict=True)
        ]
        while any(opened := [[c for one in own for c in one.open()] for own in shares]):
            _evaluate(games, opened, known)
            for one in chain.from_iterable(shares):
                one.share()
        return [torch.stack([one.rest() for one in own], dim=1) for own in shares]

    def _tree(self, games: Games, players: int) -> Tree:
        if self.tree is None:
            return games.players.tree(players)
        if self.tree.shape[0] != players - 1 or self.tree.ndim != 2 or self.tree.shape[1] < 2:
            raise ValueError(
                f"tree of shape {tuple(self.tree.shape)} for {players} players; expected ({players - 1}, 2 or more)"
            )
        return [(int(left), int(right)) for left, right in self.tree[:, :2].tolist()]


@dataclass(frozen=True)
class _Node:
    """A node of the tree.

    Attributes:
        members: the players below it, (players,), boolean.
        children: None for a player.
    """

    members: Tensor
    children: tuple["_Node", "_Node"] | None = None


def _root(tree: Tree, players: int) -> _Node | None:
    """The root of a tree; None where there is no player."""
    nodes = [_Node(row) for row in torch.eye(players, dtype=torch.bool)]
    for left, right in tree:
        if not 0 <= min(left, right) <= max(left, right) < len(nodes):
            raise ValueError(f"tree: node {len(nodes)} is made of {left} and {right}, which are not below it")
        pair = nodes[left], nodes[right]
        nodes.append(_Node(pair[0].members | pair[1].members, pair))
    if nodes and not nodes[-1].members.all():
        raise ValueError("tree: its last row is not the root of all players")
    return nodes[-1] if nodes else None


class _Shares:
    """The values of the players for one class, shared out from the root down.

    Args:
        root: of the tree; None if there is no player.
        nothing: the empty coalition.
        known: the values (classes,) of coalitions, which others fill in.
        whole: the values (classes,) of the full coalition.
        k: which of the classes.
        most: coalitions that may be asked for.
    """

    def __init__(
        self,
        root: _Node | None,
        nothing: Tensor,
        known: dict[bytes, Tensor],
        whole: Tensor,
        k: int,
        most: int,
    ):
        self._known, self._class, self._left = known, k, most
        self._values = torch.zeros(len(nothing), dtype=torch.float64)
        self._waiting: list[tuple] = []
        self._opened: list[tuple] = []
        self._order = count()
        if root is not None:
            self._give(root, nothing, self._value(nothing), float(whole[k]), 1.0)

    def open(self) -> list[Tensor]:
        """The coalitions that are needed to open the nodes with the most to share out, two for each."""
        self._opened = []
        while self._waiting and len(self._opened) < AT_ONCE and self._left >= 2:
            self._opened.append(heapq.heappop(self._waiting)[2:])
            self._left -= 2
        return [context | child.members for node, context, *_ in self._opened for child in node.children]

    def share(self) -> None:
        """Share out what the opened nodes have, now that the values of their coalitions are known."""
        for node, context, without, whole, weight in self._opened:
            one, other = node.children
            with_one, with_other = context | one.members, context | other.members
            first, second = self._value(with_one), self._value(with_other)
            self._give(one, context, without, first, weight / 2)
            self._give(other, context, without, second, weight / 2)
            self._give(one, with_other, second, whole, weight / 2)
            self._give(other, with_one, first, whole, weight / 2)

    def rest(self) -> Tensor:
        """The values (players,), those of unopened nodes shared out evenly."""
        for _, _, node, _, without, whole, weight in self._waiting:
            self._values[node.members] += weight * (whole - without) / int(node.members.sum())
        self._waiting = []
        return self._values

    def _value(self, coalition: Tensor) -> float:
        return float(self._known[_key(coalition)][self._class])

    def _give(self, node: _Node, context: Tensor, without: float, whole: float, weight: float) -> None:
        """Note what a node adds to a context: a player keeps it, any other node may share it out later."""
        if node.children is None:
            self._values[node.members] += weight * (whole - without)
        else:
            entry = (node, context, without, whole, weight)
            heapq.heappush(self._waiting, (-weight * abs(whole - without), next(self._order), *entry))


def _evaluate(games: Games, wanted: Sequence[Sequence[Tensor]], known: Sequence[dict[bytes, Tensor]]) -> None:
    """Fill in the values of those coalitions of each sample that are not known yet."""
    new = [{_key(c): c for c in own if _key(c) not in has} for own, has in zip(wanted, known, strict=True)]
    rows = [
        torch.stack(list(own.values())) if own else torch.zeros(0, players, dtype=torch.bool)
        for own, players in zip(new, games.sizes, strict=True)
    ]
    for has, own, values in zip(known, new, games.values(rows), strict=True):
        has |= zip(own, values, strict=True)


def _full(players: int) -> int:
    """The coalitions that a tree of neighbours needs which is opened to the end."""
    if players < 2:
        return 0
    return 2 + 2 * _full(players // 2) + 2 * _full(players - players // 2)


def _key(coalition: Tensor) -> bytes:
    return coalition.numpy().tobytes()
