"""A bootloader that starts signed images alone: packages and manifest entries for it, and what it would not start."""

from binascii import hexlify
from hashlib import sha256

from mpota.installer import install
from mpota.layout.pic32.layout import SIGNATURE
from mpota.layout.pic32.loader.programmer import Options
from mpota.layout.pic32.port import sign_of
from mpota_boot.errors import FlashError, LinkError, Refused
from mpota_host.package import format as fmt
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_signer import bound, sign
from tests.chips.pic32.test_pic32_layout import package
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C
from tests.chips.pic32.test_pic32_service import KEY, URL, Device, Net, app, entry
from tests.expect import raises
from tests.packages import Maker, Ram, several, version

OTHER = KEY[:63] + bytes((KEY[63] ^ 1,))


def signed(image, text, number=(1, 1, 0)):
    """A package of an image and its signature."""
    made = Maker(image)
    made.layout = b"pic32"
    made.version = version(*number)
    made.name = b"firmware"
    resource = Maker(text)
    resource.kind, resource.name = fmt.RESOURCE, SIGNATURE.encode()
    return several(made, resource)


def chip(key=KEY, settings=None):
    """A chip whose bootloader has this key and that runs a.bin, signed."""
    c = maker.chip((("a.bin", 2, "f8", A),), settings)
    c.store.put("a_sign.txt", sign(A).encode())
    c.options = Options(maker.BASE, key=key)
    return c


def put(board, data):
    put_over(board, Ram(data))


def put_over(board, link):
    for _ in install(board, link, None):
        pass


def test_a_package_that_carries_its_signature_is_started():
    c = chip()
    put(c.power_on(), signed(B, sign(B).encode()))
    assert c.store.files["image1_sign.txt"] == sign(B).encode()
    board = c.power_on("reset")
    assert maker.holds(c, B) and board.layout.on_trial().version == version(1, 1, 0)
    board.layout.confirm()
    put(c.power_on(), signed(C, sign(C).encode() + b"\n", (1, 2, 0)))
    c.power_on("reset")
    assert maker.holds(c, C) and c.store.files["image2_sign.txt"] == sign(C).encode() + b"\n"


def test_a_package_without_a_signature_is_refused_before_it_is_stored():
    c = chip()
    before = dict(c.store.files)
    error = raises(Refused, "signature", put, c.power_on(), package(B))
    assert "--resource image_sign.txt=" in str(error) and c.store.files == before
    assert maker.rows(c) == [("a.bin", "f8", "2")]
    # Another resource is none.
    other = Maker(sign(B).encode())
    other.kind, other.name = fmt.RESOURCE, b"image.txt"
    made = Maker(B)
    made.layout = b"pic32"
    raises(Refused, None, put, c.power_on(), several(made, other))
    assert c.store.files == before


def test_a_signature_of_another_image_or_key_is_refused_before_the_image_is_armed():
    for key, text in ((KEY, sign(A)), (KEY, "A" * 88), (KEY, sign(B)[:-4]), (OTHER, sign(B)), (b"", sign(B))):
        settings = {"boot_key": hexlify(key).decode()}
        c = chip(KEY, settings)
        raises(Refused, "signature", put, c.power_on(), signed(B, text.encode()))
        assert maker.rows(c) == [("a.bin", "f8", "2")]
        c.power_on("reset")
        assert maker.holds(c, A)
    raises(Refused, "size", put, chip().power_on(), signed(B, b"A" * 97))


def test_a_board_whose_bootloader_asks_for_none_keeps_a_signature_all_the_same():
    c = maker.chip((("a.bin", 2, "f8", A),))
    put(c.power_on(), signed(B, sign(B).encode()))
    assert c.store.files["image1_sign.txt"] == sign(B).encode()
    c.power_on("reset").layout.confirm()
    # A file of an image that came to nothing is no other image's.
    c.store.put("image2_sign.txt", b"old")
    put(c.power_on(), package(C, (1, 2, 0)))
    assert "image2_sign.txt" not in c.store.files and maker.rows(c)[2][0] == "image2.bin"


def begun(board, data, left):
    """A package of which all but so many bytes came."""
    link = Ram(data)
    link.data = data[:-left]
    raises(LinkError, "short", put_over, board, link)
    assert board.journal.last("progress")


