"""Curtailable generation: the wished power, no more than is available."""

from __future__ import annotations

import numpy as np

from dispatch.wish import Path, Wish


def follow(wish: Wish) -> Path:
    q = wish.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, wish.asset.tan_phi))) * wish.state.available
    return Path(np.clip(wish.wanted_mw, 0.0, np.clip(wish.inputs["available_mw"], 0.0, most)))
