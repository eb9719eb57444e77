"""A second implementation of package format 2, written from device/mpota/pipe/FORMAT.md alone.

It shares no code with device/ or host/: what these two agree about is what the page says. Plain Python on the standard
library and `cryptography`; slow, and it holds whole packages in memory.
"""
