"""One BLAS thread a process, as the command line sets it, and the same examples in every run.

The matrices are small, and the tests run side by side. `HYPOTHESIS_PROFILE=explore` draws new examples.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
