"""Records at rest: reading seeds and conversations of any common shape, exporting training data."""
