"""A provider is one file with one name in it, `connect`: what stands before the colon of a model."""
