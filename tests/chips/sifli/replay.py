"""The vendor's packer's output and what its devices answer, replayed through the session, the codecs and the installer.

A case's bytes go in as a phone sends them; what comes out is compared with what the case expects. `SAFER` are the rules
by which this project refuses more than the vendor; each is a look at the case alone (FORMAT.md has them by name).
"""

import json
from binascii import a2b_base64
from hashlib import sha256

from mpota.layout.sifli.link import messages
from mpota.layout.sifli.link.session import Session
from mpota.layout.sifli.loader.install import run
from mpota.layout.sifli.pipe import offline, wire
from mpota.layout.sifli.pipe.com import Com, Stored
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.layout.sifli.policy import Policy
from mpota.layout.sifli.port import Chip
from mpota.layout.sifli.store import control
from mpota.store.flash import Region
from mpota_boot.errors import OtaError
from mpota_host.sim.flash import SimFlash
from tests.chips.sifli.sifli_maker import BASE, Clock, places, table_bytes

SAFER = ("whole-hash", "record-place", "record-size", "manager", "no-images", "asserts", "block-size")
ROOM = 0x9000
MAP = places(room=ROOM)
FLASH = SimFlash(0x60000, prog_size=1)
FLASH.trace = None


FILE = {}


def cases(file):
    """Every case of every section that has bytes; a packer's own failure has none."""
    whole = json.load(file)
    FILE["keys"] = whole["keys"]
    FILE["uid"] = whole["sifli02_uid_hex"]
    FILE["defaults"] = whole["device_defaults"]
    FILE["cases"] = {case["id"]: case for case in whole["cases"]}
    found = whole["cases"] + whole["negative_init"] + whole["negative_image"]
    return [case for case in found if "tool_error" not in case]


def public(name):
    """The DER key of a key set, or erased flash."""
    if name == "erased":
        return b"\xff" * 294
    lines = FILE["keys"][name]["pub_pem"].strip().split("\n")
    return a2b_base64("".join(lines[1:-1]))


class Room:
    """A place that says it has `size` bytes; what is written goes to a region."""

    def __init__(self, region, size):
        self.region = region
        self.size = size
        self.erase_size, self.prog_size, self.erased = region.erase_size, region.prog_size, region.erased
        self.read, self.prog, self.erase = region.read, region.prog, region.erase


class Device(Chip):
    """A chip whose places are those of a case, in a row on one flash."""

    def __init__(self, given, ids):
        self.given = given
        self.rooms = {}
        FLASH.erase(0, FLASH.size)
        FLASH.prog(0, table_bytes(MAP, public(given["table"])))
        der = public(given["efuse_hash"])
        root = bytes.fromhex(FILE["keys"][given["root"]]["root_key_hex"])
        fuses = bytes.fromhex(FILE["uid"]) + sha256(der).digest()[:8] + b"\xa5" + bytes(71) + root
        super().__init__(FLASH, MAP, fuses, lambda: None)
        row = sorted(ids)[:4]
        for i, id in enumerate(row):
            self.rooms[id] = Region(FLASH, MAP["user"][0] - BASE + ROOM * (0, 3, 4, 5)[i], ROOM)
        self.user = self.rooms.get(0) or self.user
        self.ready = bool(given["init"])

    def place(self, id):
        limits = self.given["lim"]
        if str(id) not in limits:
            return 0
        size = limits[str(id)]
        return Room(self.rooms.get(id) or self.user, size) if size else None


def device(case, ids):
    given = dict(FILE["defaults"])
    base = FILE["cases"].get(case.get("base")) or case
    for part in ("root", "efuse_hash", "table"):
        if "stage" not in case and base.get("keys"):
            given[part] = base["keys"]
    given.update(case.get("device") or {})
    if "stage" not in case:
        given["lim"] = {str(id): 0xC00000 for id in ids}
    return Device(given, ids)


def session(chip):
    given = chip.given
    accept = {"accept": lambda found: True, "refuse": lambda found: False, "none": None}[given["cb"]]
    policy = Policy(accept, lambda fw: bool(given["fwhook"]), given["sdk"])
    found = Session(chip, policy, Clock(), True, "force")
    found.state = given["state"]
    found.up.now.fw = given["fw_state"]
    return found


def ask(session, id, *fields, tail=b""):
    """Send a message; (id, fields) of the one answer."""
    session.feed(messages.encode(id, *fields, tail=tail))
    answer = session.take()
    return messages.decode(answer)[:2] if answer else (None, ())


def packet_of(case):
    """The control packet to send."""
    base = FILE["cases"].get(case.get("base")) or case
    data = bytearray(a2b_base64(case.get("ctrl_packet_b64") or base["ctrl_packet_b64"]))
    return bytes(changed(data, case.get("ctrl_xor")))


