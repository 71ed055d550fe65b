"""Prices by the hour: one sparse linear quantile regression for every time of day, in two memories.

Each time of day has its own market, so each has its own regression, on its own cases and those of the neighbouring
times (Lago et al., Applied Energy 293, 2021, keep the hours apart as well). One memory weighs the whole past alike,
the other halves the weight of a case every half-life; the mean of their quantiles follows a drift and still knows the
heat wave of the year before last. Positive prices are learnt in logarithms, which keeps a spike from ruling the fit
and lets the spread grow with the price; whether they are positive is asked of the past at every fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from forecasting.calendar import Index
from forecasting.cases import Cases
from forecasting.models import lasso
from forecasting.models.model import Levels
from forecasting.models.persistence import GUESS
from vpp.domain.time import Array

DAY = 1440
CLOCK = "of_day"
ANCHORS: Levels = (0.01, 0.05, 0.15, 0.30, 0.50, 0.70, 0.85, 0.95, 0.99)
FARTHEST = 6.0
BEYOND = 0.5
FORGOTTEN = 0.03


@dataclass(frozen=True)
class Design:
    """What the regressions learn from.

    Cases that differ in `split` never share a regression. `prices` are the features in the unit of the value,
    `products` the products of features that are features too. With `change` the change against the persistence
    guess is learnt. `half_lives_days` are the memories; `neighbours` how many times of day on either side help.
    """

    prices: tuple[str, ...]
    products: tuple[tuple[str, ...], ...] = ()
    split: tuple[str, ...] = ()
    change: bool = False
    half_lives_days: tuple[float, ...] = (np.inf, 180.0)
    neighbours: int = 1


@dataclass(frozen=True)
class Regression:
    """Coefficients (L, P) on features standardised by `mean` and `scale` (F,), and their products; `centre` and
    `unit` are the value's."""

    mean: Array
    scale: Array
    product_scale: Array
    centre: float
    unit: float
    coefficients: Array

    def predict(self, x: Array, products: tuple[Index, ...]) -> Array:
        """(L, R) for features (R, F)."""
        z = _with_products((x - self.mean) / self.scale, products, self.product_scale)
        out: Array = self.centre + self.unit * self.coefficients @ z.T
        return out


@dataclass(frozen=True)
class HourlyLasso:
    """Regressions of each key (G, K) and memory.

    All prices are logarithms, of no less than `floor`, unless `floor` is 0. Quantiles stay within `low` and `high`,
    half the past's own range beyond it.
    """

    design: Design
    levels: Levels
    anchors: Levels
    floor: float
    keys: Array
    regressions: tuple[tuple[Regression, ...], ...]
    low: float
    high: float

    def predict(self, cases: Cases) -> Array:
        x, guess = _features(cases, self.design, self.floor)
        products = _positions(cases, self.design)
        asked = cases.select((*self.design.split, CLOCK))
        out = np.empty((len(self.anchors), len(cases)))
        unique, group = np.unique(asked, axis=0, return_inverse=True)
        for k, key in enumerate(unique):
            rows = np.flatnonzero(group.reshape(-1) == k)
            nearest = int(np.argmin(np.abs(self.keys - key).sum(axis=1)))
            out[:, rows] = np.mean([r.predict(x[rows], products) for r in self.regressions[nearest]], axis=0)
        out = np.clip(np.sort(out + guess, axis=0), self.low, self.high)
        return _between(np.exp(out) if self.floor > 0 else out, self.anchors, self.levels)


def hourly_lasso(design: Design) -> Callable[[Cases, Levels], HourlyLasso]:
    """The fit of `design`; more levels than the anchors are read between them on the normal scale."""

    def fit(cases: Cases, levels: Levels) -> HourlyLasso:
        anchors = levels if len(levels) <= len(ANCHORS) else ANCHORS
        floor = _floor(cases, design)
        x, guess = _features(cases, design, floor)
        value = np.log(cases.y) if floor > 0 else cases.y
        products = _positions(cases, design)
        keys, regressions = [], []
        for key, rows in _groups(cases, design):
            age = (cases.known.max() - cases.known[rows]) / DAY
            made = [
                _regress(x[rows], (value - guess)[rows], 0.5 ** (age / half), anchors, products)
                for half in design.half_lives_days
            ]
            keys.append(key)
            regressions.append(tuple(made))
        low, high = float(value.min()), float(value.max())
        room = BEYOND * (high - low)
        return HourlyLasso(
            design, levels, anchors, floor, np.array(keys), tuple(regressions), low - room, high + room
        )  # fmt: skip

    return fit


