"""Whatever the bytes of a PIC32MZW1's files, manifests and HEX: a result, or an error with a name, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.store import control, database
from mpota_boot.errors import OtaError
from mpota_host.chips.pic32 import hexfile, inspector
from mpota_host.chips.pic32.binfile import LAYOUTS, binary
from tests.chips.pic32.test_pic32_service import entry
from tests.fuzz_targets import change

SLOT = hexfile.slot_of("3.7")
BIN = binary(b"\x12\x34" * 3000, SLOT.address)
ROWS = database.encode([database.row(f"image{i}.bin", i, sha256(b"%d" % i).digest()) for i in (1, 12, 100)]).encode()
MANIFEST = ('{"ota": [%s, {"Version": 2, "EraseVer": true}]}' % entry(3, BIN)).encode()


def hex_text() -> bytes:
    from intelhex import IntelHex

    found = IntelHex()
    found.frombytes(BIN[:600], SLOT.start)
    return hexfile.text(found)


def rows(data: bytes) -> None:
    """What is written of rows is read again as the same."""
    found = database.parse(data.decode("latin1"))
    whole = [row for row in found if row.whole]
    again = database.parse(database.encode(found))
    assert [(r.name, r.status, r.version, r.digest) for r in again] == [
        (r.name, r.status, r.version, r.digest) for r in whole
    ]
    assert all("/" not in row.name and len(row.digest) == 32 for row in whole)


def offer(data: bytes) -> None:
    for last in (False, True):
        found = manifest.parse(data, last).offer
        assert found is None or (0 < found.number <= manifest.NUMBERS and len(found.digest) == 32)


def page(data: bytes) -> None:
    found = control.Control.decode(data[: control.HEAD].ljust(control.HEAD, b"\xff"))
    assert found is None or 0 <= found.status < 256


def binary_of(data: bytes) -> None:
    assert len(hexfile.binary(hexfile.load(data), SLOT)) <= SLOT.size


TARGETS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "rows": (rows, [ROWS, b'"a,b.bin",FE,3,0x01,' + b"ab" * 32]),
    "offer": (offer, [MANIFEST, b'{"ota": []}', b'{"a": {"ota": [1]}, "ota": [{}]}']),
    "page": (page, [BIN[:256], control.Control(0xFC, 1, 18, SLOT.address).encode()]),
    "hex": (binary_of, [hex_text()]),
    "inspect": (inspector.explain, [BIN, BIN[:4096], ROWS, MANIFEST, hex_text()]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_a_surprise(name: str) -> None:
    call, good = TARGETS[name]
    edits = st.lists(st.tuples(st.integers(0, 7000), st.integers(0, 255)), max_size=6)
    changed = st.builds(
        change, st.sampled_from(good), edits, st.one_of(st.just(0), st.integers(0, 5000)), st.booleans()
    )
    ends = set()

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(changed, changed, st.binary(max_size=700)))
    def one(data: bytes) -> None:
        try:
            call(bytes(data))
            ends.add("taken")
        except OtaError as e:
            ends.add(e.code)

    one()
    for data in good:
        call(data)
    assert ends and LAYOUTS
