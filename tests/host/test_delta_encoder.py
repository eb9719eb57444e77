"""What mpota_host/delta.py writes, the device's stage decodes on both interpreters; and it writes little."""

import hashlib
import io
import json
import lzma
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpota.pipe import delta as stage
from mpota.pipe import xtensa
from mpota_boot.errors import Refused
from mpota_host.package.encode import delta
from mpota_host.registry import prepare
from mpota_host.sim.board import real_firmware
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import port_environment

ROOT = Path(__file__).resolve().parents[2]
WBITS = 12
LINK = 36


class Flash:
    """The least of a Flash."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, off, buf):
        assert 0 <= off <= off + len(buf) <= self.size and len(buf) <= stage.PAGE
        buf[:] = self.data[off : off + len(buf)]


def decode(old, streams, size, chunk, module=stage):
    """What the stage makes of the streams of an image of `size` bytes."""
    part = SimpleNamespace(base_size=len(old))
    chunks = SimpleNamespace(base=Flash(old), chunk=chunk, index=0, left=0, part=part)
    open, out = module.stage(chunks), b""
    for i, stream in enumerate(streams):
        chunks.index, chunks.left = i + 1, min(chunk, size - i * chunk)
        buf = bytearray(chunks.left)
        src = open(io.BytesIO(stream))
        assert src.readinto(buf) == len(buf) and not src.readinto(bytearray(1))
        out += buf
    return out


@pytest.fixture(scope="module")
def pair():
    return tuple(bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831"))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "predicted"])
def planned(request, pair):
    """The real update and the stage that it needs."""
    return delta.plan(*pair, 16384, request.param), xtensa if request.param else stage


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -WBITS, 9)
    return packer.compress(data) + packer.flush()


def lzma_of(data):
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 65536, "lc": 3, "lp": 0, "pb": 0}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def test_the_real_update_is_decoded_to_the_byte(pair, planned):
    (plan, module), (old, new) = planned, pair
    assert plan.predicted == (module is xtensa)
    assert decode(old, plan.chunks, len(new), 16384, module) == new


def test_the_real_update_travels_in_few_bytes(pair, planned):
    plan, module = planned
    size = sum(LINK + len(deflated(stream)) for stream in plan.chunks)
    assert size <= (0.19 if module is xtensa else 0.235) * len(pair[1])


def test_the_real_update_in_large_chunks_of_lzma_is_smaller_than_any_other_tool_makes_it(pair):
    plan = delta.plan(*pair, 65536, True)
    assert decode(pair[0], plan.chunks, len(pair[1]), 65536, xtensa) == pair[1]
    assert sum(LINK + len(lzma_of(stream)) for stream in plan.chunks) <= 0.175 * len(pair[1])


def test_the_same_images_give_the_same_bytes(pair, planned):
    plan, module = planned
    assert delta.plan(*pair, 16384, module is xtensa) == plan


def test_a_stage_without_prediction_refuses_a_chunk_that_needs_it(pair, planned):
    plan, module = planned
    if module is xtensa:
        with pytest.raises(ValueError):
            decode(pair[0], plan.chunks, len(pair[1]), 16384)


UNIX = """
import json, sys
from hashlib import sha256
from binascii import hexlify
from io import BytesIO
class Flash:
    def __init__(self, data):
        self.data, self.size = data, len(data)
    def read(self, off, buf):
        assert 0 <= off and off + len(buf) <= self.size
        buf[:] = self.data[off : off + len(buf)]
class Chunks:
    pass
chunks = Chunks()
chunks.part = Chunks()
folder = sys.argv[1]
read = lambda name: open(folder + "/" + name, "rb").read()
old, streams = read("old"), read("streams")
told = json.loads(read("told"))
module = __import__("mpota.pipe." + told["stage"], None, None, ("stage",))
chunks.base = Flash(old)
chunks.part.base_size = len(old)
chunks.chunk = told["chunk"]
make, h, at = module.stage(chunks), sha256(), 0
buf = bytearray(1000)
for i, n in enumerate(told["lengths"]):
    chunks.index, chunks.left = i + 1, min(told["chunk"], told["size"] - i * told["chunk"])
    src = make(BytesIO(streams[at : at + n]))
    at += n
    while True:
        n = src.readinto(buf)
        if not n:
            break
        h.update(memoryview(buf)[:n])
