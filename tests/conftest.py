"""One BLAS thread a process, as the command line sets it: the matrices are small, and the tests run side by side."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
