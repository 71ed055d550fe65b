"""Contract rules of the demo portfolio. Trusted code: whoever can write this file can run anything.

`rules` is called once per run; docs/demo.md says what `plan` offers.
"""

MILLS = ("mill-1", "mill-2", "mill-3")


def rules(b, plan):
    """The cement works' connection contract: in the sharp band of the grid fee at most two mills run at once."""

    @b.Constraint(plan.between("17:00", "20:00"))
    def two_mills_in_the_sharp_band(b, t):
        return sum(plan.on[mill][t] for mill in MILLS) <= 2
