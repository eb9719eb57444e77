"""Puts MicroPython's stand-ins on CPython's path before any test module imports device code."""

import host  # noqa: F401
