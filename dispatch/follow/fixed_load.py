"""Fixed load: what it takes, whatever is wished."""

from __future__ import annotations

import numpy as np

from dispatch.wish import Path, Wish


def follow(wish: Wish) -> Path:
    return Path(-np.asarray(wish.inputs["load_mw"], dtype=float))
