"""What loses its supply when one branch goes: bridges of the network graph and the nodes behind them.

One depth-first search from the sources (all as one root) finds every bridge (Tarjan,
Inf. Process. Lett. 2 (1974) 160): a branch over which the search enters a node whose part of the tree
has no other way up. The nodes behind a bridge are consecutive in the order of the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from grid_models.branches import Branches
from grid_models.compile import State
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


def find_islands(state: State, through: Ints) -> Islands:
    """Islands of a switching state whose branches `through` connect two nodes; impedances connect too."""
    n, z = state.n, state.tables.impedances
    joined = state.node[z.from_bus], state.node[z.to_bus]
    on = np.flatnonzero((joined[0] >= 0) & (joined[1] >= 0))
    first, second = np.r_[state.from_node, joined[0]], np.r_[state.to_node, joined[1]]
    ways: list[list[tuple[int, int]]] = [[] for _ in range(n + 1)]
    for e in map(int, np.r_[through, len(state.from_node) + on]):
        a, b = min(int(first[e]), n), min(int(second[e]), n)
        ways[a].append((b, e))
        ways[b].append((a, e))
    entered, low, order = [-1] * (n + 1), [-1] * (n + 1), [n]
    span = np.zeros((len(first), 2), dtype=np.int64)
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
    a, kept, lines = state.lines, state.n - len(dead), len(state.lines.ff)
    number = np.concatenate([np.where(gone, -1, np.cumsum(~gone) - 1), kept + np.arange(len(state.slack_v)), [-1]])
    f, t, node = number[state.from_node], number[state.to_node], number[state.node]
    lost = (f < 0) | (t < 0)
    lost[branch] = True
    stays = np.flatnonzero(np.r_[~gone, np.ones(len(state.slack_v), dtype=bool)])
    held = number[state.pv] >= 0
    return replace(
        state, n=kept, node=node, from_node=np.where(lost, kept, f), to_node=np.where(lost, kept, t),
        lines=Branches(*(np.where(lost[:lines], 0.0, y) for y in (a.ff, a.ft, a.tf, a.tt))),
        trafo_ends=state.trafo_ends & ~lost[lines:, None], pv=number[state.pv][held], vm_set=state.vm_set[held],
        impedances=state.impedances[stays][:, stays], shunts=state.shunts[stays],
        island=np.where((node < 0) & (state.node >= 0), state.island.max(initial=-1) + 1, state.island),
    )  # fmt: skip
