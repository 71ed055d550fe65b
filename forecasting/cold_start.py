"""A new site, before its own past can say what it does: the forecast of its class, and its own as days come.

The series of a class (photovoltaics, wind, load) that have a past are forecast as ever; their quantiles over their
scale, the rated power or what they reach on 98 % of their quarters, are pooled: the prior's distribution is the
equal mixture of theirs, so that it is as wide as its members and as their differences. It is read at the site's
scale, times the level that the site's own quarters have shown against the mean of its class at the same time,

    level = (sum y + one day of the class) / (sum m + one day of the class),

where the day of the class holds the level at 1 until there are days of the site's own. Quantiles of the site's own
forecast take over from the prior in the share d / 28 after d days (quantile averaging: Lichtendahl, Grushka-Cockayne
and Winkler, Management Science 59(7), 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forecasting.calendar import PER_DAY
from forecasting.panel import Panel
from vpp.domain.time import Array

GROWN_DAYS = 28
CLASS = "class"
_SCALE_SHARE = 0.98


def own_days(panel: Panel) -> Array:
    """Days (S,) of values that each series of `panel` has."""
    days: Array = np.isfinite(panel.values).sum(axis=1) / PER_DAY
    return days


def peers_of(panel: Panel, classes: Mapping[str, str]) -> dict[int, list[int]]:
    """The grown series of the same class for each series that is too young to stand alone and has a scale."""
    days, scale = own_days(panel), scale_of(panel)
    grown = [i for i in range(len(panel.ids)) if days[i] >= GROWN_DAYS and scale[i] > 0]
    found = {}
    for i, name in enumerate(panel.ids):
        kind = classes.get(name)
        peers = [j for j in grown if kind is not None and classes.get(panel.ids[j]) == kind]
        if days[i] < GROWN_DAYS and scale[i] > 0 and peers:
            found[i] = peers
    return found


def scale_of(panel: Panel) -> Array:
    """Rated power (S,) where it is stated, else what a series reaches on 98 % of its quarters; 0 without either."""
    out = np.where(np.isfinite(panel.upper), panel.upper, 0.0)
    for i in np.flatnonzero(~np.isfinite(panel.upper)):
        there = panel.values[i, np.isfinite(panel.values[i])]
        out[i] = float(np.quantile(there, _SCALE_SHARE)) if len(there) else 0.0
    return out


def level_of(panel: Panel, young: int, peers: Sequence[int], scale: Array) -> float:
    """What the site's own quarters have shown against its class; 1 without any."""
    mean = (panel.values[list(peers)] / scale[list(peers), None]).mean(axis=0) * scale[young]
    both = np.isfinite(panel.values[young]) & np.isfinite(mean)
    if not both.any() or mean[both].sum() <= 0:
        return 1.0
    day = float(np.nanmean(mean)) * PER_DAY
    return float((panel.values[young, both].sum() + day) / (mean[both].sum() + day))


def pooled(quantiles: Array, levels: Sequence[float]) -> Array:
    """Quantiles (L, T) of the equal mixture of distributions given by `quantiles` (J, L, T) at `levels`.

    Each quantile stands for the share of its distribution that lies nearer to it than to its neighbours.
    """
    a = np.asarray(levels)
    edges = np.concatenate([[0.0], (a[1:] + a[:-1]) / 2, [1.0]])
    share = np.tile(np.diff(edges) / len(quantiles), len(quantiles))
    sample = quantiles.reshape(-1, quantiles.shape[-1])
    order = np.argsort(sample, axis=0, kind="stable")
    ordered, weight = np.take_along_axis(sample, order, axis=0), share[order]
    middle = np.cumsum(weight, axis=0) - weight / 2
    columns = range(sample.shape[1])
    mixed: Array = np.stack([np.interp(a, middle[:, t], ordered[:, t]) for t in columns], axis=1)
    return mixed


def with_class(panel: Panel, quantiles: Array, classes: Mapping[str, str], levels: Sequence[float]) -> dict[int, Array]:
    """Quantiles (L, T) of each young series of `panel`, its own of `quantiles` (S, L, T) blended with its class.

    `panel` holds all that is known. A young series without own quantiles (NaN) takes those of its class alone.
    """
    days, scale = own_days(panel), scale_of(panel)
    found = {}
    for young, peers in peers_of(panel, classes).items():
        shape = pooled(quantiles[peers] / scale[peers, None, None], levels)
        prior = scale[young] * level_of(panel, young, peers, scale) * shape
        own = quantiles[young]
        share = np.where(np.isfinite(own), days[young] / GROWN_DAYS, 0.0)
        found[young] = share * np.nan_to_num(own) + (1 - share) * prior
    return found
