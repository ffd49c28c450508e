"""Benchmarks of final answers: reading them, comparing them."""
