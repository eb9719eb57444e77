"""A BK7238: its files, its loader's model, its virtual board."""

# What boot.py takes out of the wiring for a person at the console.
CONSOLE = ("http_ota",)
