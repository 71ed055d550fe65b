"""Linear quantile regression that leaves out what does not help (the LASSO), all levels at once.

For weights w and levels a it minimises over the coefficients b

    sum_i w_i rho_a(y_i - z_i b) + ABSOLUTE |b|_1 + SQUARE |b|_2^2 / 2,   rho_a(r) = |r| / 2 + (a - 1/2) r

(Koenker and Bassett, Econometrica 46, 1978; Belloni and Chernozhukov, Annals of Statistics 39(1), 2011) by the
majorise-minimise steps of Hunter and Lange (Journal of Computational and Graphical Statistics 9(1), 2000): |r| lies
under r^2 / 2c + c / 2 with c the last |r|, and |b| likewise, so each step is one linear system a level. c is kept
from zero by a softness that shrinks from step to step.
"""

from __future__ import annotations

import numpy as np

from vpp.domain.time import Array

ABSOLUTE = 0.003
SQUARE = 0.001
STEPS = 12
SOFT_FIRST, SOFT_LAST = 0.3, 0.01
_TINY = 1e-9


def coefficients(z: Array, y: Array, weight: Array, levels: Array) -> Array:
    """Coefficients (L, P) on `z` (R, P), whose last column is the constant and is not shrunk.

    `z` and `y` (R,) have deviation near 1; `weight` (R,) are positive.
    """
    w = weight / weight.sum()
    free = np.append(np.ones(z.shape[1] - 1), 0.0)
    start = np.linalg.solve((z.T * w) @ z + np.diag(SQUARE * free + _TINY), z.T @ (w * y))
    unit = max(float(np.sqrt(w @ (y - z @ start) ** 2)), _TINY)
    b: Array = np.tile(start, (len(levels), 1))
    single = z.astype(np.float32)
    pull = (levels[:, None] - 0.5) * (w @ z)
    diagonal = np.arange(z.shape[1])
    for step in range(STEPS):
        soft = unit * SOFT_FIRST * (SOFT_LAST / SOFT_FIRST) ** min(1.0, step / (0.7 * STEPS))
        curve = w / (2.0 * (np.abs(y - b @ z.T) + soft))
        hessian = np.stack([(single.T * c) @ single for c in curve.astype(np.float32)]).astype(float)
        hessian[:, diagonal, diagonal] += free * (SQUARE / unit + ABSOLUTE / (np.abs(b) + 1e-3 * unit)) + _TINY
        right = (curve * y) @ z + pull
        b = np.linalg.solve(hessian, right[:, :, None])[:, :, 0]
    return b
