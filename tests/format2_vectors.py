"""Wrote tests/vectors/format2 once: `python -m tests.format2_vectors FOLDER`. The key of its signatures is not kept.

Packages of every kind, and vectors.json: what each holds. Bytes that are there stay, whatever this writes today.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

import mpota_host  # noqa: F401  # MicroPython's stand-ins, for whoever runs this file by itself
from tests.format2 import reader, tables, writer
from tests.host.test_format2 import firmware

DEVICE = bytes(range(32))
FIELDS = {b"Chan": "bêta".encode(), b"From": bytes((0, 1, 0, 0, 0, 0, 0, 0)), b"Boot": b"\1\0", b"note": b"unknown"}
WIDE = b"".join(b"%d lines of a log, each a little longer\n" % n for n in range(3500))


def packages() -> dict[str, tuple[writer.Head, list[writer.Part], bytes]]:
    """(head, parts, base) by name."""
    old, new = firmware(functions=100), firmware([b"a function that is new", bytes(range(200))], functions=100)
    tree = writer.write_files({"app.py": b"VERSION = 2\n", "lib/": b"", "empty": b""}, {"font": 5000})
    several = [
        writer.Part(tables.FIRMWARE, "firmware", new, (tables.INFLATE, tables.XTENSA), old, 12, 3),
        writer.Part(tables.FILES, "files", tree, (tables.INFLATE,)),
        writer.Part(tables.RESOURCE, "font", WIDE[:5000], (tables.LZMA,)),
    ]
    sealed = [
        writer.Part(tables.FIRMWARE, "firmware", new, (tables.DECRYPT, tables.LZMA, tables.DELTA), old),
        writer.Part(tables.FILES, "files", tree, (tables.DECRYPT,)),
    ]
    found = {
        "old": ([writer.Part(tables.FIRMWARE, "firmware", old, (tables.LZMA,))], {}, b""),
        "raw": ([writer.Part(tables.RESOURCE, "raw", WIDE[:9000])], {}, b""),
        "wide": ([writer.Part(tables.RESOURCE, "wide", WIDE, (tables.INFLATE,), window=15)], {"room": 16384}, b""),
        "predicted": (
            [writer.Part(tables.FIRMWARE, "firmware", new, (tables.LZMA, tables.XTENSA), old, 14, 7)],
            {"room": 8192},
            old,
        ),
        "several": (several, {"fields": FIELDS}, old),
        "sealed": (sealed, {"fields": FIELDS, "secrets": [bytes(32), DEVICE]}, old),
    }
    return {
        name: (writer.Head("lamp", "esp32", (1, 2, 3, 4), **more), parts, base)
        for name, (parts, more, base) in found.items()
    }


def main(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=tables.RSA * 8)
    (folder / "release.pub").write_bytes(writer.modulus(key))
    rows = []
    for name, (head, parts, base) in packages().items():
        data = writer.write(head, parts, key)
        found = reader.read(data, [writer.modulus(key)], [DEVICE], [base])
        (folder / f"{name}.mpota").write_bytes(data)
        rows.append(
            {
                "name": name,
                "room": found.room,
                "fields": {field.decode(): value.hex() for field, value in found.fields.items()},
                "components": [
                    [part.kind, part.name, part.stages, len(part.data), sha256(part.data).hexdigest(), len(part.chunks)]
                    for part in found.components
                ],
            }
        )
    (folder / "vectors.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
