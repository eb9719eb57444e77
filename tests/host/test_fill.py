"""Chunks are as long as their room allows, whatever they hold and however they travel."""

import io
import random
import zlib
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpota.pipe.lzma import Lzma as Decoder
from mpota_boot.errors import Refused
from mpota_host.package.choose import EncodeOptions
from mpota_host.package.encode.fill import SECTORS, Deflate, Lzma, Plain, Raw, filled
from mpota_host.package.encode.group import HEAD, Group
from mpota_host.package.format import ROOMS, SECTOR

RAW, DEFLATE, LZMA = Raw(), Deflate(12), Lzma(12)
WAYS = [RAW, DEFLATE, LZMA, Lzma(16)]


def most(room, encrypted=False):
    return EncodeOptions(room=room, encrypted=encrypted).most()


def text(size, seed=1):
    """A little of it is new everywhere, so that it takes about a third."""
    words = [random.Random(i).randbytes(6) for i in range(60)]
    rnd = random.Random(seed)
    return b"".join(rnd.choice(words) + rnd.randbytes(1) for _ in range(size // 7 + 1))[:size]


def noise(size, seed=2):
    return random.Random(seed).randbytes(size)


def decoded(way, data):
    if isinstance(way, Deflate):
        machine = zlib.decompressobj(-way.wbits)
        out = machine.decompress(data)
        assert machine.eof and not machine.unused_data
        return out
    if isinstance(way, Lzma):
        decoder, buf = Decoder(way.wbits).open(io.BytesIO(data)), bytearray(1 << 17)
        return bytes(buf[: decoder.readinto(buf)])
    return data


SHAPES = {
    "empty but for a byte": b"x",
    "zeros": bytes(300_000),
    "text": text(150_001),
    "noise": noise(30_000),
    "both": text(20_000) + noise(9_000) + text(30_000, 3),
    "one sector": text(4096),
    "one sector and a byte": noise(4097),
}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("shape", list(SHAPES))
def test_chunks_of_every_kind_have_room_and_none_could_be_longer(shape, way, room):
    data, at = SHAPES[shape], 0
    for piece in filled(Plain(data), way, most(room, True)):
        end = at + piece.output
        assert decoded(way, piece.data) == data[at:end]
        assert len(piece.data) <= most(room, True) and piece.output <= SECTORS * SECTOR
        if end < len(data):
            assert piece.output % SECTOR == 0
            if piece.output < SECTORS * SECTOR:
                assert len(way.encode(data[at : end + SECTOR])) > most(room, True)
        at = end
    assert at == len(data)


def test_a_sector_of_noise_has_room_in_every_room():
    for room in ROOMS:
        for way in WAYS:
            pieces = filled(Plain(noise(40_960)), way, most(room, True))
            assert {piece.output for piece in pieces[:-1]} == {room} or pieces[0].output > room - SECTOR


def test_what_no_chunk_has_room_for_is_refused():
    for way in WAYS:
        with pytest.raises(Refused, match="there is room for 4000"):
            filled(Plain(noise(8192)), way, 4000)


@dataclass
class Watched(Plain):
    """Counts the sectors that it gives."""

    data: bytes
    given: int = 0

    def __post_init__(self):
        self.size = len(self.data)

    def cuts(self, start):
        for one in super().cuts(start):
            self.given += 1
            yield one


@pytest.mark.parametrize("way", [RAW, DEFLATE, LZMA], ids=str)
def test_a_chunk_looks_at_no_more_than_the_sector_behind_it(way):
    form = Watched(text(400_000))
    pieces = filled(form, way, most(8192))
    assert len(pieces) > 9 and form.given <= -(-form.size // SECTOR) + len(pieces) * (2 if way is LZMA else 1)


def test_compressing_goes_on_where_it_was(monkeypatch):
    """Bytes are given to deflate once each, but for those of the sector that did not fit."""
    seen = []

    class Run:
        def __init__(self, inner):
            self.inner = inner

        def compress(self, data):
            seen.append(len(data))
            return self.inner.compress(data)

        def copy(self):
            return Run(self.inner.copy())

        def flush(self):
            return self.inner.flush()

    monkeypatch.setattr(Deflate, "_begin", lambda self: Run(zlib.compressobj(9, zlib.DEFLATED, -self.wbits, 9)))
    data = text(300_000)
    pieces = filled(Plain(data), DEFLATE, most(16384))
    assert len(data) <= sum(seen) <= len(data) + len(pieces) * SECTOR


def test_a_window_is_no_larger_than_the_longest_stream():
    assert RAW.window([]) == 0 and Deflate(9).window([]) == 9
    for size, wbits in ((100, 12), (4096, 12), (4097, 13), (8192, 13), (65536, 16)):
        pieces = filled(Plain(bytes(size)), Lzma(16), most(4096))
        assert Lzma(16).window(pieces) == wbits and Lzma(14).window(pieces) == min(wbits, 14)


def test_sectors_are_no_more_than_were_asked_for():
    for sectors in (1, 3, SECTORS):
        pieces = filled(Plain(bytes(200_000)), DEFLATE, most(4096), sectors)
        assert {piece.output for piece in pieces[:-1]} == {sectors * SECTOR}


# Groups.

steps = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=300),
        st.tuples(st.integers(-(1 << 26), 1 << 26) | st.none(), st.binary(min_size=1, max_size=1024)),
        st.tuples(st.just(None), st.integers(1, 1024).map(bytes)),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_a_group_takes_what_its_head_has_room_for_and_is_as_it_was_where_it_has_none(steps):
    group = Group()
    for step in steps:
        before = group.encode(), bool(group), group.joins, group.olds
        if isinstance(step, bytes):
            took = group.fresh(step)
        else:
            seek, diff = step
            took = group.old(diff, seek if seek is not None or group.joins else 0)
        after = group.encode(), bool(group), group.joins, group.olds
        assert after != before if took else after == before
        a, b, c = (int.from_bytes(after[0][at : at + 2], "little") for at in (1, 3, 5))
        assert a + b + c <= HEAD and group
