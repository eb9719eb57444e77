"""One folder a chip, found by listing (registry.py): nothing outside a chip's folder names it."""
