"""All wishes, followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatch.follow.registry import RULES
from dispatch.wish import Path, Wish
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.schedule import Schedule


def follow(wishes: Sequence[Wish]) -> Schedule:
    """The schedule that keeps every wish as far as the devices allow, in the order given.

    Raises InputFaults for a kind without a rule here.
    """
    unknown = [Fault(w.asset.id, "kind", f"{w.asset.kind} has no rule in dispatch.follow.RULES") for w in wishes
               if w.asset.kind not in RULES]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    paths: dict[str, Path] = {}
    for kind in dict.fromkeys(w.asset.kind for w in wishes):
        group = [w for w in wishes if w.asset.kind == kind]
        paths |= dict(zip((w.asset.id for w in group), RULES[kind](group), strict=True))
    names = tuple(w.asset.id for w in wishes)
    power = np.array([paths[n].power_mw for n in names])
    tan_phi = np.array([w.asset.tan_phi for w in wishes])
    return Schedule(
        names, wishes[0].grid, power, tan_phi[:, None] * power,
        commitment={n: on for n in names if (on := paths[n].on) is not None},
        stored_mwh={n: e for n in names if (e := paths[n].stored_mwh) is not None},
        decisions={n: paths[n].decisions for n in names if paths[n].decisions},
    )  # fmt: skip
