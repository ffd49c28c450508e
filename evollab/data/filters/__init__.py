"""Row filters by name: one file for each preset, with a `FILTER` in it (see `evollab/data/filtering.py`)."""
