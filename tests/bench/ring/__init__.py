"""Rings: lookups, batches, building, movement, balance, and what Redis feels of a change."""
