"""What a SiFli chip reads and writes, byte by byte: table, control packet, records, images, packages, journal."""

from hashlib import sha256
from struct import pack

from mpota.layout.sifli.link import messages
from mpota.layout.sifli.link.framing import MTU, Parts
from mpota.layout.sifli.link.framing import encode as frame
from mpota.layout.sifli.pipe import com, offline, signed, wire
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.layout.sifli.port import EFUSE_SIZE, User, wanted
from mpota.layout.sifli.store import control, packets, progress, table
from mpota.store.flash import Region
from mpota_boot.errors import Corrupt, FlashError, Refused
from mpota_boot.journal import Record
from mpota_host.sim.flash import PowerCut, SimFlash
from tests.chips.sifli import sifli_maker as maker
from tests.expect import raises

RES = maker.payload(3000, 3)


def bent(data, at, bit=1):
    out = bytearray(data)
    out[at] ^= bit
    return bytes(out)


# AES-256-CTR and RSA.


def test_ctr_is_that_of_nist():
    # SP 800-38A, F.5.5; its counter block as a nonce, four bytes that are not ours, and a number.
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    ctr = Ctr(key, bytes.fromhex("f0f1f2f3f4f5f6f7"))
    for at in range(0, len(ctr.blocks), 16):
        ctr.blocks[at + 8 : at + 12] = bytes.fromhex("f8f9fafb")
    data = bytearray(bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"))
    ctr.xor(0xFCFDFEFF << 4, data)
    assert bytes(data) == bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")


def test_any_piece_of_an_image_decrypts_alone():
    plain = maker.payload(5003, 9)
    whole = maker.encrypted(plain)
    ctr = Ctr(maker.IMAGE_KEY, signed.key_hash(maker.PUBLIC))
    for off, n in ((0, 5003), (16, 1), (512, 511), (4096, 907), (496, 600)):
        piece = bytearray(whole[off : off + n])
        ctr.xor(off, piece)
        assert piece == plain[off : off + n]
    try:
        ctr.xor(8, bytearray(16))
    except ValueError:
        return
    raise AssertionError("a piece that starts inside a block was decrypted")


def test_a_signature_is_of_one_key_over_one_digest():
    digest = sha256(b"what was signed").digest()
    sig = maker.sign(b"what was signed")
    assert signed.verify(maker.PUBLIC, sig, digest)
    assert not signed.verify(maker.PUBLIC, sig, sha256(b"what was not").digest())
    for at in (0, 100, 255):
        assert not signed.verify(maker.PUBLIC, bent(sig, at), digest)
    assert not signed.verify(maker.PUBLIC, sig[1:], digest) and not signed.verify(maker.PUBLIC, sig + b"\0", digest)
    more = (int.from_bytes(sig, "big") + maker.N).to_bytes(257, "big")
    assert not signed.verify(maker.PUBLIC, more[1:], digest) and not signed.verify(maker.PUBLIC, b"\xff" * 256, digest)
    assert not signed.verify(b"\xff" * 294, sig, digest)


def test_a_key_is_compared_whole_but_for_its_modulus():
    assert signed.modulus(maker.PUBLIC) == maker.N.to_bytes(256, "big")
    for at in list(range(33)) + list(range(289, 294)):
        assert signed.modulus(bent(maker.PUBLIC, at)) is None, at
    assert signed.modulus(maker.PUBLIC[:-1]) is None
    assert len(maker.PUBLIC) == signed.KEY_SIZE


# The control packet.


def read(packet, root=maker.ROOT, public=maker.PUBLIC):
    return control.read(packet, root, signed.key_hash(maker.PUBLIC), public)


def test_a_control_packet_reads_back_as_it_was_made():
    made = maker.Package([(0, 16, RES), (3, 0, RES), (4, 1, RES)], 1002003)
    found = read(made.packet)
    assert len(made.packet) == 338 + 263 * 3
    assert (found.dfu, found.hw, found.sdk, found.fw, found.block) == (1, 51, 7001, 1002003, 512)
    assert [(i.id, i.flags) for i in found.images] == [(0, 16), (3, 0), (4, 1)]
    assert found.image(3).length == len(made.stored[3]) and found.image(9) is None
    assert found.same() == made.control.same()


def test_each_byte_of_a_control_packet_counts():
    packet = maker.Package([(3, 0, RES[:16])]).packet
    for at in range(0, len(packet), 3):
        raises(Refused, "control-hash" if at < len(packet) - 256 else "control-signature", read, bent(packet, at))


def test_a_control_packet_of_another_length_root_key_or_signer_is_refused():
    packet = maker.Package([(3, 0, RES)]).packet
    for wrong in (b"", packet[:287], packet[:-1], packet + b"\0", bytes(control.SIZE + 1)):
        raises(Refused, "control-hash", read, wrong)
    raises(Refused, "control-hash", read, packet, bytes(32))
    raises(Refused, "control-signature", read, packet, maker.ROOT, b"\xff" * 294)


def test_signed_fields_that_do_not_hang_together_are_refused():
    image = control.Image(bytes(256), 16, 0, 3)
    good = control.Control([1, 51, 0, 1, bytes(32), 512], [image]).encode()
    assert control.Control.decode(good).images[0].length == 16
    for at, value in ((49, 2), (49, 0), (49, 12), (47, 1), (48, 5), (48, 9)):
        raises(Refused, "control-fields", control.Control.decode, good[:at] + bytes((value,)) + good[at + 1 :])
    raises(Refused, "control-fields", control.Control.decode, good[:40])


# Records.


def test_a_record_is_its_block_at_its_place():
    room = bytearray(600)
    record = wire.encode(512, RES[:512], RES[:512])
    assert wire.check(record, 512, room) == 512 and room[:512] == RES[:512]
    for at in range(0, len(record), 5):
        raises(Corrupt, "chunk", wire.check, bent(record, at), 512, room)
    raises(Corrupt, "chunk", wire.check, record, 0, room)
    for wrong in (record[:36], record[:20], record + bytes(600)):
        raises(Corrupt, "chunk", wire.check, wrong, 512, room)
    assert (wire.count(513, 512), wire.size(513, 512)) == (2, 585)


def test_an_encrypted_record_is_proven_plain_and_kept_encrypted():
    stored = maker.encrypted(RES[:512])
    ctr = Ctr(maker.IMAGE_KEY, signed.key_hash(maker.PUBLIC))
    room = bytearray(512)
    assert wire.check(wire.encode(0, RES[:512], stored), 0, room, ctr) == 512 and bytes(room) == stored
    raises(Corrupt, "chunk", wire.check, wire.encode(0, RES[:512], bent(stored, 9)), 0, room, ctr)


# Compressed images.


def opened(data, cipher=None):
    flash = SimFlash(0x8000, prog_size=1)
    flash.prog(0, data)
    return com.Com(com.Stored(flash, len(data), cipher))


def inflated(data):
    found = opened(data)
    out = b""
    buf = bytearray(1000)
    n = found.readinto(buf)
    while n:
        out += bytes(buf[:n])
        n = found.readinto(buf)
    assert found.readinto(buf) == 0
    found.close()
    return out


def test_a_compressed_image_comes_back_from_zlib_and_from_raw_chunks():
    plain = maker.payload(25000, 5)
    assert inflated(maker.com(plain) + bytes(9)) == plain
    assert inflated(maker.com(plain, 1000)) == plain
    raw = pack("<II", 5, 10240) + pack("<II", 14, 5) + b"\x01" + pack("<HH", 5, 0xFFFA) + plain[:5]
    assert inflated(raw) == plain[:5]


def test_an_encrypted_compressed_image_is_read_at_any_offset():
    plain = maker.payload(9001, 6)
    data = maker.encrypted(maker.com(plain, 1000))
    found = opened(data, Ctr(maker.IMAGE_KEY, signed.key_hash(maker.PUBLIC)))
    buf = bytearray(9001)
    at = 0
    while at < 9001:
        at += found.readinto(memoryview(buf)[at:])
    assert buf == plain


def test_no_length_of_a_compressed_image_is_believed():
    plain = maker.payload(3000, 5)
    good = maker.com(plain, 1000)
    wrong = {
        "no chunk size": pack("<II", 3000, 0) + good[8:],
        "a chunk too large": pack("<II", 3000, 10241) + good[8:],
        "more than is there": pack("<II", 4000, 1000) + good[8:],
        "a chunk past the end": good[:8] + pack("<I", 9999) + good[12:],
        "a chunk past the room": good[:8] + pack("<I", 0x7FFFFFFF) + good[12:],
        "a chunk of nothing": good[:8] + pack("<I", 4) + good[12:],
        "no zlib": good[:12] + b"\x79" + good[13:],
        "less than a chunk says": good[:15] + pack("<HH", 999, 999 ^ 0xFFFF) + good[19:],
        "more than a chunk says": good[:15] + pack("<HH", 1001, 1001 ^ 0xFFFF) + good[19:],
        "cut short": good[:-40],
    }
    for name in wrong:
        raises(Corrupt, "decode", inflated, wrong[name])


# Offline packages.


def package_of(data):
    flash = SimFlash(0x8000, prog_size=1)
    flash.prog(0, data)
    return offline.Package(Region(flash, 0, len(data)))


def test_the_checksum_is_crc_32_mpeg_2():
    # The catalogue's check value of this CRC.
    assert offline.Crc().feed(b"123456789").value() == 0x0376E6E7
    assert offline.Crc().value() == 0xFFFFFFFF


def test_an_offline_package_of_either_version_reads_back():
    made = maker.Package([(0, 16, RES)])
    found = package_of(maker.offline_v0(made))
    assert (found.version, [e.id for e in found.entries]) == (0, [10, 0])
    data = offline.encode_v1([(0, 16, maker.com(RES)), (3, 0, RES)])
    found = package_of(data)
    assert (found.version, found.state, [(e.id, e.flags) for e in found.entries]) == (1, offline.NEW, [(0, 16), (3, 0)])
    fed = []
    found.prove(bytearray(512), lambda: fed.append(1))
    assert len(fed) == (len(data) - found.start + 511) // 512
    raises(Corrupt, "image", package_of(bent(data, len(data) - 1)).prove, bytearray(512), lambda: None)


def test_an_offline_package_that_leaves_its_place_is_refused():
    v0 = maker.offline_v0(maker.Package([(0, 16, RES)]))
    v1 = offline.encode_v1([(3, 0, RES)])
    wrong = [b"", v1[:11], b"X" + v1[1:], v1[:4] + b"\2" + v1[5:], v1[:6] + b"\0" + v1[7:], v1[:6] + b"\x11" + v1[7:]]
    wrong += [v1[:14], v1[:-1], v0[:-1], v0[:9] + b"\x03" + v0[10:], v0[:9] + b"\x0a" + b"\xff" * 4 + v0[14:]]
    for data in wrong:
        raises(Corrupt, "image", package_of, data)


# The flash table.


def test_a_table_reads_back_and_names_what_starts():
    places = maker.places()
    for apart, id in ((True, 10), (False, 4)):
        flash = maker.flash(places, apart=apart)
        table.check(flash)
        assert table.running(flash, table.HCPU_CORE, maker.BASE) == id
        assert table.running(flash, table.LCPU_CORE, maker.BASE) is None
        assert table.place(flash, id).xip == places["manager"][0]
        assert table.header(flash, id).flags == table.AUTO and table.header(flash, table.IMG_HCPU2) is None
        assert table.public_key(flash) == maker.PUBLIC
    assert (table.SIZE, table.RUNNING_AT, table.HEADERS_AT + 512 * table.HEADERS) == (0x2C10, 0x2C00, 0x2C00)


def test_what_is_no_table_is_refused():
    flash = SimFlash(0x5000)
    raises(Refused, "table", table.check, flash)
    for id in (0, 1, 16):
        raises(Refused, "table", table.header_at, id)
    for at in (maker.BASE, maker.BASE + 0x1001, maker.BASE + 0x2C00):
        flash.erase(0x2000, 0x1000)
        flash.prog(table.RUNNING_AT + 8, pack("<I", at))
        raises(Refused, "table", table.running, flash, table.HCPU_CORE, maker.BASE)


HEAD = table.Header(9000, 512, 2, b"k" * 32, b"s" * 256, b"v" * 20)
NEXT = table.Header(9001, 512, 3, b"K" * 32, b"S" * 256, b"V" * 20)


def test_a_header_in_a_shared_sector_is_written_once_and_never_erased():
    flash = maker.flash(maker.places(), apart=False)
    assert table.put_header(flash, 8, HEAD) and table.header(flash, 8) == HEAD
    assert table.put_header(flash, 8, HEAD) and not table.put_header(flash, 8, NEXT)
    assert table.header(flash, 8) == HEAD and sum(flash.wear) == 0 and not table.writable(flash, 8)
    raises(FlashError, None, lambda: flash.erase(1, 1))


def test_a_header_in_a_sector_of_its_own_is_rewritten_and_a_cut_hurts_nobody():
    places = maker.places()
    start = maker.flash(places)
    assert table.put_header(start, 8, HEAD)
    shot = start.snapshot()
    for op in (1, 2):
        for where in ("before", "inside", "after"):
            start.restore(shot)
            start.ops = 0
            start.cut, start.cut_at = op, where
            try:
                table.put_header(start, 8, NEXT)
                assert op == 2
            except PowerCut:
                pass
            start.power_on()
            assert table.running(start, table.HCPU_CORE, maker.BASE) == 10 and table.header(start, 10).flags == 2
            assert table.put_header(start, 8, NEXT) and table.header(start, 8) == NEXT


def test_a_header_that_does_not_hold_is_an_error():
    flash = maker.flash(maker.places())
    flash.prog = lambda off, buf: None
    raises(FlashError, "readback", table.put_header, flash, 8, HEAD)


# What a chip keeps.


def test_a_control_page_keeps_the_key_wrapped_for_this_chip():
    chip = maker.chip()
    made = maker.Package([(0, 16, RES)])
    packets.save(chip, 1, made.control)
    found = packets.load(chip, 1)
    assert found.key == maker.IMAGE_KEY and found.same() == made.control.same()
    raw = maker.held(chip.pages[1], 600)
    assert raw.find(maker.IMAGE_KEY) < 0 and packets.load(chip, 0) is None
    other = maker.chip(memory=chip.flash, fuses=maker.efuse(uid=bytes(16)))
    assert packets.load(other, 1).key != maker.IMAGE_KEY
    for off in (0, 4, 9, 12, 80):
        chip.flash.overwrite = ((0, chip.flash.size),)
        shot = chip.flash.snapshot()
        chip.pages[1].prog(off // 4 * 4, bytes(4))
        assert packets.load(chip, 1) is None
        chip.flash.restore(shot)
    chip.pages[0].prog = lambda off, buf: None
    raises(FlashError, "readback", packets.save, chip, 0, made.control)


def test_records_are_read_as_they_were_written():
    user = User(1, 17, 900, bytes(32), 2000, b"d" * 32)
    assert len(user.encode()) == User.SIZE and vars_of(User.decode(user.encode())) == vars_of(user)
    assert User.decode(b"short") is None and User.decode(None) is None
    now = progress.Progress()
    now.state, now.image, now.packets, now.force, now.images[2] = 3, 4, 77, 0x119, 2
    back = progress.Progress.decode(now.encode())
    assert len(now.encode()) == progress.Progress.SIZE and back.encode() == now.encode()
    assert progress.Progress.decode(b"") is not None and back.resume(512, 4096) == 72 and back.resume(2048, 4096) == 76
    assert EFUSE_SIZE == len(maker.efuse())


def vars_of(user):
    return user.slot, user.flags, user.stored, user.sha, user.size, user.digest


def test_what_is_wanted_is_the_last_firmware_whatever_files_came_after():
    chip = maker.chip()
    assert wanted(chip.journal) is None
    firmware = Record(b"firmware", bytes(32), bytes(8), 9, 1, 1, 0, 0, 0)
    files = Record(b"the file", b"f" * 32, bytes(8), 9, 2, 1, 1, 1, 0)
    chip.journal.put("running", firmware.encode())
    assert wanted(chip.journal).id == b"firmware"
    chip.journal.put("image", firmware.encode())
    chip.journal.put("running", files.encode())
    assert wanted(chip.journal).id == b"firmware"


# Messages and their frames.


def test_messages_have_the_bytes_of_the_vendor():
    assert messages.encode(messages.INIT_RSP, 9, 1) == bytes.fromhex("010004000900" + "0100")
    assert messages.encode(messages.START, 548, 1, 20, 3) == bytes.fromhex("06000c0024020000010000001403" + "0000")
    assert messages.encode(messages.PACKET, 3, 7, 2, tail=b"ab") == bytes.fromhex("0a000800030007000200") + b"ab"
    assert messages.encode(messages.INIT_EXT_RSP, 0, 1, 0, 8, 3, 20, 1, 1) == bytes.fromhex(
        "21000c00000001000800000003140101"
    )
    id, fields, _tail = messages.decode(bytes.fromhex("06000a0024020000010000001403"))
    assert (id, fields) == (messages.START, (548, 1, 20, 3))


def test_what_is_no_message_is_corrupt():
    good = messages.encode(messages.END, 3, 0)
    for wrong in (b"", good[:3], good[:-1], good + b"\0", b"\x63\0\0\0", bytes.fromhex("06000900240200000100000014")):
        raises(Corrupt, "decode", messages.decode, wrong)


def test_a_message_comes_whole_out_of_its_values():
    parts = Parts(bytearray(600))
    for mtu in (MTU, 100, 517):
        for n in (1, 16, 17, 100, 558, 600):
            message = maker.payload(n, n)
            got = [bytes(m) for m in map(parts.feed, frame(message, mtu)) if m is not None]
            assert got == [message] and max(map(len, frame(message, mtu))) <= mtu - 3
    assert parts.bad == 0


def test_a_value_that_does_not_fit_drops_the_message_and_the_next_one_comes():
    parts = Parts(bytearray(64))
    values = frame(maker.payload(60, 1))
    whole = frame(b"whole")[0]
    for wrong in (
        [values[1]],
        [values[0], values[0], values[2]],
        values[:2] + [values[-1][:-1]],
        [values[0], values[1], values[1], values[1], values[1]],
        frame(bytes(65)),
        [b"\x02" + whole[1:]],
        [b""],
        [whole[:3]],
        [whole[:-1]],
        [b"\1\7" + whole[2:]],
    ):
        bad = parts.bad
        assert not [m for m in map(parts.feed, wrong) if m is not None]
        got = parts.feed(whole)
        assert got is not None and bytes(got) == b"whole" and parts.bad > bad
