"""Benchmarks of programs: extraction, tests, pass@k."""
