"""Evol Lab: a model writes harder and rarer instructions, checks throw out what went wrong."""
