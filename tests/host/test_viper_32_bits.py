"""The lzma decoder on the integers of an ESP32: 32 bits, where the unix port has 64.

The decoder's own viper code runs here with every number wrapped as a board wraps it (viper32.py), over streams of
liblzma, streams no compressor writes, and noise. That this can fail is shown by code that is right on 64 bits only.
"""

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from mpota.pipe import lzma
from tests.core.test_lzma import numbers, take, vectors
from tests.host import viper32
from tests.lzma_maker import Maker

PATH = Path(lzma.__file__)
TEXT = PATH.read_text()


def judged(names, stream, wbits=12, lc=3):
    """What a decoder makes of a stream, or the kind of its error."""
    try:
        return take(names["Lzma"](wbits, lc).open(BytesIO(stream)))
    except (ValueError, EOFError) as e:
        return type(e)


@pytest.fixture(scope="module")
def board():
    return viper32.load(PATH, 32)


def corpus():
    """(window bits, stream): the short ones of liblzma, a wrap of the window, ranges and codes of 32 bits, errors."""
    for i, (wbits, length, _, stream) in enumerate(vectors()):
        if length == 12289 or (length < 2100 and i % 3 == 0):
            yield wbits, stream
    maker = Maker(1, 2)
    for i in range(120):
        maker.literal(i * 89 & 255).match(i // 2 + 1, 2 + i).again(min(i, 3) and i % 4, 3).short()
    yield 16, maker.chunk()
    for far in (1 << 16, 1 << 31, (1 << 31) + 1, (1 << 32) - 1):
        yield 16, Maker().literal(1).match(far, 2).chunk()
    for seed in range(40):
        head = bytes([seed % 3 + 45 * (seed % 2), seed, 3, 0])
        yield 12, head + (b"\xff\xff\xff\xff" if seed % 4 == 0 else b"") + numbers(seed + 1, 900)


def test_the_decoder_is_the_same_on_32_bits(board):
    seen = []
    for wbits, stream in corpus():
        out = judged(board, stream, wbits)
        assert out == judged(vars(lzma), stream, wbits)
        seen.append(type(out))
    assert seen.count(bytes) >= 6 and seen.count(type) >= 40


def test_what_liblzma_made_decodes_on_32_bits(board):
    count = 0
    for wbits, length, sha, stream in vectors():
        if length < 2100:
            assert sha256(judged(board, stream, wbits)).digest() == sha
            count += 1
    assert count == 13


def test_a_marker_is_seen_on_32_bits(board):
    decoder = board["Lzma"](12, 3)
    decoder.src = BytesIO(Maker().literal(65).match(1, 3).marker().done())
    decoder.more = lzma.ENDLESS
    decoder.begin(0, lzma.ENDLESS)
    assert take(decoder) == b"AAAA"


# Each is right, or nearly always, where integers have 64 bits.
UNSAFE = {
    "range and code are signed": lambda text: text.replace("r: uint", "r: int").replace("uint(", "int("),
    "the range is shifted as a signed number": lambda text: text.replace(" (r >> 11) * p", " uint(int(r) >> 11) * p"),
    "code and range are compared as signed numbers": lambda text: text.replace("if c < r:", "if int(c) < int(r):"),
    "the direct bits compare signed": lambda text: text.replace("if c >= r:", "if int(c) >= int(r):"),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_code_that_is_right_on_64_bits_only_is_found(what):
    text = UNSAFE[what](TEXT)
    assert text != TEXT
    _, _, sha, stream = next(vectors())
    wide = viper32.load(PATH, 64, text)
    assert sha256(judged(wide, stream)).digest() == sha
    narrow = viper32.load(PATH, 32, text)
    assert any(judged(narrow, stream, wbits) != judged(vars(lzma), stream, wbits) for wbits, stream in corpus())


# A copy that ends with the match and not with the window, probabilities that are a few short.
BEYOND = {"            k = lim - pos\n": "            k = n\n", "1536 << lc": "1530 << lc"}


@pytest.mark.parametrize("wrong", BEYOND)
def test_an_access_outside_a_buffer_is_found(wrong):
    assert wrong in TEXT
    names = viper32.load(PATH, 32, TEXT.replace(wrong, BEYOND[wrong]))
    with pytest.raises(viper32.Outside):
        for wbits, stream in corpus():
            judged(names, stream, wbits)


def test_numbers_wrap_and_compare_as_viper_says():
    scope = viper32._machine(32)
    number, natural, ptr8 = scope["int"], scope["uint"], scope["ptr8"]
    assert number(0x7FFFFFFF) + number(1) == number(-0x80000000)
    assert natural(0) - number(1) == natural(0xFFFFFFFF)
    assert natural(0x80000000) >> number(31) == natural(1)
    assert number(-0x80000000) >> number(31) == number(-1)
    assert type(number(1) + natural(1)) is number and type(natural(1) * number(3)) is natural
    with pytest.raises(TypeError):
        assert natural(1) < number(2)
    memory = bytearray(2)
    ptr8(memory)[1] = number(-1)
    assert memory == b"\0\xff"
    for i in (-1, 2):
        with pytest.raises(viper32.Outside):
            ptr8(memory)[i]
