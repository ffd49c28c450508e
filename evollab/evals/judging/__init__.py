"""Benchmarks that a judge marks, and how far a judge is to be believed."""
