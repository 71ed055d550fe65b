"""Public holidays of a country or one of its subdivisions, by year, from the `holidays` library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache

import holidays


def no_holidays(year: int) -> frozenset[date]:
    """Sundays are the only days off."""
    return frozenset()


@lru_cache(maxsize=64)
def holidays_of(country: str, subdivision: str | None = None) -> Callable[[int], frozenset[date]]:
    """Holidays of ISO 3166 `country` (and `subdivision`) as a function of the year; an empty code has none.

    Raises NotImplementedError that names a country or subdivision the library does not know.
    """
    if not country:
        return no_holidays
    holidays.country_holidays(country, subdiv=subdivision)

    @lru_cache(maxsize=64)
    def of_year(year: int) -> frozenset[date]:
        return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))

    return of_year
