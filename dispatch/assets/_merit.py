"""What a flexible load would do alone against a price: take most in the cheapest quarter, least in the dearest.

merit[t] = -most where price < its 25 % quantile, -least where price > its 75 % quantile, else the default
"""

from __future__ import annotations

import numpy as np

from vpp.domain.time import Array


def shifted(default: Array, price_eur_per_mwh: Array, least_mw: Array | float, most_mw: Array | float) -> Array:
    """Injection (T,) from the default (T,) and the least and most consumption, MW."""
    cheap, dear = np.quantile(price_eur_per_mwh, 0.25), np.quantile(price_eur_per_mwh, 0.75)
    spared = np.where(price_eur_per_mwh > dear, -np.asarray(least_mw), default)
    return np.asarray(np.where(price_eur_per_mwh < cheap, -np.asarray(most_mw), spared), dtype=float)
