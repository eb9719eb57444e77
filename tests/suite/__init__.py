"""Plugins of pytest that make a run of the tests believable; `tests/conftest.py` registers them."""