def changed(data, flips):
    for flip in flips or ():
        value = data[flip["offset"]]
        other = flip["xor"]
        data[flip["offset"]] = (value | other) - (value & other)
    return data


def in_rule(case, rule):
    """Does a rule of ours apply to what a case sends?"""
    flips = case.get("ctrl_xor") or ()
    if rule == "whole-hash":
        bits = [f["offset"] for f in flips] or [f["offset"] % 548 for f in case.get("wire_xor") or ()]
        return bool(bits) and all(8 <= at < 32 for at in bits)
    if rule == "record-place":
        bits = [f["offset"] % 548 for f in case.get("wire_xor") or ()]
        return bool(bits) and all(32 <= at < 36 for at in bits)
    if rule == "asserts":
        return case.get("expected_result", 0) is None
    content = plain(case)
    if content is None:
        return False
    if rule == "manager":
        return content[0] == control.MANAGER
    if rule == "no-images":
        return content[49] == 0
    if rule == "block-size":
        return content[47] + 256 * content[48] not in (16, 32, 64, 128, 256, 512, 1024, 2048)
    return rule == "record-size" and "wire_b64" in case


def plain(case):
    """The content of the packet, as the case's own keys decrypt it; None where they do not."""
    base = FILE["cases"].get(case.get("base")) or case
    keys = FILE["keys"][base.get("keys") or "sifli02"]
    try:
        return control.content(
            packet_of(case), bytes.fromhex(keys["root_key_hex"]), bytes.fromhex(keys["sig_hash8_hex"])
        )
    except OtaError:
        return None


def judged(case, got, want, what):
    """None, the name of a rule, or a sentence."""
    if got == want:
        return None
    for rule in SAFER:
        if got not in (0, [0]) and in_rule(case, rule):
            return rule
    return "%s is %r, wanted %r" % (what, got, want)


def ids_of(case):
    base = FILE["cases"].get(case.get("base")) or case
    return [image["img_id"] for image in base["expected"]["images"]] if base.get("expected") else [0]


def init(case):
    chip = device(case, ids_of(case))
    at = session(chip)
    _id, fields = ask(at, chip.given["msg"], tail=packet_of(case))
    return judged(case, fields[0], case["expected_result"], "the answer to the control packet")


def wire_of(case, i, chip):
    """The wire file of image `i`: given, or made of the payload where the file leaves it out."""
    data = case["files"][i].get("b64")
    if data:
        return a2b_base64(data)
    image = case["expected"]["images"][i]
    block = case["expected"]["blk_size"]
    text = payload(case["inputs"][i]["size"])
    text += bytes(image["length"] - len(text))
    cipher = Ctr(bytes.fromhex(case["expected"]["fw_key_hex"]), chip.nonce) if image["flag"] & 1 else None
    out = []
    for at in range(0, len(text), block):
        stored = bytearray(text[at : at + block])
        if cipher:
            cipher.xor(at, stored)
        out.append(wire.encode(at, text[at : at + block], bytes(stored)))
    return b"".join(out)


def payload(n):
    """What the vectors' generator gives."""
    out = bytearray(n)
    x = 0x12345678
    for i in range(n):
        x = (x * 1664525 + 1013904223) % 4294967296
        out[i] = x // 16777216 if i % 4 == 0 else i // 16 % 256
    return bytes(out)


def send(at, image, data, block):
    """(results of the packets until one is not 0, result of the end) of an image."""
    total = wire.count(image["length"], block)
    _, fields = ask(at, messages.START, image["wire_len"], total, 1, image["img_id"])
    if fields[0]:
        return "start: %d" % fields[0], None
    results = []
    size = block + wire.HEAD_SIZE
    for i in range(total):
        record = data[i * size : (i + 1) * size]
        _, fields = ask(at, messages.PACKET, image["img_id"], i + 1, len(record), tail=record)
        results.append(fields[0])
        if fields[0]:
            return results, None
    _id, fields = ask(at, messages.END, image["img_id"], 0)
    return results, fields[0]


def begun(case, chip):
    at = session(chip)
    _id, fields = ask(at, messages.INIT, tail=packet_of(case))
    at.feed(messages.encode(messages.INIT_DONE, 1))
    return at, fields[0]


def image(case):
    base = FILE["cases"][case["base"]]
    i = case["image_index"]
    chip = device(base, ids_of(case))
    at, _result = begun(base, chip)
    other = FILE["cases"].get(case.get("wire_from_case"))
    data = a2b_base64(case["wire_b64"]) if "wire_b64" in case else wire_of(other or base, i, chip)
    data = bytes(changed(bytearray(data), case.get("wire_xor")))
    got, end = send(at, base["expected"]["images"][i], data, base["expected"]["blk_size"])
    want = case["expected_packet_results"]
    if got != want:
        return judged(case, got[-1:] if isinstance(got, list) else got, want, "the packets' answers")
    return judged(case, end, case["expected_image_send_end"], "the answer to the end")


