"""The wiring of an ESP32. ESP-IDF finds the partitions, so the shipped Board will do. Yours to change."""

from mpota_boot.board import Board  # noqa: F401  # boot.py, main.py and a host take it from here
