"""What loads and feeds a pandapower net and is not ours: which series drives which bus, and the series.

Loads, static generators and machines follow their profile where the net has profiles. What has none
(every element of a net without, wards, direct current lines, reactive power of generators) follows the
constant series "static". A direct current line that carries p takes it where it begins and gives p less
its losses where it ends; one that carries nothing loses its constant losses where it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from grid_models.background import Background
from grid_models.cells import in_service, text
from grid_models.spec import NetworkSpec
from vpp.domain.errors import UnknownElement
from vpp.domain.forecast import Series
from vpp.domain.time import Array

PROFILES_START = datetime(2015, 12, 31, 23, tzinfo=UTC)
STATIC = "static"


@dataclass(frozen=True)
class Share:
    """`p_mw` and `q_mvar` per unit of a series at bus number `bus`."""

    series: str
    bus: int
    p_mw: float = 0.0
    q_mvar: float = 0.0


def background(net: Any, spec: NetworkSpec, with_profiles: bool) -> Background:
    """Loads times growth and the generation that is not ours, mapped from their series to buses."""
    missing = sorted(set(spec.own_generation) - set(net.sgen.index))
    if missing:
        raise UnknownElement(f"own_generation: sgen {', '.join(map(str, missing))} does not exist")
    at = {int(b): i for i, b in enumerate(net.bus.index)}
    p: dict[str, Array] = {}
    q: dict[str, Array] = {}
    for share in (*_loads(net, spec, with_profiles), *_generation(net, spec, with_profiles), *_constant(net)):
        for values, value in ((p, share.p_mw), (q, share.q_mvar)):
            values.setdefault(share.series, np.zeros(len(at)))[at[share.bus]] += value
    ids = tuple(p)
    empty = np.zeros((0, len(at)))
    return Background(ids, np.array([p[s] for s in ids]) if ids else empty,
                      np.array([q[s] for s in ids]) if ids else empty)  # fmt: skip


def _loads(net: Any, spec: NetworkSpec, with_profiles: bool) -> Iterator[Share]:
    for _, row in in_service(net.load).iterrows():
        series = f"load:{text(row['profile'])}" if with_profiles else STATIC
        scale = -spec.load_growth * float(row.scaling)
        yield Share(series, int(row.bus), scale * float(row.p_mw), scale * float(row.q_mvar))


def _generation(net: Any, spec: NetworkSpec, with_profiles: bool) -> Iterator[Share]:
    """Static generators and machines; a source gives what the others leave, whatever its row says."""
    own = set(spec.own_generation)
    for number, row in in_service(net.sgen).iterrows():
        if number in own:
            continue
        series = f"gen:{text(row['profile'])}" if with_profiles else STATIC
        p_mw, q_mvar = float(row.scaling) * float(row.p_mw), float(row.scaling) * float(row.q_mvar)
        if series == STATIC or q_mvar == 0.0:
            yield Share(series, int(row.bus), p_mw, q_mvar)
        else:
            yield Share(series, int(row.bus), p_mw)
            yield Share(STATIC, int(row.bus), 0.0, q_mvar)
    for _, row in in_service(net.gen).iterrows():
        series = f"plant:{text(row['profile'])}" if with_profiles else STATIC
        yield Share(series, int(row.bus), float(row.scaling) * float(row.p_mw))


def _constant(net: Any) -> Iterator[Share]:
    for _, row in in_service(net.ward).iterrows():
        yield Share(STATIC, int(row.bus), -float(row.ps_mw), -float(row.qs_mvar))
    for _, row in in_service(net.dcline).iterrows():
        sent = abs(float(row.p_mw))
        arrives = sent * (1.0 - float(row.loss_percent) / 100.0) - float(row.loss_mw)
        begins, ends = (row.from_bus, row.to_bus) if row.p_mw > 0.0 else (row.to_bus, row.from_bus)
        yield Share(STATIC, int(begins), -sent)
        yield Share(STATIC, int(ends), arrives)


def series_of(net: Any, profiles: Mapping[str, pd.DataFrame]) -> tuple[dict[str, Series], dict[str, Array]]:
    """Every profile that a load, generator or machine of the net follows, qload of the load series, and "static".

    "static" is there where something follows it. Raises UnknownElement for a profile that is absent.
    """
    if not profiles:
        one = np.ones(366 * 96)
        return {STATIC: Series(STATIC, PROFILES_START, one)}, {STATIC: one}
    series: dict[str, Series] = {}
    reactive: dict[str, Array] = {}
    for name in _named(net.load):
        values, q = (_profile(profiles["load"], f"{name}_{kind}") for kind in ("pload", "qload"))
        series[f"load:{name}"] = Series(f"load:{name}", PROFILES_START, values)
        reactive[f"load:{name}"] = q
    for name in _named(net.sgen):
        values = np.clip(_profile(profiles["renewables"], name), 0.0, None)
        series[f"gen:{name}"] = Series(f"gen:{name}", PROFILES_START, values, upper=max(1.0, float(values.max())))
    for name in _named(net.gen):
        values = _profile(profiles["powerplants"], name)
        series[f"plant:{name}"] = Series(f"plant:{name}", PROFILES_START, values, lower=min(0.0, float(values.min())))
    if len(net.ward) or len(net.dcline) or (net.sgen.q_mvar != 0.0).any():
        one = np.ones(max((len(s.values) for s in series.values()), default=366 * 96))
        series[STATIC], reactive[STATIC] = Series(STATIC, PROFILES_START, one), one
    return series, reactive


def _named(table: pd.DataFrame) -> list[str]:
    """Profiles that a table's rows name; an empty table may lack the column."""
    return sorted({text(v) for v in table["profile"]}) if len(table) else []


def _profile(sheet: pd.DataFrame, column: str) -> Array:
    if column not in sheet:
        raise UnknownElement(f"profile {column!r} does not exist")
    return sheet[column].to_numpy(dtype=float)
