"""A domain is one file here (or anywhere: --domain ./law.py) with one name in it, DOMAIN."""
