"""Features of wind power from the wind that is forecast around a target, at the farm and at its neighbours.

A weather forecast errs in time and place: the hours before and after a target and the wind at other farms say where
a front really is. The farm's own columns are, at hub height (the last height), speed s = sqrt(u^2 + v^2), its
components and direction u/s and v/s, the ratio of the speeds at the outer heights (shear) and the angle between them
(veer), speeds of the hours around, their means and deviations over 3, 7 and 13 h, and the mean speed of all farms.
The columns `field_*` are u, v and s of all farms at a few hours, to be reduced by the model to their main patterns.
Where many farms are learnt together, `farm_columns` lets each have a power curve of its own: farm indicators alone
and times speed, min(s, 12 m/s)^2 and direction.

Neighbours, lags and leads are what the winners of GEFCom2014 used (Landry et al., International Journal of
Forecasting 32(3), 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from forecasting.features import Extra
from vpp.domain.errors import LookAhead
from vpp.domain.time import Array

REACH_H = 6
OFFSETS_H: tuple[int, ...] = tuple(range(-REACH_H, REACH_H + 1))
FIELD_OFFSETS_H: tuple[int, ...] = (-6, -3, -1, 0, 1, 3, 6)
_OWN_OFFSETS_H: tuple[int, ...] = (-6, -4, -3, -2, -1, 1, 2, 3, 4, 6)
RECENT_H = 6
PAST_H = 6
_RATED_MPS = 12.0
_CALM_MPS = 0.1


@dataclass(frozen=True)
class WindAround:
    """Components u, v (R, O, S, H) in m/s at hours OFFSETS_H around R targets, S farms and H rising heights.

    An hour beyond the reach of the weather forecast is read as the nearest one inside it.
    """

    u: Array
    v: Array

    def __post_init__(self) -> None:
        if self.u.shape != self.v.shape or self.u.shape[1] != len(OFFSETS_H):
            raise ValueError(f"components {self.u.shape} and {self.v.shape} are not of {len(OFFSETS_H)} hours")
        object.__setattr__(self, "u", _held(self.u))
        object.__setattr__(self, "v", _held(self.v))

    @property
    def speed(self) -> Array:
        """Speed (R, O, S, H) in m/s."""
        speed: Array = np.hypot(self.u, self.v)
        return speed


def _held(component: Array) -> Array:
    held = component.copy()
    for k in range(1, REACH_H + 1):
        for at, inner in ((REACH_H - k, REACH_H - k + 1), (REACH_H + k, REACH_H + k - 1)):
            held[:, at] = np.where(np.isfinite(held[:, at]), held[:, at], held[:, inner])
    return held


def own_columns(wind: WindAround, farm: int) -> Extra:
    """Columns (R, F) of farm number `farm`."""
    named = dict(_own(wind, farm))
    return Extra(tuple(named), np.stack(list(named.values()), axis=1))


def _own(wind: WindAround, farm: int) -> Iterator[tuple[str, Array]]:
    speed = wind.speed
    u, v, s = wind.u[:, :, farm], wind.v[:, :, farm], speed[:, :, farm]
    here, hub = s[:, REACH_H, -1], s[:, :, -1]
    yield "speed", here
    yield "u", u[:, REACH_H, -1]
    yield "v", v[:, REACH_H, -1]
    yield "direction_u", u[:, REACH_H, -1] / (here + _CALM_MPS)
    yield "direction_v", v[:, REACH_H, -1] / (here + _CALM_MPS)
    if s.shape[2] > 1:
        yield "speed_low", s[:, REACH_H, 0]
        yield "shear", here / (s[:, REACH_H, 0] + _CALM_MPS)
        yield "veer", _angle(u[:, REACH_H], v[:, REACH_H])
    for offset in _OWN_OFFSETS_H:
        yield f"speed{offset:+d}h", hub[:, REACH_H + offset]
        yield f"u{offset:+d}h", u[:, REACH_H + offset, -1]
        yield f"v{offset:+d}h", v[:, REACH_H + offset, -1]
    for width in (1, 3, 6):
        window = hub[:, REACH_H - width : REACH_H + width + 1]
        yield f"mean_{2 * width + 1}h", window.mean(axis=1)
        yield f"deviation_{2 * width + 1}h", window.std(axis=1)
    yield "change_2h", hub[:, REACH_H + 1] - hub[:, REACH_H - 1]
    yield "mean_farms", speed[:, REACH_H, :, -1].mean(axis=1)
    yield "mean_farms_5h", speed[:, REACH_H - 2 : REACH_H + 3, :, -1].mean(axis=(1, 2))


def _angle(u: Array, v: Array) -> Array:
    angle: Array = np.arctan2(u[:, 0] * v[:, -1] - v[:, 0] * u[:, -1], u[:, 0] * u[:, -1] + v[:, 0] * v[:, -1])
    return angle


def field_columns(wind: WindAround) -> Extra:
    """Hub-height u, v and speed of all farms at FIELD_OFFSETS_H as columns `field_*` (R, F)."""
    at = [REACH_H + k for k in FIELD_OFFSETS_H]
    parts = {"u": wind.u[..., -1][:, at], "v": wind.v[..., -1][:, at], "speed": wind.speed[..., -1][:, at]}
    names = [
        f"field_{part}_{farm}{offset:+d}h" for part, values in parts.items()
        for offset in FIELD_OFFSETS_H for farm in range(values.shape[2])
    ]  # fmt: skip
    return Extra(tuple(names), np.concatenate([p.reshape(len(p), -1) for p in parts.values()], axis=1))


def farm_columns(own: Extra, farm: int, farms: int) -> Extra:
    """Indicators of the farm, alone and times what bends its power curve: (R, 5 farms)."""
    speed, u, v = (own.x[:, own.names.index(n)] for n in ("speed", "direction_u", "direction_v"))
    bends = {"": np.ones(len(speed)), "_speed": speed, "_squared": np.minimum(speed, _RATED_MPS) ** 2, "_u": u, "_v": v}
    x = np.zeros((len(speed), len(bends), farms))
    x[:, :, farm] = np.stack(list(bends.values()), axis=1)
    names = tuple(f"farm_{k}{bend}" for bend in bends for k in range(farms))
    return Extra(names, x.reshape(len(speed), -1))


def power_columns(power: Array, farm: int, issue: Index, target: Index) -> Extra:
    """What the past power (N, S) of the farms says at hours `issue` of `target` (R,), counted from its first.

    An hour's power is known when it is over. `persistence` is the last known hour for leads below RECENT_H, the same
    hour of the last known day for later ones. Hours before the first are NaN.
    """
    last, ago = issue - 1, 24 * ((target - issue) // 24 + 1)
    recent = target - issue < RECENT_H
    own = KnownPower(power[:, farm], issue)
    named = {"persistence": own.at(np.where(recent, last, target - ago))}
    named |= {f"power_{k}h_ago": own.at(issue - k) for k in range(1, PAST_H + 1)}
    named |= {"power_change": named["power_1h_ago"] - named["power_3h_ago"]}
    named |= {f"power_farm_{k}": KnownPower(power[:, k], issue).at(last) for k in range(power.shape[1])}
    return Extra(tuple(named), np.stack(list(named.values()), axis=1))


@dataclass(frozen=True)
class KnownPower:
    """Hourly values (N,) of which those before hour `issue` (R,) are known."""

    values: Array
    issue: Index

    def at(self, hour: Index) -> Array:
        """Values at `hour` (R,). Raises LookAhead for one that was not over at its issue."""
        if np.any(hour >= self.issue):
            raise LookAhead(f"a feature asked for power {int(np.max(hour - self.issue)) + 1} h past what was known")
        return np.where(hour >= 0, self.values[np.maximum(hour, 0)], np.nan)


def hour_columns(minute: Index) -> Extra:
    """Sine and cosine of the time of day of `minute` (R,) since 1970."""
    angle = 2 * np.pi * (minute % 1440) / 1440
    return Extra(("hour_sin", "hour_cos"), np.stack([np.sin(angle), np.cos(angle)], axis=1))


def side_by_side(parts: list[Extra]) -> Extra:
    """All columns of `parts` of the same rows."""
    return Extra(tuple(n for p in parts for n in p.names), np.concatenate([p.x for p in parts], axis=1))
