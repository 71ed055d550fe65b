"""The reference engine in a process of its own, so that its import and its flows run beside the plan's.

One worker, started when it is asked to warm up or at the first verdict; it ends when its parent does,
because its pipe closes. A worker that died is started once more; a second death is an error.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from grid_models.compile import Switching
from grid_models.tables import Ints
from vpp.domain.errors import VppError
from vpp.domain.time import Array

if TYPE_CHECKING:
    from grid_models.pandapower_net import Reference

Answer = tuple[Array, Array] | None
Make = Callable[[], "Reference"]


class VerdictLost(VppError):
    """The reference engine's process died twice over one question."""


@dataclass(frozen=True)
class Question:
    """One step: switching state, net injections (B,) in MW and Mvar, taps (X,)."""

    switching: Switching
    p_mw: Array
    q_mvar: Array
    taps: Ints


class VerdictProcess:
    """Answers in the order of the questions: (vm_pu (B,), loading_pct (E,)), or None where `runpp` diverged."""

    def __init__(self, make: Make) -> None:
        """`make` builds the engine in the worker; it must be picklable."""
        self._make = make
        self._lock = threading.Lock()
        self._pipe: Connection | None = None
        self._process: SpawnProcess | None = None

    def warm_up(self) -> None:
        """Start the worker; its imports go on in the background."""
        with self._lock:
            self._connected()

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer per question. Raises VerdictLost."""
        with self._lock:
            for _ in range(2):
                pipe = self._connected()
                try:
                    pipe.send(list(questions))
                    answers: list[Answer] = pipe.recv()
                    return answers
                except (EOFError, OSError):
                    self._drop()
        raise VerdictLost("the reference engine's process ended twice")

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._drop()

    def _connected(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs, self._make), daemon=True)
            self._process.start()
            theirs.close()
        return self._pipe

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join()
        self._pipe = self._process = None


def serve(pipe: Connection, make: Make) -> None:
    """The worker: build the engine, answer until the other end closes."""
    engine = make()
    while True:
        try:
            questions: list[Question] = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send([engine.solve(engine.net(*q.switching), q.p_mw, q.q_mvar, q.taps) for q in questions])
