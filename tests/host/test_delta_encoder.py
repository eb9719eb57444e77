"""What mpota_host/delta.py writes, the device's stage decodes on both interpreters; and it writes little."""

import hashlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpota.pipe import delta as stage
from mpota.pipe import xtensa
from mpota_boot.errors import Refused
from mpota_host.package.choose import EncodeOptions
from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import Deflate, Lzma, filled
from mpota_host.package.encode.group import HEAD
from mpota_host.package.encode.match import worth
from mpota_host.package.encode.piece import Piece
from mpota_host.package.encode.xtensa import Cover
from mpota_host.package.format import MOST, SECTOR
from mpota_host.registry import prepare
from mpota_host.sim.board import real_firmware
from mpota_host.sim.supervisor import unix_port
from mpota_host.sources import port_environment

ROOT = Path(__file__).resolve().parents[2]
WBITS = 12
DEFLATE = Deflate(WBITS)


def most(room, encrypted=False):
    """The bytes that a chunk may have."""
    return EncodeOptions(room=room, encrypted=encrypted).most()


class Flash:
    """The least of a Flash."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, off, buf):
        assert 0 <= off <= off + len(buf) <= self.size and len(buf) <= stage.PAGE
        buf[:] = self.data[off : off + len(buf)]


def decode(old, pieces, module=stage):
    """What the stage makes of chunks that travel as deflate streams."""
    part = SimpleNamespace(base_size=len(old))
    chunks = SimpleNamespace(base=Flash(old), start=0, left=0, part=part)
    open, out = module.stage(chunks), b""
    for piece in pieces:
        chunks.start, chunks.left = len(out), piece.output
        buf = bytearray(chunks.left)
        src = open(io.BytesIO(inflated(piece.data)))
        assert src.readinto(buf) == len(buf) and not src.readinto(bytearray(1))
        out += buf
    return out


def inflated(data):
    machine = zlib.decompressobj(-WBITS)
    out = machine.decompress(data)
    assert machine.eof and not machine.unused_data
    return out


def whole_sectors(pieces, size, most=MOST):
    """Every chunk but the last is of whole sectors, none decodes to more than it may, and all together to `size`."""
    assert all(0 < piece.output <= most and piece.output % SECTOR == 0 for piece in pieces[:-1])
    assert 0 < pieces[-1].output <= most and sum(piece.output for piece in pieces) == size
    return True


def groups(stream, output):
    """(mode, bytes of the head) of each group of a chunk's stream."""
    at, found = 0, []
    while output:
        mode, *sizes = struct.unpack_from("<B3H", stream, at)
        found.append((mode, sum(sizes)))
        at += 7
        controls, at = stream[at : at + sizes[0]], at + sum(sizes)
        numbers, n, k = [], 0, 0
        for byte in controls:
            n, k = n | (byte & 127) << k, k + 7
            if byte < 128:
                numbers.append(n)
                n = k = 0
        at += sum(numbers[::3])
        output -= sum(numbers[::3]) + sum(numbers[1::3])
    assert at == len(stream)
    return found


