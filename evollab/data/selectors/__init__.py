"""Ways to choose rows by name: one file for each, with a `SELECTOR` in it (see `evollab/data/selecting.py`)."""
