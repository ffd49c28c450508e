"""Talking to a model: an OpenAI-compatible server (`evol serve`) and a conversation in the terminal (`evol chat`)."""
