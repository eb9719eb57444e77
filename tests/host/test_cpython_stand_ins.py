"""CPython's stand-ins for MicroPython's modules do what the unix port's real modules do, error for error."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from mpota_host.sim.supervisor import unix_port

ROOT = Path(__file__).resolve().parents[2]

# Runs on both interpreters; prints one line for each case, which must be the same line.
HEAD = """
import io, sys
import deflate
from cryptolib import aes
from binascii import hexlify

class Stream(io.IOBase):
    def __init__(self, data):
        self.data, self.at, self.closed_by = data, 0, 0
    def readinto(self, buf):
        n = min(len(buf), len(self.data) - self.at)
        buf[:n] = self.data[self.at : self.at + n]
        self.at += n
        return n

class Shy:
    def readinto(self, buf):
        return 0

def case(name, call):
    try:
        out = call()
        print(name, hexlify(out) if isinstance(out, (bytes, bytearray)) else out)
    except Exception as e:
        print(name, type(e).__name__, e.args)
"""

DEFLATE = """
def all_of(data, format, wbits, step):
    s = Stream(data)
    d = deflate.DeflateIO(s, format, wbits)
    buf = bytearray(step)
    out = b""
    while True:
        n = d.readinto(buf)
        if not n:
            return out + b"|" + str(s.at).encode()
        out += buf[:n]

for name, data in GOOD:
    for step in (1, 7, 4096):
        case(name, lambda: all_of(data + b"BEHIND", FORMATS[name[:3]], WBITS[name[3:]], step))
    case("auto " + name, lambda: all_of(data, deflate.AUTO, 0, 64))
    for n in range(0, len(data), 5):
        case("short %d" % n, lambda: all_of(data[:n], FORMATS[name[:3]], WBITS[name[3:]], 64))

def through_read(n):
    s = Stream(GOOD[0][1] + b"BEHIND")
    d = deflate.DeflateIO(s, deflate.RAW, 15)
    return d.read(n) + d.read(n) + (b"" if n < 0 else d.read(-1)) + str(s.at).encode()

for n in (-1, 0, 1, 5):
    case("read", lambda: through_read(n))
def closed():
    d = deflate.DeflateIO(Stream(GOOD[0][1]), deflate.RAW, 15)
    d.close()
    return d.read()
case("closed", closed)
case("far", lambda: all_of(FAR, deflate.RAW, 9, 512))
case("near", lambda: all_of(FAR, deflate.RAW, 12, 512)[-8:])
case("default window", lambda: all_of(FAR, deflate.RAW, 0, 512))
case("garbage", lambda: all_of(b"\\x07\\xff\\xff\\xff", deflate.RAW, 15, 64))
case("not zlib", lambda: all_of(GOOD[0][1], deflate.ZLIB, 0, 64))
case("bad sum", lambda: all_of(GOOD[3][1][:-1] + b"\\0", deflate.ZLIB, 0, 64))
case("shy", lambda: deflate.DeflateIO(Shy(), deflate.RAW).read())
for wbits in (-1, 1, 4, 16):
    case("wbits", lambda: deflate.DeflateIO(Stream(b""), deflate.RAW, wbits))
for format in (-1, 4):
    case("format", lambda: deflate.DeflateIO(Stream(b""), format))
case("compress", lambda: hasattr(deflate.DeflateIO(Stream(b""), deflate.RAW), "write"))
case("constants", lambda: (deflate.AUTO, deflate.RAW, deflate.ZLIB, deflate.GZIP))
"""

AES = """
key, iv, text = bytes(range(16)), bytes(range(16, 32)), bytes(range(64))

def twice(mode, way, key):
    a = aes(key, mode, iv)
    call = getattr(a, way)
    return call(text[:16]) + call(text[16:])

for mode in (1, 2):
    for way in ("encrypt", "decrypt"):
        for k in (key, key + iv):
            case("%s %d" % (way, mode), lambda: twice(mode, way, k))
def into(n):
    out = bytearray(n)
    got = aes(key, 1).encrypt(text[:16], out)
    return got if got is out else b"another"
for n in (8, 16, 20):
    case("into %d" % n, lambda: into(n))
def in_place():
    buf = bytearray(text)
    aes(key, 2, iv).decrypt(buf, buf)
    return buf
case("in place", in_place)
def both():
    a = aes(key, 1)
    a.encrypt(text)
    return a.decrypt(text)
case("both", both)
case("ctr", lambda: aes(key, 6, iv))
case("mode", lambda: aes(key, 3))
for n in (0, 15, 24):
    case("key %d" % n, lambda: aes(bytes(n), 1))
case("no iv", lambda: aes(key, 2))
case("short iv", lambda: aes(key, 2, iv[:5]))
case("part", lambda: aes(key, 1).encrypt(text[:15]))
"""

VIPER = """
import micropython
from micropython import const

N = const(3)

@micropython.viper
def total(buf, n: int) -> int:
    p = ptr8(buf)
    t = 0
    for i in range(n):
        t += p[i]
        p[i] = t & 0xFF
    return t

@micropython.viper
def words(buf) -> int:
    p = ptr32(buf)
    p[1] = 0x01020304
    return p[0] + ptr16(buf)[0]

@micropython.native
def plain(n):
    return n + N

buf = bytearray(range(1, 9))
case("viper", lambda: total(buf, 8))
case("bytes", lambda: buf)
case("words", lambda: words(buf))
case("bytes", lambda: buf)
case("native", lambda: plain(4))
"""


def pack(format: int, wbits: int, data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, {1: -wbits, 2: wbits, 3: 16 + wbits}[format])
    return squeeze.compress(data) + squeeze.flush()


def deflate_inputs() -> str:
    text = b"the quick brown fox jumps over the lazy dog; the quick brown cat does not. " * 3
    stored = b"\x01\x05\x00\xfa\xffhello"
    good = [("raw15", pack(1, 15, text)), ("raw10", pack(1, 10, text)), ("rawst", stored)]
    good += [("zlb", pack(2, 15, text)), ("gzp", pack(3, 15, text))]
    # A match 2000 bytes back, which a window of 512 bytes cannot hold.
    noise = zlib.compress(bytes(i * i % 251 for i in range(4000)), 9)[:1900]
    far = pack(1, 15, noise + noise)
    names = "FORMATS = {'raw': 1, 'zlb': 2, 'gzp': 3}\nWBITS = {'15': 15, '10': 10, 'st': 15, '': 0}\n"
    return f"GOOD = {good!r}\nFAR = {far!r}\n{names}"


def lines(command: list[str], script: Path) -> list[str]:
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("body", "least"),
    [(deflate_inputs() + DEFLATE, 100), (AES, 20), (VIPER, 5)],
    ids=["deflate", "cryptolib", "micropython"],
)
def test_a_stand_in_gives_what_the_real_module_gives(body: str, least: int, tmp_path: Path) -> None:
    script = tmp_path / "cases.py"
    script.write_text("import sys\nif sys.implementation.name != 'micropython':\n    import mpota_host\n" + HEAD + body)
    command = [sys.executable, "-c", "import runpy, sys; sys.path.insert(0, '.'); runpy.run_path(sys.argv[1])"]
    ours, real = lines(command, script), lines([unix_port()], script)
    assert len(real) >= least
    for mine, true in zip(ours, real, strict=True):
        assert mine == true