def whole(case):
    """A good package: its packet, its images, what they decode to, and the offline package."""
    if "ctrl_packet_b64" in case:
        text = fields(case) or images(case)
        if text:
            return text
    return package(case) if "offline_install" in case else None


def fields(case):
    want = case["expected"]
    content = plain(case)
    found = control.Control.decode(content)
    got = found.dfu, found.hw, found.sdk, found.fw, found.key, found.block, len(found.images)
    told = [want[k] for k in ("dfu_id", "hw_ver", "sdk_ver", "fw_ver", "fw_key_hex", "blk_size", "img_count")]
    told[4] = bytes.fromhex(told[4])
    if list(got) != told or found.encode() != content:
        return "the control packet has %r, wanted %r" % (got, told)
    rows = [(i.id, i.flags, i.length, i.sig) for i in found.images]
    wanted = [(i["img_id"], i["flag"], i["length"], bytes.fromhex(i["sig_hex"])) for i in want["images"]]
    return None if rows == wanted else "the images of the control packet differ"


def images(case):
    want = case["expected"]
    chip = device(case, ids_of(case))
    at, result = begun(case, chip)
    if result != want["init_result"]:
        return judged(case, result, want["init_result"], "the answer to the control packet")
    for i in range(len(want["images"])):
        row = want["images"][i]
        data = wire_of(case, i, chip)
        file = case["files"][i]
        if len(data) != file["len"] or sha256(data).digest() != bytes.fromhex(file["sha256"]):
            return "wire file %d is not the one of the vendor's tool" % i
        got, end = send(at, row, data, want["blk_size"])
        if got != [0] * row["packets"] or end != row["image_send_end_result"]:
            return judged(case, end, row["image_send_end_result"], "image %d: %r, and its end" % (i, got))
        text = decoded(chip, at, row) if not end else None
        if text:
            return "image %d: %s" % (i, text)
    return None


def decoded(chip, at, row):
    """Hold what lies in the flash, and what it decodes to, to their hashes."""
    up = at.up
    found = up.control.image(row["img_id"])
    target = up.target(found)
    cipher = Ctr(up.control.key, chip.nonce) if found.flags & control.ENC else None
    hashes = []
    for reader in (Stored(target, found.length), Stored(target, found.length, cipher)):
        h = sha256()
        buf = bytearray(512)
        for off in range(0, found.length, 512):
            piece = memoryview(buf)[: min(512, found.length - off)]
            reader.read(off, piece)
            h.update(piece)
        hashes.append(h.digest())
    if found.flags & control.COMPRESS:
        com = Com(Stored(target, found.length, cipher))
        if com.total != row["installed_len"]:
            return "it decodes to %d bytes" % com.total
        hashes.append(run(com, None, bytearray(4096), chip.feed))
    else:
        hashes.append(hashes[1])
    wanted = [bytes.fromhex(row[k]) for k in ("stored_sha256", "decrypted_sha256", "installed_sha256")]
    return None if hashes == wanted else "its hashes differ"


def package(case):
    """An offline package: its parts, its checksum, and the same bytes when it is made again."""
    given = case["offline_install"]
    data = a2b_base64(given["b64"])
    FLASH.erase(0, FLASH.size)
    FLASH.prog(0, data)
    found = offline.Package(Region(FLASH, 0, len(data)))
    want = given["expected"]
    rows = [(e.id, e.length, e.off) for e in found.entries]
    if found.version != want["version"] or rows != [(e["id"], e["len"], e["offset"]) for e in want["entries"]]:
        return "the offline package has %r" % rows
    parts = [data[e.off : e.off + e.length] for e in found.entries]
    for part, row in zip(parts, want["entries"]):
        if sha256(part).digest() != bytes.fromhex(row["sha256"]):
            return "part %d differs" % row["id"]
    ids = [e.id for e in found.entries]
    if found.version:
        found.prove(bytearray(4096), lambda: None)
        if found.crc != want["crc32_mpeg2"] or found.state != want["install_state"]:
            return "the checksum is %08x" % found.crc
        made = offline.encode_v1(list(zip(ids, [e.flags for e in found.entries], parts)))
    else:
        made = offline.encode_v0(list(zip(ids, parts)))
    return None if made == data else "made again, the offline package differs"


STAGES = {"INIT": init, "IMAGE": image, None: whole}


def replay(case):
    """None where the code does what the case says, the name of a rule where it is stricter, else what differs."""
    return STAGES[case.get("stage")](case)
