"""The products by name, in the order of their blocks: one line a product."""

from __future__ import annotations

from typing import cast

from dispatch.product import Product
from dispatch.products import (
    connection_limit,
    demand_charge,
    dr_call,
    energy,
    grid_fee,
    microgrid,
    operating_envelope,
    reserve,
)

PRODUCTS: dict[str, Product] = {
    "energy": cast(Product, energy),
    "grid_fee": cast(Product, grid_fee),
    "dr_call": cast(Product, dr_call),
    "connection_limit": cast(Product, connection_limit),
    "operating_envelope": cast(Product, operating_envelope),
    "microgrid": cast(Product, microgrid),
    "demand_charge": cast(Product, demand_charge),
    "reserve": cast(Product, reserve),
}
