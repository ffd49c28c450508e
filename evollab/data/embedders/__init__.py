"""Embedders by name: each file has a function `load` that gives an `evollab.data.embed.Embedder`."""
