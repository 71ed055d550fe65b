"""How wind farms are forecast: all farms of a region in one table, told apart by the column `series`.

The naive models look at each farm alone; the networks learn all farms together, blind to the columns that only the
naive models go by. Fewer patterns of the wind field serve where there are months of history and few farms: chosen on
the first quarter of 2010 of GEFCom2012.
"""

from __future__ import annotations

from forecasting.fitted import Bounds, Scheme
from forecasting.gates import Horizon
from forecasting.models.by_series import by_series
from forecasting.models.model import Fit
from forecasting.models.network import network
from forecasting.schemes import LEAD_EDGES, NAIVE

SERIES = "series"
NOT_WEATHER = (SERIES, "of_day", "weekday", "day_class")
MONTH_MEMBERS = 8
ISSUED_PATTERNS = 8
MOST_ROWS = 300_000


def wind_month() -> Fit:
    """Networks that are trained once for a whole month."""
    return network(NOT_WEATHER, members=MONTH_MEMBERS)


def wind_issued(horizon: Horizon) -> Scheme:
    """Networks beside the naive models, for power as a share of the capacity."""
    naive = {name: by_series(fit, SERIES) for name, fit in NAIVE.items()}
    learnt = {"network": network(NOT_WEATHER, patterns=ISSUED_PATTERNS)}
    return Scheme({**naive, **learnt}, len(naive), LEAD_EDGES[horizon], Bounds(0.0, 1.0), most_rows=MOST_ROWS)
