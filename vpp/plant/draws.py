"""Reproducible randomness: every draw is addressed by (seed, label, number), never by its turn.

Counter-based generator Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
the key is (seed, crc32(label)), the highest counter word is `number`, so that draws of one quarter do
not depend on which quarters were drawn before.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(seed: int, label: str, number: int) -> np.random.Generator:
    """The random stream of `label` at `number` (both non-negative 64-bit)."""
    key = np.array([seed, crc32(label.encode())], dtype=np.uint64)
    counter = np.array([0, 0, 0, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