@pytest.fixture(scope="module")
def pair():
    return tuple(bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831"))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "predicted"])
def planned(request, pair):
    """The real update and the stage that it needs."""
    return delta.plan(*pair, DEFLATE, most(8192), request.param), xtensa if request.param else stage


def test_the_real_update_is_decoded_to_the_byte(pair, planned):
    (plan, module), (old, new) = planned, pair
    assert plan.predicted == (module is xtensa)
    assert decode(old, plan.pieces, module) == new
    assert whole_sectors(plan.pieces, len(new)) and max(len(piece.data) for piece in plan.pieces) <= most(8192)


def travels(plan):
    """Bytes of a package: header, signature, links and chunks."""
    return 16 + 52 + 134 + 384 + sum(35 + len(piece.data) for piece in plan.pieces)


def test_the_real_update_travels_in_few_bytes(pair, planned):
    plan, module = planned
    assert travels(plan) <= (269_500 if module is xtensa else 0.235 * len(pair[1]))


@pytest.mark.parametrize("way, room, bytes", [(DEFLATE, 4096, 274_200), (Lzma(12), 8192, 254_900)], ids=str)
def test_the_real_update_travels_in_few_bytes_in_every_room(pair, way, room, bytes):
    plan = delta.plan(*pair, way, most(room), True)
    assert travels(plan) <= bytes and max(len(piece.data) for piece in plan.pieces) <= most(room)


def test_the_same_images_give_the_same_bytes(pair, planned):
    plan, module = planned
    delta.matched.cache_clear()
    assert delta.plan(*pair, DEFLATE, most(8192), module is xtensa) == plan


SAME = """
import sys
sys.path[:0] = sys.argv[1:]
from hashlib import sha256
from mpota_host.package.choose import EncodeOptions
from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import Deflate, Lzma, filled
from mpota_host.package.encode.group import HEAD
from mpota_host.package.encode.match import worth
from mpota_host.package.encode.piece import Piece
from mpota_host.package.encode.xtensa import Cover
from mpota_host.package.format import MOST, SECTOR
from mpota_host.package.encode.fill import Deflate, Lzma
from tests.host.test_xtensa_match import program
for way in Deflate(12), Lzma(12):
    for predict in False, True:
        pieces = delta.plan(program("ESP32"), program("ESP32", (20, 75)), way, 4157, predict).pieces
        print(sha256(repr(pieces).encode()).hexdigest())
"""


def test_the_hash_seed_of_the_interpreter_decides_nothing():
    found = set()
    for seed in ("0", "1"):
        command = [sys.executable, "-c", SAME, *(str(ROOT / name) for name in ("", "host", "device"))]
        env = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert not done.returncode and done.stdout.count("\n") == 4, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_a_chunk_has_groups_of_both_modes_and_every_head_has_its_room(pair, planned):
    plan, module = planned
    chunks = [groups(inflated(piece.data), piece.output) for piece in plan.pieces]
    assert max(head for one in chunks for _, head in one) in range(HEAD - 100, HEAD + 1)
    modes = [{mode for mode, _ in one} for one in chunks]
    assert set().union(*modes) == ({1, 3} if module is xtensa else {0})
    assert ({1, 3} in modes) == (module is xtensa)


def test_no_chunk_could_have_taken_another_sector(pair, planned):
    plan, module = planned
    form, at, full = delta.matched(*pair, module is xtensa), 0, 0
    for piece in plan.pieces[:24]:
        if piece.output < MOST:
            stream = b""
            for one in form.cuts(at):
                if one.output > piece.output:
                    break
                stream += one.kept
            assert len(DEFLATE.encode(stream + one.kept + one.tail)) > most(8192)
            full += 1
        at += piece.output
    assert full > 2


def test_a_stage_without_prediction_refuses_a_chunk_that_needs_it(pair, planned):
    plan, module = planned
    if module is xtensa:
        with pytest.raises(ValueError):
            decode(pair[0], plan.pieces)


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
chunks.start = chunks.left = 0
make, h, at = module.stage(chunks), sha256(), 0
buf = bytearray(1000)
for n, output in told["chunks"]:
    chunks.start += chunks.left
    chunks.left = output
    src = make(BytesIO(streams[at : at + n]))
    at += n
    while True:
        n = src.readinto(buf)
        if not n:
            break
        h.update(memoryview(buf)[:n])
print(hexlify(h.digest()).decode())
"""


def on_the_unix_port(folder, old, planned):
    """The SHA-256 of what the stage makes there."""
    plan, module = planned
    streams = [inflated(piece.data) for piece in plan.pieces]
    told = {"chunks": [(len(one), piece.output) for one, piece in zip(streams, plan.pieces, strict=True)]}
    told["stage"] = module.__name__.rpartition(".")[2]
    for name, data in (("old", old), ("streams", b"".join(streams)), ("told", json.dumps(told).encode())):
        (folder / name).write_bytes(data)
    (folder / "run.py").write_text(UNIX)
    command = [unix_port(), "-X", "heapsize=16M", str(folder / "run.py"), str(folder)]
    env = port_environment()
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_unix_port_decodes_the_real_update_too(pair, planned, tmp_path):
    old, new = pair
    assert on_the_unix_port(tmp_path, old, planned) == hashlib.sha256(new).hexdigest()


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
@pytest.mark.parametrize("room", [4096, 8192, 16384])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_small_images_of_every_shape_come_back(shape, room, predict):
    old, new = SHAPES[shape]
    plan = delta.plan(old, new, DEFLATE, most(room), predict)
    assert not plan.predicted and whole_sectors(plan.pieces, len(new))
    assert decode(old, plan.pieces) == new
    for piece in plan.pieces:
        assert all(head <= HEAD for _, head in groups(inflated(piece.data), piece.output))


@pytest.mark.parametrize("shape", list(SHAPES))
def test_chunks_of_one_sector_are_made_where_they_are_asked_for(shape):
    old, new = SHAPES[shape]
    plan = delta.plan(old, new, DEFLATE, most(4096), sectors=1)
    assert len(plan.pieces) == -(-len(new) // SECTOR) and whole_sectors(plan.pieces, len(new), SECTOR)
    assert decode(old, plan.pieces) == new


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def test_a_sector_of_new_noise_has_room_behind_any_start():
    """Old bytes that differ everywhere, and new ones that nothing makes smaller, in the least room of all."""
    old = noise(30000, 1)
    new = noise(5000, 2) + bytes(b ^ 85 for b in old[5000:20000]) + noise(9000, 3)
    for way in (DEFLATE, Lzma(12)):
        plan = delta.plan(old, new, way, most(4096, True))
        assert whole_sectors(plan.pieces, len(new)) and max(len(piece.data) for piece in plan.pieces) <= most(
            4096, True
        )
        assert [piece.output for piece in plan.pieces] == [4096] * 7 + [328]
        if way is DEFLATE:
            assert decode(old, plan.pieces) == new


def forced(old, new):
    """The chunks where every byte is said to come from the old image."""
    form = delta.Match(old, new, False)
    form.covers, form.ends = [Cover(0, 0, len(new))], [len(new)]
    pieces = filled(form, DEFLATE, most(4096, True))
    assert decode(old, pieces) == new
    return [head for piece in pieces for _, head in groups(inflated(piece.data), piece.output)]


def test_old_bytes_that_do_not_fit_a_head_are_halved_and_those_that_save_nothing_are_new_ones():
    """The page of the device is as long as a head, and a byte that changed takes two of it."""
    every, other = (bytes(i % n and value for i, value in enumerate(noise(8192, 4))) for n in (1 << 20, 2))
    assert max(forced(bytes(8192), every)) < 40
    heads = forced(bytes(8192), other)
    assert 8 <= len(heads) <= 20 and max(heads) in range(HEAD // 2, HEAD + 1)


def test_what_is_predicted_wrongly_at_the_ends_of_old_bytes_travels_as_new_bytes():
    assert worth(bytes(9), False) == worth(bytes(9), True) == (0, 9)
    assert worth(b"\1\2\3" + bytes(9) + b"\1\1\0\1", False) == (3, 12)
    assert worth(b"\1\2\3" + bytes(9) + b"\1\1\0\1", True) == (0, 12)
    assert worth(b"\1" * 9, False) == worth(b"\1" * 9, True) == (0, 0)
    assert worth(bytes(9) + b"\1" + bytes(2), True) == (0, 12)


@pytest.mark.parametrize("old, new", [(b"", b"x"), (b"x", b"")])
def test_an_empty_image_is_refused(old, new):
    with pytest.raises(Refused):
        delta.plan(old, new, DEFLATE, most(4096))


def test_a_matcher_that_writes_another_format_is_noticed(monkeypatch):
    monkeypatch.setattr("hdiffpatch.diff", lambda *_, **__: b"HDIFF99&\0")
    with pytest.raises(Refused, match="HDIFF99"):
        delta.plan(b"old", b"new", DEFLATE, most(4096))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3000), st.binary(max_size=40)), min_size=1, max_size=8))
def test_any_patchwork_comes_back(pieces):
    old = pattern(6007, 7)
    new = b"".join(old[at : at + size] + fresh for at, size, fresh in pieces)
    assert decode(old, delta.plan(old, new, DEFLATE, most(4096)).pieces) == new


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6), st.integers(0, 1 << 16))
def test_a_mutated_stream_is_refused_or_gives_as_many_bytes_as_promised(changes, cut):
    old = pattern(6007, 7)
    new = old[500:2500] + b"fresh bytes" + old[:1500] + bytes(100)
    (piece,) = delta.plan(old, new, DEFLATE, most(4096)).pieces
    stream = bytearray(inflated(piece.data))
    for at, value in changes:
        stream[at % len(stream)] = value
    if cut % 3 == 0:
        del stream[cut % len(stream) :]
    try:
        out = decode(old, [Piece(DEFLATE.encode(bytes(stream)), len(new))])
    except (ValueError, EOFError):
        return
    assert len(out) == len(new)
