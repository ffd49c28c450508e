"""Blind pairwise preference: people read a prompt and two answers without names, and say which is better."""
