"""The serial link: 300 KB over a pty beside `mpremote fs cp` of the same bytes; the share of paced lines and a UART.

A paced line has flow control and a board that only hashes; the UART is an ESP32's, in virtual time.
"""

from __future__ import annotations

from statistics import median

from mpota_host.bench import uart
from mpota_host.bench.figure import AT_LEAST, Figure, spread
from mpota_host.bench.line import serial as wire
from mpota_host.bench.material import Material

BYTES = 300_000
BAUDS = (115200, 460800, 921600)
FASTER, SHARE = 50, 97
ROUNDS = 3


def measure(material: Material) -> list[Figure]:
    """The pty before and after the peer, then each paced line."""
    data = material.new[:BYTES]
    rates = [wire.measure(data)["bytes_per_s"] for _ in range(ROUNDS)]
    peer = wire.measure_fs_cp(data)["bytes_per_s"]
    rates += [wire.measure(data)["bytes_per_s"] for _ in range(ROUNDS)]
    found = [
        Figure(
            "300 KB, beside mpremote fs cp",
            median(rates) / peer,
            "x",
            AT_LEAST,
            FASTER,
            f"{median(rates) / 1e6:.1f} MB/s and {peer / 1e3:.1f} KB/s",
            {"bytes_per_s": spread(rates), "mpremote_bytes_per_s": peer},
        )
    ]
    for baud in BAUDS:
        seen = wire.measure(data, baud)
        note = f"{seen['bytes_per_s'] / 1000:.2f} KB/s in {seen['seconds']:.1f} s"
        found.append(Figure(f"payload at {baud} baud", 100 * seen["share_of_line"], "%", AT_LEAST, SHARE, note, seen))
    return found + uart.measure(material)
