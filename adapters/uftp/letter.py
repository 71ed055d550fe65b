"""A message of ours, ready to be kept and sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Letter:
    """What we say to `peer`, as the XML that will be signed; `kind` is the library's name of it."""

    id: str
    peer: str
    kind: str
    conversation: str
    xml: str