print(hexlify(h.digest()).decode())
"""


def on_the_unix_port(folder, old, planned, size, chunk):
    """The SHA-256 of what the stage makes there."""
    plan, module = planned
    told = {"chunk": chunk, "size": size, "lengths": [len(one) for one in plan.chunks]}
    told["stage"] = module.__name__.rpartition(".")[2]
    for name, data in (("old", old), ("streams", b"".join(plan.chunks)), ("told", json.dumps(told).encode())):
        (folder / name).write_bytes(data)
    (folder / "run.py").write_text(UNIX)
    command = [unix_port(), "-X", "heapsize=16M", str(folder / "run.py"), str(folder)]
    env = port_environment()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_unix_port_decodes_the_real_update_too(pair, planned, tmp_path):
    old, new = pair
    assert on_the_unix_port(tmp_path, old, planned, len(new), 16384) == hashlib.sha256(new).hexdigest()


def pattern(size, seed):
    return bytes((i * i * seed + i // 3) & 255 for i in range(size))


SHAPES = {
    "equal": (pattern(5003, 7), pattern(5003, 7)),
    "nothing in common": (pattern(5003, 7), bytes(range(255, -1, -1)) * 33),
    "base smaller": (pattern(97, 7), pattern(9973, 7)),
    "base larger": (pattern(9973, 7), pattern(97, 7)),
    "one byte": (b"a", b"b"),
    "moved": (pattern(9973, 7), pattern(9973, 7)[4999:] + pattern(9973, 7)[:4999]),
    "every other byte": (bytes(9000), bytes(i & 1 and i * 7 & 255 for i in range(9000))),
    "every byte": (pattern(9001, 7), bytes(b + 1 & 255 for b in pattern(9001, 7))),
}


@pytest.mark.parametrize("predict", [False, True])
@pytest.mark.parametrize("chunk", [4096, 8192, 65536])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_small_images_of_every_shape_come_back(shape, chunk, predict):
    old, new = SHAPES[shape]
    plan = delta.plan(old, new, chunk, predict)
    assert not plan.predicted
    assert decode(old, plan.chunks, len(new), chunk) == new


@pytest.mark.parametrize("old, new", [(b"", b"x"), (b"x", b"")])
def test_an_empty_image_is_refused(old, new):
    with pytest.raises(Refused):
        delta.plan(old, new, 4096)


def test_a_matcher_that_writes_another_format_is_noticed(monkeypatch):
    monkeypatch.setattr("hdiffpatch.diff", lambda *_, **__: b"HDIFF99&\0")
    with pytest.raises(Refused, match="HDIFF99"):
        delta.plan(b"old", b"new", 4096)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3000), st.binary(max_size=40)), min_size=1, max_size=8))
def test_any_patchwork_comes_back(pieces):
    old = pattern(6007, 7)
    new = b"".join(old[at : at + size] + fresh for at, size, fresh in pieces)
    assert decode(old, delta.plan(old, new, 4096).chunks, len(new), 4096) == new


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6), st.integers(0, 1 << 16))
def test_a_mutated_stream_is_refused_or_gives_as_many_bytes_as_promised(changes, cut):
    old = pattern(6007, 7)
    new = old[500:2500] + b"fresh bytes" + old[:1500] + bytes(100)
    stream = bytearray(delta.plan(old, new, 4096).chunks[0])
    for at, value in changes:
        stream[at % len(stream)] = value
    if cut % 3 == 0:
        del stream[cut % len(stream) :]
    try:
        out = decode(old, [bytes(stream)], len(new), 4096)
    except (ValueError, EOFError):
        return
    assert len(out) == len(new)