def test_a_package_that_comes_in_two_pieces_is_whole():
    data = signed(B, sign(B).encode())
    # The line is cut in the signature, and in the image.
    for left in (20, 300):
        c = chip()
        begun(c.power_on(), data, left)
        put(c.power_on(), data)
        c.power_on("reset")
        assert maker.holds(c, B), left


def test_a_package_that_a_board_began_without_asking_is_not_armed_by_one_that_asks():
    c = maker.chip((("a.bin", 2, "f8", A),))
    c.store.put("a_sign.txt", sign(A).encode())
    begun(c.power_on(), package(B), 300)
    c.options = Options(maker.BASE, key=KEY)
    raises(Refused, "signature", put, c.power_on(), package(B))
    assert maker.rows(c) == [("a.bin", "f8", "2")]


def test_an_update_whose_power_fails_anywhere_starts_the_old_image_or_the_new_one():
    data = signed(B, sign(B).encode())
    for what in (maker.cuts_of_store, maker.cuts_of_flash):
        c = chip()
        c.power_on()

        def life(c=c):
            put(c.power_on(), data)
            c.power_on("reset").layout.confirm()

        for how in what(c, life):
            board = c.power_on()
            assert board is not None and (maker.holds(c, A) or maker.holds(c, B)), how
            if maker.holds(c, A):
                if not board.layout.record("armed"):
                    try:
                        put(board, data)
                    except FlashError:
                        # What was half written does not stand: from the beginning.
                        put(board, data)
                c.power_on("reset")
            assert maker.holds(c, B), (how, c.boots[-1].did)


def test_an_image_of_the_manifest_is_signed_by_the_bootloaders_key_too():
    d = Device(app(B).offer(entry(3, B, more=', "Signature": "%s"' % sign(B) + bound(3, sha256(B).digest()))), key=KEY)
    d.chip.store.put("a_sign.txt", sign(A).encode())
    d.board.layout.port.boot_key = OTHER
    assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL]
    assert "bootloader" in str(d.service.error)
    d.service.refused = []
    d.board.layout.port.boot_key = KEY
    d.board.ms += 60000
    assert d.run() == "reset"
    d.chip.options = Options(maker.BASE, key=KEY)
    d.reset()
    assert maker.holds(d.chip, B)
    # What nobody signed the bootloader does not start.
    d = Device(app(B).offer(entry(3, B)), bare=True)
    d.board.layout.port.boot_key = KEY
    assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL]


def test_a_factory_image_that_the_bootloader_will_not_start_holds_up_no_update():
    # Its owner put no signature beside it; or a wrong one; or it is not whole.
    for text, digest, held in (
        (None, None, False),
        (b"x", None, False),
        (GOLDEN, None, True),
        (GOLDEN, bytes(32), False),
    ):
        c = chip()
        golden = c.store.files["factory_reset.bin"]
        if text:
            c.store.put("factory_image_sign.txt", sign(golden).encode() if text is GOLDEN else text)
        if digest:
            c.store.put("factory_image_digest.txt", digest)
        board = c.power_on()
        board.layout.factory_reset()
        assert (board.layout.status()["updates"] is not None) == held, (text, digest)
        if not held:
            put(c.power_on(), signed(B, sign(B).encode()))
            c.power_on("reset")
            assert maker.holds(c, B)


def test_the_setting_is_the_key_and_what_is_none_lets_nothing_in():
    for given, key in ((None, None), (hexlify(KEY).decode(), KEY), ("12", b""), (5, b""), ("", b"")):
        c = maker.chip((("a.bin", 2, "f8", A),), {} if given is None else {"boot_key": given})
        assert c.power_on().layout.port.boot_key == key, given
    assert sign_of("a.bin") == "a_sign.txt" and sign_of("a") == "a_sign.txt" and sign_of("a.b.bin") == "a.b_sign.txt"


def test_status_of_a_board_and_its_check_of_a_manifest_that_offers_nothing_are_as_ever():
    c = chip()
    board = c.power_on()
    assert board.layout.status()["updates"] is None
    d = Device(Net().offer(), key=KEY)
    d.board.layout.port.boot_key = KEY
    assert d.run() == "idle" and d.events == [4, 7]
