"""The packer and the board's own code beside a second implementation of format 2: each reads what the other writes.

The second one, tests/format2, was written from the page alone, so what both agree about is what the page says.
"""

import ast
import random
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.installer import install
from mpota_boot.errors import OtaError
from mpota_host.chips.esp32.sim import soc
from mpota_host.package import choose, pack, read, verify
from mpota_host.package import format as fmt
from mpota_host.package.bases import Base
from mpota_host.package.content import app
from mpota_host.registry import prepare
from mpota_host.sim.board import real_firmware
from tests.chips.esp32 import image_maker
from tests.format2 import diff, patch, reader, tables, writer
from tests.packages import Ram

ROOT = Path(__file__).resolve().parents[2]
DEVICE, OTHER = bytes(range(32)), b"another!" * 4
FORMS = {
    "raw": ("none", "inflate"),
    "deflate": ("deflate", "inflate"),
    "lzma": ("lzma", "lzma"),
    "delta": ("deflate", "inflate,delta"),
    "delta, lzma": ("lzma", "lzma,delta"),
    "predicted": ("deflate", "inflate,xtensa"),
    "predicted, lzma": ("lzma", "lzma,xtensa"),
}
STAGES = {
    "raw": (),
    "deflate": (tables.INFLATE,),
    "lzma": (tables.LZMA,),
    "delta": (tables.INFLATE, tables.DELTA),
    "delta, lzma": (tables.LZMA, tables.DELTA),
    "predicted": (tables.INFLATE, tables.XTENSA),
    "predicted, lzma": (tables.LZMA, tables.XTENSA),
}


def function(tokens, start, at):
    """Its code at `start`; `at` says where each function lies. It begins at a whole word, so its length is the same."""
    out = bytearray()
    for token in tokens:
        here = start + len(out)
        if isinstance(token, bytes):
            out += token
            continue
        kind, to = token[0], at[token[1]]
        if kind == "call":
            out += (((to - here - 4 >> 2) & 0x3FFFF) << 6 | 0x25).to_bytes(3, "little")
        elif kind == "literal":
            out += b"\x21" + struct.pack("<H", to - (here + 3 & ~3) >> 2 & 0xFFFF)
        else:
            out += bytes(-len(out) % 4) + struct.pack("<I", CODE + to)
    return bytes(out) + bytes(-len(out) % 4)


def firmware(more=(), functions=300):
    """An image of functions that call each other; `more` are put into the middle, so that what follows moves."""
    rng = random.Random(1)
    made = []
    for _ in range(functions):
        tokens = [(rng.choice(["call", "call", "literal", "word"]), rng.randrange(functions)) for _ in range(30)]
        made.append([t for pair in tokens for t in (pair, rng.choice([b"\x0c\x02", rng.randbytes(3), b"text"]))])
    order = [*range(50), *range(functions, functions + len(more)), *range(50, functions)]
    made += [[one] for one in more]
    at, end = {}, 0
    for i in order:
        at[i] = end
        end += len(function(made[i], end, dict.fromkeys(range(len(made)), 0)))
    body = b"".join(function(made[i], at[i], at) for i in order)
    return image_maker.image(segments=[(CODE, body)])


def edited(data, seed):
    """The same with some bytes changed, taken out and put in."""
    rng, out = random.Random(seed), bytearray(data)
    out[500:500] = rng.randbytes(36)
    for at in range(len(out) - 3000, 2000, -4001):
        out[at : at + 2] = rng.randbytes(2)
    del out[20000:20060]
    return bytes(out)


# Where the segment of code is loaded; the last 16 bits are those of its place in the file.
CODE = 0x400D0168
OLD, NEW = firmware(), firmware([b"a function that is new", bytes(range(200))])
BODY = OLD[1000:]
MODEL, NEW_MODEL = BODY[:24000], edited(BODY[:24000], 3)
FILES = {"app.py": b"def step():\n    pass\n", "lib/table.bin": BODY[9000:24000], "empty.py": b""}


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def options(form, **more):
    compress, decodes = FORMS[form]
    return pack.Options("lamp", "1.2.0", compress=compress, decodes=choose.decoders(decodes) | {"decrypt"}, **more)


