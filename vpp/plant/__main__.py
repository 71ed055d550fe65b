"""`python -m vpp.plant SPEC.json`: exit 2 with every fault of the spec on stderr, else live until told to leave."""

from __future__ import annotations

import sys
from pathlib import Path

from vpp.domain.errors import InputFaults
from vpp.plant.process import run_plant


def main() -> int:
    """Run the plant of the spec named on the command line."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m vpp.plant SPEC.json\n")
        return 2
    try:
        run_plant(Path(sys.argv[1]))
    except InputFaults as faults:
        sys.stderr.write(f"{faults}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
