"""Chunks of the lzma stage as the host makes them, and the device's decoder held against the standard library's.

Where the standard library takes a stream, the device's decoder gives the same bytes; where it does not, neither does
the device. The streams are whole ones and ones that were cut, extended and flipped.
"""

import hashlib
import random
from io import BytesIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpota.pipe.lzma import ENDLESS, LC, Lzma
from mpota_host.board.flash import compile_mpy
from mpota_host.package.encode import lzma_chunk
from mpota_host.package.encode.lzma_chunk import PB, PLAIN, decode, encode, encode_with
from mpota_host.registry import prepare
from mpota_host.sim.board import real_firmware
from mpota_host.sources import CHECKOUT as ROOT

PRIMES = (1, 2, 3, 5, 7, 127, 509, 1021, 4093)


def device(stream, wbits=12, lc=LC):
    """What the device's decoder makes of a stream, in uneven pieces."""
    decoder = Lzma(wbits, lc).open(BytesIO(stream))
    out, size = b"", 1
    while n := decoder.readinto(buf := bytearray(size)):
        out += buf[:n]
        size = size % 700 + 97
    return out


def verdict(call, *args):
    try:
        return call(*args)
    except (ValueError, EOFError):
        return None


@pytest.fixture(scope="module")
def firmware():
    return bytes(prepare("esp32", real_firmware("0831").read_bytes())[0])


def compressible(seed, n):
    """Words that come again, with noise between them."""
    rnd = random.Random(seed)
    words = [rnd.randbytes(rnd.randrange(1, 30)) for _ in range(20)]
    out = b""
    while len(out) < n:
        out += rnd.choice(words) + rnd.randbytes(rnd.randrange(3))
    return out[:n]


@pytest.mark.parametrize("n", PRIMES)
def test_chunks_of_any_length_come_back(n):
    for data in (compressible(n, n), bytes(n), random.Random(n).randbytes(n)):
        stream = encode(data, 12)
        assert decode(stream, 12) == device(stream) == data
        assert len(stream) <= n + 4


def test_nothing_at_all_comes_back():
    stream = encode(b"", 12)
    assert stream == bytes([PLAIN, 0, 0, 0])
    assert decode(stream, 12) == device(stream) == b""


@pytest.mark.parametrize("lc", range(LC + 1))
@pytest.mark.parametrize("pb", PB)
def test_all_props_that_are_tried_decode(lc, pb, firmware):
    data = firmware[70000:73001]
    stream = encode_with(data, 12, lc, pb)
    assert stream[0] == lc + 45 * pb
    assert decode(stream, 12) == device(stream) == data


@pytest.mark.parametrize("wbits", range(12, 17))
def test_a_window_smaller_than_the_data_comes_back(wbits):
    data = compressible(wbits, 500) + random.Random(1).randbytes(6000) + compressible(wbits, 500) * 3
    data += bytes(9000) + data
    stream = encode(data, wbits)
    assert decode(stream, wbits) == device(stream, wbits) == data
    assert device(stream, 16) == data