def packed(form, key, given=None, **more):
    """What the packer makes of NEW, or of what is given: for a delta the package from OLD."""
    given = given or pack.goods("esp32", NEW)
    old = {(fmt.FIRMWARE, ""): OLD, (fmt.RESOURCE, "m/1"): MODEL}
    bases = [Base("old", "old", old)] if len(STAGES[form]) > 1 else []
    made = pack.packages(given, options(form, **more), key, bases)
    return made[-1].data


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secrets", [(), (OTHER, DEVICE)], ids=["plain", "encrypted"])
def test_the_packer_is_read(form, secrets, key):
    found = reader.read(packed(form, key, encrypt_for=secrets), [writer.modulus(key)], [DEVICE], [OLD])
    (part,) = found.components
    assert part.data == NEW and (found.product, found.layout, found.version) == ("lamp", "esp32", (1, 2, 0, 0))
    assert tuple(part.stages) == (tables.DECRYPT,) * bool(secrets) + STAGES[form]
    assert len(found.recipients) == len(secrets) and found.signed and not found.fields


@pytest.mark.parametrize("form", ["predicted", "predicted, lzma"])
def test_the_packers_update_of_a_real_firmware_is_read(form):
    old, new = (bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831"))
    bases = [Base("old", "old", {(fmt.FIRMWARE, ""): old})]
    made = pack.packages(pack.goods("esp32", new), options(form, room=8192), None, bases)
    (part,) = reader.read(made[-1].data, None, (), [old]).components
    assert part.data == new and tuple(part.stages) == STAGES[form]


@pytest.mark.parametrize("room", fmt.ROOMS)
def test_the_packers_files_resources_and_fields_are_read(room, key, tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    given = pack.goods("esp32", NEW, app.tree(tmp_path, {"m/1": NEW_MODEL}), {"m/1": NEW_MODEL})
    needs = {"channel": "beta é", "needs": "1.1.0", "needs_firmware": "1.0.0.7", "needs_boot": 3}
    found = reader.read(packed("delta", key, given, room=room, **needs), [writer.modulus(key)], bases=[OLD, MODEL])
    assert [part.kind for part in found.components] == [1, 2, 3] and found.room == room
    assert found.components[2].data == NEW_MODEL and found.components[2].name == "m/1"
    files, resources = reader.read_files(found.components[1].data)
    assert files == FILES | {"empty/": b""} and resources == ["m/1"]
    assert found.fields == {
        b"Chan": "beta é".encode(),
        b"From": bytes((0, 1, 0, 1, 0, 0, 0, 0)),
        b"Firm": bytes((0, 1, 0, 0, 0, 0, 0, 7)),
        b"Boot": b"\3\0",
    }


def part(form, encrypted=False, mode=7):
    """NEW as a component of the second implementation."""
    stages = STAGES[form]
    delta = tables.DELTA in stages or tables.XTENSA in stages
    mode = mode if tables.XTENSA in stages else 0
    base = OLD if delta else b""
    return writer.Part(tables.FIRMWARE, "firmware", NEW, (tables.DECRYPT,) * encrypted + stages, base, 12, mode)


def head(secrets=(), **more):
    return writer.Head("lamp", "esp32", (1, 2), secrets=secrets, **more)


@pytest.mark.parametrize("form", STAGES)
@pytest.mark.parametrize("secrets", [(), (OTHER, DEVICE)], ids=["plain", "encrypted"])
def test_a_board_installs_what_the_second_one_writes(form, secrets, key):
    data = writer.write(head(secrets), [part(form, bool(secrets))], key)
    chip = soc.Soc(soc.rows(0x20000), {"product": "lamp"}, [writer.modulus(key)])
    chip.write(chip.row("ota_0").offset, OLD)
    board = chip.power_on()
    board.secrets = lambda: [DEVICE]
    for _ in install(board, Ram(data), board.keys()):
        pass
    assert chip.image("ota_1", len(NEW)) == NEW
    chip.power_on(soc.HARD)
    assert chip.started.name == "ota_1"


def test_the_host_takes_files_resources_and_fields_of_the_second_one(key):
    tree = writer.write_files(FILES | {"folder/": b""}, {"m/1": len(NEW_MODEL)})
    parts = [
        part("predicted"),
        writer.Part(tables.FILES, "files", tree, (tables.INFLATE,)),
        writer.Part(tables.RESOURCE, "m/1", NEW_MODEL, (tables.INFLATE, tables.DELTA), MODEL),
    ]
    fields = {b"Chan": b"beta", b"Boot": b"\1\0", b"note": b"may be passed over"}
    data = writer.write(head(fields=fields), parts, key)
    bases = [{(fmt.FIRMWARE, ""): OLD, (fmt.RESOURCE, "m/1"): MODEL}]
    told = verify.judge(data, verify.BoardFacts([writer.modulus(key)], "lamp", (), bases))
    assert told.ok, told.what


@pytest.mark.parametrize("mode", range(8))
def test_each_mode_is_the_same_to_both(mode):
    """Bytes in which addresses of all kinds begin everywhere, one inside the other."""
    rng = random.Random(mode)
    old = bytes(rng.choice([0x25, 0x21, 0x3F, 0x40, 0x3C, 8, 0, rng.randrange(256)]) for _ in range(14000))
    new = edited(old[:9000], mode) + rng.randbytes(30) + old[9000:]
    for start in (0, 8192):
        size = min(8192, len(new) - start)
        stream = diff.encode(old, new, start, size, mode)
        assert patch.decode(stream, old, start, size, 7) == new[start : start + size]
        assert by_board(stream, old, (start, size), mode) == new[start : start + size]


# Where the page is stricter than a board has to be: all this was signed.
STRICTER = ("kind ", "window ", "a key id without", "a base without", "behind the last chunk", "is no name")


def verdict(call, *args):
    """Empty where the bytes are taken, else why they are not."""
    try:
        call(*args)
    except (ValueError, OtaError) as e:
        return str(e) or repr(e)
    return ""


def decoded(data):
    """Header and every chunk, by the board's code."""
    found = read.read_package(data)
    for i, one in enumerate(found.components):
        one.base = verify.base_of(one, [{(fmt.FIRMWARE, ""): OLD[:3000]}]) if one.base_size else None
        read.content(found, i, data)


def test_both_refuse_the_same_headers():
    parts = [
        writer.Part(tables.FIRMWARE, "firmware", NEW[:3000], STAGES["predicted"], OLD[:3000], 12, 7),
        writer.Part(tables.FILES, "files", bytes(4200), STAGES["deflate"]),
        writer.Part(tables.RESOURCE, "a", b"raw"),
        writer.Part(tables.RESOURCE, "b", b"text" * 9, STAGES["lzma"]),
    ]
    good = writer.write(head(fields={b"Chan": b"beta", b"note": b"passed over", b"Boot": b"\1\0"}), parts)
    assert not verdict(reader.read, good, None, (), [OLD[:3000]]) and not verdict(decoded, good)
    seen = {"taken": 0, "refused": 0, "stricter": 0}
    for at in range(16 + int.from_bytes(good[6:8], "little")):
        rng = random.Random(at)
        value = rng.choice([good[at] ^ 1 << rng.randrange(8), rng.randrange(256), rng.randrange(18)])
        bad = good[:at] + bytes((value,)) + good[at + 1 :]
        mine, boards = verdict(reader.read, bad, None, (), [OLD[:3000]]), verdict(decoded, bad)
        stricter = any(words in mine for words in STRICTER)
        assert bool(mine) == bool(boards) or (stricter and not boards), (at, value, mine, boards)
        seen["stricter" if stricter else "refused" if mine else "taken"] += 1
    assert min(seen.values()) > 10, seen


def by_board(stream, old, place, mode):
    """What the board's own stage makes of a chunk's groups."""
    from io import BytesIO

    from mpota.pipe import delta, xtensa
    from tests.core.test_delta import Chunks

    chunks = Chunks(old)
    chunks.start, chunks.left = place
    source = (xtensa if mode else delta).stage(chunks)(BytesIO(stream))
    out = b""
    while len(out) < place[1]:
        piece = bytearray(min(700, place[1] - len(out)))
        n = source.readinto(piece)
        assert n, "the stage ends early"
        out += piece[:n]
    assert not source.readinto(bytearray(1))
    return out


def test_the_second_one_shares_no_code():
    seen = 0
    for path in (ROOT / "tests/format2").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                seen += 1
                ours = name.startswith(("mpota", "tests")) and not name.startswith("tests.format2")
                assert not ours, f"{path.name} imports {name}"
    assert seen > 30
