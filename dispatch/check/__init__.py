"""Independent re-check of a schedule: physics restated from the equations, nothing read from the blocks.

Taken from the schedule: power, commitment and decisions. Taken from elsewhere: parameters, initial
states, exogenous inputs. Everything else is recomputed step by step; reported contents and derived
decisions are compared with the recomputed ones and never used.

A store that begins outside its window may stay on the curve it would follow untouched, and standing loss
may carry any store below it. What is out of service is off or at its default. Sources: those of the
kinds, whose equations these are; each kind is one file here.
"""

from dispatch.check.contracts import check_contracts
from dispatch.check.registry import RECOMPUTE
from dispatch.check.tools import Plan, Recomputed
from dispatch.check.whole import check_schedule, plans, recompute

__all__ = ["RECOMPUTE", "Plan", "Recomputed", "check_contracts", "check_schedule", "plans", "recompute"]
