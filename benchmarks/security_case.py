"""Random oversized fleets on SimBench nets, whose cheapest plan breaks the network's limits.

A case is a net, a day of its own profiles, a scale and a seed. Sites are drawn among the buses with load. Their hosting
capacity is the power, shared by the sites at random weights, at which both injection and consumption break limits in
a tenth of the day's steps. The fleet's size is `scale` times that, and each kind has its share of it, `SHARES`:
batteries and photovoltaics everywhere, price-elastic loads or on/off mills beside them. Prices are a day's with its
valley and its evening peak, moved at random. Elastic loads, which never rest, are at most three times their share.

Nothing of ours can cure a limit that the others break alone, so by construction such a day is passed over: a day
counts only where the net keeps its limits with the margins of a plan while the fleet does the least it can (batteries
and mills at rest, photovoltaics curtailed, elastic loads at their least). `passed_over` says how many days were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.vpp_fleet import PRICE_EUR_PER_MWH, STORED_EUR_PER_MWH, Given, Rng, battery_of
from dispatch.block import Context, EndValue
from dispatch.cut_pool import MARGIN_LOADING_PCT, MARGIN_VOLTAGE_PCT
from dispatch.exposure import Exposure, bus_injection
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from vpp.domain.network import Flow
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import QUARTER, Array, TimeGrid

ROOT = Path(__file__).resolve().parents[1]
STEPS = 96
FIRST_DAY, DAYS = date(2016, 1, 2), 363
MV, LV = ("rural", "semiurb", "comm"), ("rural1", "rural2", "rural3", "semiurb4", "semiurb5", "urban6")
NETS = (
    *(f"1-MV-{kind}--{year}-sw" for kind in MV for year in (0, 1, 2)), "1-MV-urban--0-sw",
    *(f"1-LV-{kind}--{year}-sw" for kind in LV for year in (0, 1, 2)),
)  # fmt: skip
SCALES = (1.2, 3.0)
SHARES = {"battery": 0.6, "curtailable": 0.6, "price_elastic": 0.25, "process": 0.3}
SITES = (4, 12)
MOST_TIMES_MUST_RUN = 3.0
BROKEN_SHARE, LEAST_MW, DOUBLINGS, HALVINGS = 0.1, 1e-3, 20, 6
MOST_DRAWS = 40


@dataclass(frozen=True)
class Draw:
    """What a case is made from."""

    net: str
    day: date
    scale: float
    seed: int


@dataclass(frozen=True)
class SecurityCase:
    """A fleet's problem on a net; `draw` has the day that was taken after `passed_over` others.

    `incurable` counts what breaks a limit, with the margins of a plan, while the fleet does the least it can.
    """

    draw: Draw
    model: GridModel
    grid: TimeGrid
    assets: tuple[Asset, ...]
    problem: Problem
    exposure: Exposure
    hosting_mw: float
    passed_over: int
    incurable: int


def draws(count: int, seed: int, nets: Sequence[str] = NETS) -> list[Draw]:
    """`count` cases; each has a seed of its own, so that it can be run again alone."""
    rng = np.random.default_rng(seed)
    return [
        Draw(
            str(rng.choice(nets)), FIRST_DAY + timedelta(days=int(rng.integers(DAYS))),
            round(float(rng.uniform(*SCALES)), 3), int(rng.integers(1_000_000)),
        )
        for _ in range(count)
    ]  # fmt: skip


def loaded(net: str) -> GridModel:
    """The SimBench net with its taps typed and its own storages left out. Raises UnknownElement."""
    return load_grid(spec_of(net), [], ROOT / ".cache")


def spec_of(net: str) -> NetworkSpec:
    """How `net` is read."""
    return NetworkSpec(simbench=net, tap_changer="ratio", tap_dead_band_pu=0.015, drop_storage=True)


def built(
    draw: Draw, model: GridModel, *, steps: int = STEPS, integers: bool = True, any_day: bool = False
) -> SecurityCase:
    """The case of `draw` on its loaded `model`; with `any_day` a day is kept that is not clean without the fleet.

    Raises ValueError where no day of many is clean.
    """
    rng, day = np.random.default_rng(draw.seed), draw.day
    for passed_over in range(MOST_DRAWS):
        found = _on_day(replace(draw, day=day), model, steps, integers, passed_over)
        if any_day or (not found.incurable and found.hosting_mw > LEAST_MW):
            return found
        day = FIRST_DAY + timedelta(days=int(rng.integers(DAYS)))
    raise ValueError(f"{draw.net}: {MOST_DRAWS} days break limits without any fleet")


def _on_day(draw: Draw, model: GridModel, steps: int, integers: bool, passed_over: int) -> SecurityCase:
    rng = np.random.default_rng(draw.seed + 1)
    start = datetime(draw.day.year, draw.day.month, draw.day.day, tzinfo=UTC) - timedelta(hours=1)
    grid = TimeGrid.uniform(start + (STEPS - steps) // 2 * QUARTER, QUARTER, steps)
    p, q = _background(model, grid)
    buses = _sites(model, rng)
    weight = rng.dirichlet(np.full(len(buses), 2.0))
    hosting_mw = _hosting(model, grid, p, q, buses, weight)
    site_mw = weight * max(hosting_mw, LEAST_MW)
    assets, states, inputs = _fleet(model, grid, buses, site_mw, draw.scale, rng, integers)
    exposure = _exposure(model, assets, p, q)
    incurable = _incurable(model, grid, exposure, _least(assets, inputs, grid.n))
    price = (PRICE_EUR_PER_MWH * rng.uniform(0.7, 1.4) + rng.normal(0.0, 6.0, 24))[_hour(grid)]
    problem = _problem(grid, assets, states, inputs, price)
    return SecurityCase(draw, model, grid, assets, problem, exposure, hosting_mw, passed_over, incurable)


def _problem(
    grid: TimeGrid, assets: Sequence[Asset], states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]], price: Array,
) -> Problem:  # fmt: skip
    ids = [a.id for a in assets]
    worth = {a.id: EndValue(np.array([1e6]), np.array([STORED_EUR_PER_MWH.get(a.kind, 0.0)])) for a in assets}
    context = Context(grid, grid.start, states, inputs, {}, worth, lowest_value_eur_per_mwh=price)
    kinds = dict.fromkeys(a.kind for a in assets)
    blocks = [KINDS[k].block([a for a in assets if a.kind == k], context) for k in kinds]
    return assemble(grid, ids, [*blocks, bid_energy(ids, ids, grid, price)])


def _hour(grid: TimeGrid) -> Any:
    """(T,) hours of Central European standard time."""
    return np.array([(t.hour + 1) % 24 for t in grid.starts])


def _background(model: GridModel, grid: TimeGrid) -> tuple[Array, Array]:
    """Injections (T,B) of everyone else in MW and Mvar."""
    first = (grid.start - next(iter(model.series.values())).start) // QUARTER
    at, names, none = slice(first, first + grid.n), model.background.series, np.zeros(grid.n)
    p_values = np.array([model.series[s].values[at] for s in names])
    q_values = np.array([model.q_values[s][at] if s in model.q_values else none for s in names])
    return model.background.injection(p_values, q_values)


def _sites(model: GridModel, rng: Rng) -> list[int]:
    """Positions of some buses that carry load."""
    one = np.ones((len(model.background.series), 1))
    p, _ = model.background.injection(one, one * 0.0)
    loaded_at = np.flatnonzero(p[0] < 0.0)
    count = min(len(loaded_at), int(rng.integers(SITES[0], SITES[1] + 1)))
    return [int(b) for b in rng.choice(loaded_at, count, replace=False)]


def _hosting(model: GridModel, grid: TimeGrid, p: Array, q: Array, buses: Sequence[int], weight: Array) -> float:
    """MW at `buses` at which either direction breaks limits in a tenth of the steps; 0 where none is free."""
    every = slice(None, None, 4)
    few = TimeGrid.uniform(grid.start, 4 * QUARTER, len(p[every]))

    def broken(size_mw: float) -> bool:
        least = few.n
        for sign in (1.0, -1.0):
            moved = p[every].copy()
            moved[:, buses] += sign * size_mw * weight
            flow = model.network.flow(few, moved[None], q[None, every])
            least = min(least, len({v.step for v in model.network.violations(flow)}))
        return least > BROKEN_SHARE * few.n

    low, high = 0.0, LEAST_MW
    for _ in range(DOUBLINGS):
        if broken(high):
            break
        low, high = high, 2.0 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if broken(middle) else (middle, high)
    return low


def _fleet(
    model: GridModel, grid: TimeGrid, buses: Sequence[int], site_mw: Array, scale: float, rng: Rng, integers: bool
) -> tuple[tuple[Asset, ...], dict[str, AssetState], dict[str, dict[str, Array]]]:
    """Every site gets batteries and photovoltaics, and an elastic load or a mill."""
    makers = {"battery": _battery, "curtailable": _photovoltaics, "price_elastic": _elastic, "process": _mill}
    sun = [s for s in model.background.series if s.startswith("gen:PV")]
    shape = _sun(model, grid, sun[int(rng.integers(len(sun)))] if sun else None)
    assets: list[Asset] = []
    states: dict[str, AssetState] = {}
    inputs: dict[str, dict[str, Array]] = {}
    for site, (position, mw) in enumerate(zip(buses, site_mw, strict=True)):
        flexible = "process" if integers and site % 3 == 0 else "price_elastic"
        for kind in ("battery", "curtailable", flexible):
            times = min(scale, MOST_TIMES_MUST_RUN) if kind == "price_elastic" else scale
            power = float(mw * times * SHARES[kind] * rng.uniform(0.7, 1.3)) + 1e-4
            name = f"{kind}-{site}"
            params, given, state = makers[kind](rng, name, power, grid, shape)
            tan_phi = float(rng.choice([0.0, -0.1, 0.2])) if kind == "curtailable" else 0.0
            bus = model.network.buses[position]
            assets.append(
                Asset(name, kind, f"site {site}", name, "node", bus, KINDS[kind].Params(**params), tan_phi=tan_phi)
            )
            states[name] = AssetState(name, grid.start, grid.start, **state)
            inputs[name] = dict(given)
    return tuple(assets), states, inputs


def _sun(model: GridModel, grid: TimeGrid, series: str | None) -> Array:
    """(T,) photovoltaic output per unit: the net's own profile, or a clear day's where it has none."""
    if series is not None:
        first = (grid.start - model.series[series].start) // QUARTER
        return model.series[series].values[first : first + grid.n]
    hour = _hour(grid) + 0.5
    return np.clip(np.sin(np.pi * (hour - 6.0) / 14.0), 0.0, None) * (hour < 20.0)


def _battery(rng: Rng, name: str, power: float, grid: TimeGrid, shape: Array) -> Given:
    return battery_of(rng, power)


def _photovoltaics(rng: Rng, name: str, power: float, grid: TimeGrid, shape: Array) -> Given:
    params = {"capacity_mw": power, "kind_of": "pv", "s_rating_mva": 1.1 * power}
    return params, {"available_mw": power * shape}, {"power_mw": 0.0}


def _elastic(rng: Rng, name: str, power: float, grid: TimeGrid, shape: Array) -> Given:
    params = {
        "min_share": float(rng.uniform(0.2, 0.5)), "max_share": 1.8, "elasticity": -float(rng.uniform(0.3, 1.0)),
        "reference_price_eur_per_mwh": 70.0, "substitution": float(rng.uniform(0.0, 0.6)),
        "window_h": float(rng.choice([1.0, 2.0, 4.0])),
    }  # fmt: skip
    load = power * (0.7 + 0.3 * np.sin(np.pi * (_hour(grid) - 7.0) / 12.0))
    return params, {"load_mw": load}, {"power_mw": 0.0}


def _mill(rng: Rng, name: str, power: float, grid: TimeGrid, shape: Array) -> Given:
    kwh_per_t = float(rng.uniform(30.0, 45.0))
    made_t_per_h, share = power * 1000.0 / kwh_per_t, float(rng.uniform(0.35, 0.6))
    capacity_t = 10.0 * made_t_per_h
    silo = {"id": f"silo of {name}", "capacity_t": capacity_t, "min_t": 0.1 * capacity_t, "kwh_per_t": kwh_per_t,
            "missed_eur_per_t": 40.0}  # fmt: skip
    params = {
        "power_mw": power, "kwh_per_t": kwh_per_t, "min_run_h": float(rng.choice([1.0, 2.0])), "min_stop_h": 1.0,
        "start_cost_eur": 20.0 * power, "silo": silo, "max_starts_per_day": 4,
    }  # fmt: skip
    state = {"stored_mwh": capacity_t * float(rng.uniform(0.3, 0.6)) * kwh_per_t / 1000.0, "on": False,
             "power_mw": 0.0, "minutes_in_state": 600}  # fmt: skip
    return params, {"shipments_t_per_h": np.full(grid.n, share * made_t_per_h), "rota": np.zeros(grid.n)}, state


def _exposure(model: GridModel, assets: Sequence[Asset], p: Array, q: Array) -> Exposure:
    position = {bus: i for i, bus in enumerate(model.network.buses)}
    column = [position[a.bus] for a in assets if a.bus is not None]
    shape = (len(column), len(position))
    incidence = sp.csr_array((np.ones(len(column)), (np.arange(len(column)), column)), shape=shape)
    return Exposure(incidence, np.array([a.tan_phi for a in assets]), p, q)


def _least(assets: Sequence[Asset], inputs: Mapping[str, Mapping[str, Array]], steps: int) -> Array:
    """(N,T) the injection of everyone who does the least."""
    rows = [
        -a.params.min_share * inputs[a.id]["load_mw"] if a.kind == "price_elastic" else np.zeros(steps) for a in assets
    ]
    return np.array(rows)


def _incurable(model: GridModel, grid: TimeGrid, exposure: Exposure, least_mw: Array) -> int:
    """How many limits, with a plan's margins, the net breaks while the fleet does the least."""
    flow = model.network.flow(grid, *bus_injection(exposure, least_mw))
    return len(model.network.violations(tightened(flow)))


def tightened(flow: Flow) -> Flow:
    """`flow` with loadings and voltages moved by a plan's margins towards the limits, for a check with margins."""
    margin = MARGIN_VOLTAGE_PCT / 100.0
    moved = flow.vm_pu + np.where(flow.vm_pu > 1.0, margin, -margin)
    return replace(flow, vm_pu=moved, loading_pct=flow.loading_pct + MARGIN_LOADING_PCT)
