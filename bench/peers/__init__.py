"""One script for each peer: the same job, done as its documentation shows."""