def _floor(cases: Cases, design: Design) -> float:
    """The least price of the past if all were positive, else 0."""
    prices = cases.select((GUESS, *design.prices))
    return max(0.0, float(min(cases.y.min(), prices[np.isfinite(prices)].min(initial=np.inf))))


def _features(cases: Cases, design: Design, floor: float) -> tuple[Array, Array]:
    """Features (R, F) and the guess (R,) that changes are counted from, 0 where values are learnt.

    A guess that is a gap is the first of the design's prices that is there.
    """
    x = cases.x.copy()
    price = [cases.names.index(n) for n in dict.fromkeys((GUESS, *design.prices))]
    if floor > 0:
        x[:, price] = np.log(np.maximum(x[:, price], floor))
    if not design.change:
        return x, np.zeros(len(x))
    first = np.argmax(np.isfinite(x[:, price]), axis=1)
    return x, np.nan_to_num(x[np.arange(len(x)), np.array(price)[first]])


def _positions(cases: Cases, design: Design) -> tuple[Index, ...]:
    return tuple(np.array([cases.names.index(n) for n in names]) for names in design.products)


def _groups(cases: Cases, design: Design) -> Iterator[tuple[Array, Index]]:
    """Every key with the rows that teach it."""
    split, clock = cases.select(design.split), cases.column(CLOCK)
    times = np.unique(clock)
    reach = design.neighbours * float(np.diff(times).min()) if len(times) > 1 else 0.0
    for part in np.unique(split, axis=0):
        alike = (split == part).all(axis=1)
        for time in np.unique(clock[alike]):
            yield np.append(part, time), np.flatnonzero(alike & (np.abs(clock - time) <= reach))


def _regress(x: Array, y: Array, weight: Array, levels: Levels, products: tuple[Index, ...]) -> Regression:
    kept = weight > FORGOTTEN
    x, y, w = x[kept], y[kept], weight[kept] / weight[kept].sum()
    there = np.isfinite(x)
    share = np.maximum(w @ there, 1e-12)
    mean = w @ np.where(there, x, 0.0) / share
    scale = _positive_scale(np.sqrt(w @ np.where(there, (x - mean) ** 2, 0.0) / share))
    powers = _with_products((x - mean) / scale, products, np.ones(len(products)))[:, x.shape[1] : -1]
    product_scale = _positive_scale(np.sqrt(w @ (powers - w @ powers) ** 2))
    centre = float(w @ y)
    unit = float(np.sqrt(w @ (y - centre) ** 2)) or 1.0
    z = _with_products((x - mean) / scale, products, product_scale)
    b = lasso.coefficients(z, (y - centre) / unit, w, np.asarray(levels))
    return Regression(mean, scale, product_scale, centre, unit, b)


def _positive_scale(deviation: Array) -> Array:
    scale: Array = np.where(deviation > 1e-9, deviation, 1.0)
    return scale


def _with_products(z: Array, products: tuple[Index, ...], product_scale: Array) -> Array:
    """Standardised features, missing ones at their mean, then their products, then the constant: (R, P)."""
    near = np.clip(np.nan_to_num(z), -FARTHEST, FARTHEST)
    powers = [near[:, at].prod(axis=1) / s for at, s in zip(products, product_scale, strict=True)]
    return np.column_stack([near, *powers, np.ones(len(z))])


def _between(quantiles: Array, anchors: Levels, levels: Levels) -> Array:
    """Quantiles (L, R) at `levels` from those at `anchors`, linear in the normal score, flat beyond them."""
    if levels == anchors:
        return quantiles
    score, known = ndtri(np.asarray(levels)), ndtri(np.asarray(anchors))
    right = np.clip(np.searchsorted(known, score), 1, len(known) - 1)
    share = np.clip((score - known[right - 1]) / (known[right] - known[right - 1]), 0.0, 1.0)[:, None]
    out: Array = (1 - share) * quantiles[right - 1] + share * quantiles[right]
    return out
