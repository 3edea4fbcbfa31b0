"""Rings: lookups, building, movement, balance, what Redis feels; and balancers' picks."""
