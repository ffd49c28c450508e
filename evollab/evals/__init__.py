"""Benchmarks: what they ask, where their data are, and whether training data hold any of it."""
