"""What loses its supply when one branch goes: bridges of the network graph and the nodes behind them.

One depth-first search from the fixed nodes (all sources as one root) finds every bridge (Tarjan,
Inf. Process. Lett. 2 (1974) 160): a branch over which the search enters a node whose part of the tree
has no other way up. The nodes behind a bridge are consecutive in the order of the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from grid_models.compile import Branches, State
from grid_models.tables import Ints


@dataclass(frozen=True)
class Islands:
    """`order` (n,) nodes in the order of the search; `span` (E,2) where in it the nodes behind a branch lie.

    A branch whose outage cuts nothing off has an empty span.
    """

    order: Ints
    span: Ints

    def behind(self, branch: int) -> Ints:
        """Nodes that only `branch` supplies, the nearest first; empty for a branch in a loop."""
        first, last = self.span[branch]
        return self.order[first:last]


def find_islands(n: int, from_node: Ints, to_node: Ints, through: Ints) -> Islands:
    """Islands of nodes 0..n-1, all supplied, over the branches `through`; nodes from n on are fixed."""
    ways: list[list[tuple[int, int]]] = [[] for _ in range(n + 1)]
    for e in map(int, through):
        a, b = min(int(from_node[e]), n), min(int(to_node[e]), n)
        ways[a].append((b, e))
        ways[b].append((a, e))
    entered, low, order = [-1] * (n + 1), [-1] * (n + 1), [n]
    span = np.zeros((len(from_node), 2), dtype=np.int64)
    entered[n] = low[n] = 0
    stack: list[tuple[int, int, Iterator[tuple[int, int]]]] = [(n, -1, iter(ways[n]))]
    while stack:
        node, via, left = stack[-1]
        ahead = next(left, None)
        if ahead is None:
            stack.pop()
            if stack:
                parent = stack[-1][0]
                low[parent] = min(low[parent], low[node])
                if low[node] > entered[parent]:
                    span[via] = entered[node] - 1, len(order) - 1
            continue
        other, e = ahead
        if entered[other] < 0:
            entered[other] = low[other] = len(order)
            order.append(other)
            stack.append((other, e, iter(ways[other])))
        elif e != via:
            low[node] = min(low[node], entered[other])
    return Islands(np.array(order[1:], dtype=np.int64), span)


def without(state: State, branch: int, dead: Ints) -> State:
    """The switching state after a branch has gone and with it the supply of the nodes `dead`."""
    gone = np.isin(np.arange(state.n), dead)
    number = np.r_[np.where(gone, -1, np.cumsum(~gone) - 1), [-1]]
    kept = state.n - len(dead)

    def renumbered(nodes: Ints) -> Ints:
        """Dead and missing nodes become -1."""
        return np.where(nodes >= state.n, nodes - state.n + kept, number[np.minimum(nodes, state.n)])

    f, t = renumbered(state.from_node), renumbered(state.to_node)
    lost = (f < 0) | (t < 0)
    lost[branch] = True
    lines = len(state.lines.ff)
    a = state.lines
    return replace(
        state, n=kept, node=np.where(state.node < 0, -1, renumbered(state.node)),
        from_node=np.where(lost, kept, f), to_node=np.where(lost, kept, t),
        lines=Branches(*(np.where(lost[:lines], 0.0, y) for y in (a.ff, a.ft, a.tf, a.tt))),
        trafo_live=state.trafo_live & ~lost[lines:],
    )  # fmt: skip
