"""`vpp simulate` from request to JSON and HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp.service.outcome import evaluate, summary
from vpp.service.report_html import write_report
from vpp.service.settings import Settings
from vpp.service.simulate import Progress, Request, prepare, run


def simulate_and_report(
    request: Request, settings: Settings, oracle: bool, html: Path | None, progress: Progress
) -> dict[str, Any]:
    """Prepare or resume, run to the end, evaluate; the plant ends with the simulation."""
    simulation = prepare(request, settings, progress)
    run(simulation, progress)
    try:
        found = evaluate(simulation, oracle, progress)
        body = summary(simulation, found)
        if html is not None:
            write_report(html, simulation, found, body)
    finally:
        simulation.link.shutdown()
        simulation.system.store.close()
    return body
