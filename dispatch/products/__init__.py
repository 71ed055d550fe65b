"""Market products and contracts, each stated as a `Block` over the assets' net injections."""