def test_the_smallest_of_the_tried_ones_is_taken(firmware):
    data = firmware[500000:516384]
    sizes = {(lc, pb): len(encode_with(data, 14, lc, pb)) for lc in range(LC + 1) for pb in PB}
    stream = encode(data, 14)
    assert len(stream) == min(sizes.values()) < len(data)
    assert len(set(sizes.values())) > 1
    assert sizes[stream[0] % 45, stream[0] // 45] == len(stream)


def test_what_does_not_shrink_travels_plain():
    data = random.Random(3).randbytes(65536)
    stream = encode(data, 16)
    assert stream == bytes([PLAIN, 0, 0, 1]) + data
    assert device(stream, 16) == data


def test_the_same_bytes_give_the_same_stream(firmware):
    # The bytes that liblzma 5.4 writes; another release may choose other matches, and then says so here.
    one, two = encode(firmware[:16384], 14), encode(firmware[:16384], 14)
    assert one == two
    assert decode(one, 14) == firmware[:16384]


def test_more_than_a_length_can_say_is_refused():
    with pytest.raises(ValueError, match="wanted at most"):
        encode(bytes(lzma_chunk.LONGEST + 1), 12)
    for wbits in (11, 17):
        with pytest.raises(ValueError, match="wanted at most"):
            encode(b"x", wbits)


# Sizes of the links that join chunks are not counted here.
@pytest.mark.parametrize("chunk,wbits,percent", [(16384, 14, 63.2), (65536, 16, 60.8)])
def test_a_firmware_shrinks_as_much_as_was_measured(chunk, wbits, percent, firmware):
    part = range(0, len(firmware), chunk)
    streams = [encode(firmware[off : off + chunk], wbits) for off in part]
    assert 100 * sum(map(len, streams)) / len(firmware) <= percent
    digest = hashlib.sha256()
    for stream in streams:
        digest.update(decode(stream, wbits))
    assert digest.digest() == hashlib.sha256(firmware).digest()


def mutations(stream):
    """A stream with one thing wrong: cut, extended, a bit flipped, a byte set, a piece twice."""
    place = st.integers(0, len(stream) - 1)
    return st.one_of(
        place.map(lambda at: stream[:at]),
        st.binary(min_size=1, max_size=9).map(lambda more: stream + more),
        st.tuples(place, st.integers(0, 7)).map(
            lambda x: stream[: x[0]] + bytes([stream[x[0]] ^ 1 << x[1]]) + stream[x[0] + 1 :]
        ),
        st.tuples(place, st.integers(0, 255)).map(lambda x: stream[: x[0]] + bytes([x[1]]) + stream[x[0] + 1 :]),
        st.tuples(place, place).map(lambda x: stream[: x[0]] + stream[x[1] :]),
    )


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 60), st.sampled_from([1, 13, 150, 611]))
def test_a_wrong_stream_is_judged_as_the_standard_library_judges_it(data, seed, n):
    stream = data.draw(mutations(encode(compressible(seed, n), 12)))
    assert verdict(device, stream) == verdict(decode, stream, 12)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(lc, pb) for lc in range(LC + 1) for pb in range(3)]), st.integers(0, 900), st.binary(max_size=300)
)
@example((0, 0), 0, bytes(4))
@example((1, 2), 1, b"\xff" * 40)
def test_noise_is_judged_as_the_standard_library_judges_it(props, n, noise):
    stream = bytes([props[0] + 45 * props[1], n & 255, n >> 8, 0]) + noise
    assert verdict(device, stream) == verdict(decode, stream, 12)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 30), st.sampled_from([12, 14]))
def test_what_the_host_makes_the_device_decodes(piece, times, wbits):
    data = (piece * times)[:3000]
    stream = encode(data, wbits)
    assert device(stream, wbits) == decode(stream, wbits) == data


class Chunks:
    """What a stage is told."""

    class part:
        wbits = 12

    def __init__(self, stream):
        self.ram = BytesIO(b"L" * 36 + stream + b"an older chunk's bytes")
        self.ram.seek(36)
        self.stored = 36 + len(stream)


def test_the_standard_library_stands_in_for_the_stage_and_reads_as_far():
    data = compressible(5, 9000)
    slow = lzma_chunk.decoder.stage
    for make in (slow, lzma_chunk.stage):
        chunks = Chunks(encode(data, 12))
        src = make(chunks)(chunks.ram)
        buf = bytearray(len(data) + 1)
        assert src.readinto(buf) == len(data) and src.readinto(buf) == 0
        assert buf[:-1] == data and chunks.ram.tell() == chunks.stored
        src.close()
    for make in (slow, lzma_chunk.stage):
        chunks = Chunks(encode(data, 12)[:-1])
        src = make(chunks)(chunks.ram)
        with pytest.raises((ValueError, EOFError)):
            while src.readinto(bytearray(999)):
                pass


def test_a_source_that_ends_by_itself_is_read_to_its_end():
    stream = encode(compressible(6, 900), 12)
    for make in (lambda src: Lzma(12).open(src, ENDLESS), lzma_chunk.stage(Chunks(b""))):
        src = BytesIO(stream)
        decoder = make(src)
        assert decoder.readinto(bytearray(900)) == 900
        assert src.tell() == len(stream)


def test_the_decoder_keeps_to_its_bytes():
    for arch in ("xtensawin", "x64", "armv6m", "rv32imc"):
        assert 4000 < len(compile_mpy(ROOT / "device" / "mpota" / "pipe" / "lzma.py", arch)) <= 7680, arch
