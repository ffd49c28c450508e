"""evollab: seeds in, instruction data and models out (Evol-Instruct and what followed it)."""

__version__ = "0.1.0"
