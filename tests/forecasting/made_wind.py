"""Wind farms made by formula, in the layout of the GEFCom tables: a common wandering wind, a power curve, calms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.forecasting.made import walk

LEADS = np.arange(1, 49)


def truth(hours: int, farms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Components u, v (N, S) in m/s and the power (N, S) they give, between 0 and 1."""
    rng = np.random.default_rng(3)
    east, north = walk(rng, hours, 0.97), walk(rng, hours, 0.97)
    own = np.stack([walk(rng, hours, 0.9) for _ in range(2 * farms)], axis=1)
    u, v = 5 * east[:, None] + 1.5 * own[:, :farms], 5 * north[:, None] + 1.5 * own[:, farms:]
    power = np.clip((np.hypot(u, v) - 3) / 9, 0, 1) ** 1.5
    return u, v, np.clip(power + 0.05 * rng.standard_normal(power.shape) * (power > 0), 0, 1)


def write_tasks(folder: Path, first: str, hours: int, farms: int) -> pd.DataFrame:
    """The table of GEFCom2014 from the hour that ends at `first`; the weather is the truth with an error."""
    u, v, power = truth(hours, farms)
    noise = np.random.default_rng(4).standard_normal((4, hours, farms))
    zone, at = np.meshgrid(np.arange(1, farms + 1), np.arange(hours))
    table = pd.DataFrame({
        "zone": zone.ravel().astype(np.int8),
        "ts": (np.datetime64(first) + at.ravel() * np.timedelta64(1, "h")).astype("M8[us]"),
        "power_pu": power.ravel(),
        "u10": (0.7 * u + noise[0]).ravel(), "v10": (0.7 * v + noise[1]).ravel(),
        "u100": (u + noise[2]).ravel(), "v100": (v + noise[3]).ravel(),
    }).sort_values(["zone", "ts"])  # fmt: skip
    (folder / "gefcom2014").mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "gefcom2014/wind.parquet")
    return table


def write_issued(folder: Path, first: str, days: int, farms: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of GEFCom2012: hourly power, and runs at 00 and 12 whose error grows with the lead."""
    u, v, power = truth(24 * days + 48, farms)
    start, rng = np.datetime64(first).astype("M8[us]"), np.random.default_rng(5)
    rows = []
    for run in range(2 * days):
        for farm in range(farms):
            at = 12 * run + LEADS
            error = 0.03 * LEADS * rng.standard_normal((2, 1)) + 0.5 * rng.standard_normal((2, len(LEADS)))
            rows.append(pd.DataFrame({
                "farm": farm + 1, "issued": start + run * np.timedelta64(12, "h"), "hors": LEADS,
                "u": u[at, farm] + error[0], "v": v[at, farm] + error[1],
            }))  # fmt: skip
    weather = pd.concat(rows, ignore_index=True)
    metered = pd.DataFrame({f"wp{k + 1}": power[: 24 * days, k] for k in range(farms)})
    metered["ts"] = start + np.arange(24 * days) * np.timedelta64(1, "h")
    keep_issued(folder, metered, weather)
    return metered, weather


def keep_issued(folder: Path, metered: pd.DataFrame, weather: pd.DataFrame) -> None:
    """Write both tables of GEFCom2012."""
    (folder / "gefcom2012_wind").mkdir(parents=True, exist_ok=True)
    metered.to_parquet(folder / "gefcom2012_wind/power.parquet")
    weather.to_parquet(folder / "gefcom2012_wind/nwp.parquet")
