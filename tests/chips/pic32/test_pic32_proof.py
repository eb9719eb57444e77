"""What binds an entry of the manifest: its number, its product, its image, EraseVer; and the numbers' own bounds.

The stranger of these tests has old manifests, their images and the network, and no key.
"""

from binascii import hexlify
from hashlib import sha256

from mpota.layout.pic32 import accept, events
from mpota.layout.pic32.link.manifest import OFFERS
from mpota.layout.pic32.settings import configure
from mpota.layout.pic32.store import control, database
from mpota_boot.errors import NotNow, Refused
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_signer import bound, erased, proof, sign
from tests.chips.pic32.test_pic32_hostile import signed
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C, Deaf
from tests.chips.pic32.test_pic32_service import KEY, URL, Device, Net, Open, app, entry
from tests.expect import raises

D = maker.image(77)


def under(n, other, data, name="app.bin"):
    """The entry that was signed for `n`, with the number `other` in place of it."""
    return signed(n, data, name).replace('"Version": %d,' % n, '"Version": %d,' % other)


def released(d, n, data):
    """The owner's next release, installed and confirmed."""
    d.net.files["app.bin"] = data
    d.net.offer(signed(n, data))
    d.service.control(events.CHECK)
    assert d.run() == "reset", d.service.error
    d.reset()
    assert d.service.step() == "idle" and maker.holds(d.chip, data)
    d.run()
    return d


def test_the_bytes_that_are_signed_are_those_of_the_page():
    from mpota.layout.pic32.link.manifest import Entry

    fields = {"version": 12, "digest": "AB" * 32, "url": "http://h/a", "product": "lamp"}
    text = "mpota pic32 entry\nlamp\n12\n%s\n0\n" % ("ab" * 32)
    assert Entry(fields).signed() == text.encode()
    assert Entry({"version": 3, "erasever": True}).signed() == b"mpota pic32 entry\n\n3\n\n1\n"


def test_an_old_signed_image_does_nothing_under_another_number():
    d = released(Device(Net(), key=KEY), 3, B)
    released(d, 4, C)
    plain = entry(999, B, more=', "Signature": "%s"' % sign(B))
    for n in (5, 6, 99, 104, 105, 998, 999):
        d.net.files["app.bin"] = B
        for offer in (
            under(3, n, B),
            plain.replace("999", str(n), 1),
            # The proof of the newest image, of no image, of an erasure.
            entry(n, B, more=', "Signature": "%s"' % sign(B) + bound(4, sha256(C).digest())),
            entry(n, B, more=', "Signature": "%s"' % sign(B) + bound(n)),
            entry(n, B, more=', "Signature": "%s"' % sign(B) + bound(n, sha256(B).digest(), erase=1)),
            entry(n, B, more=', "Signature": "%s"' % sign(B) + bound(n, sha256(B).digest(), "lamp")),
        ):
            asked = len(d.net.asked)
            d.net.offer(offer)
            d.service.control(events.CHECK)
            assert d.run() == "idle" and d.events[-1] == 7 and d.net.asked[asked:] == [URL], offer
    d.reset()
    assert maker.holds(d.chip, C)
    # The next release comes, also where the stranger's entries stand beside it.
    for n in (5, 6, 999):
        d = released(Device(Net(), key=KEY), 4, C)
        d.net.files["app.bin"] = D
        d.net.offer(under(3, n, B, "b.bin"), signed(5, D), under(3, n, B, "c.bin"))
        d.service.control(events.CHECK)
        assert d.run() == "reset" and maker.rows(d.chip)[-1][2] == "5" and "http://h/b.bin" not in d.net.asked


def test_of_some_offers_the_first_that_counts_is_taken():
    strange = [under(3, n, B, "b.bin") for n in (20, 19, 18, 17)]
    d = Device(app(D).offer(signed(5, D), *strange[: OFFERS - 1]), key=KEY)
    assert d.run() == "reset" and d.service.error.code == "signature"
    # More of them hide it, as would leaving it out.
    d = Device(app(D).offer(signed(5, D), *strange), key=KEY)
    assert d.run() == "idle" and d.events == [4, 7]
    d = Device(app(D).offer(signed(5, D), strange[0]), key=KEY, last_entry=True)
    assert d.run() == "idle" and d.events == [4, 7], "the vendor's rule looks at one"


def test_an_image_of_another_product_is_passed_over_and_named_where_there_is_no_other():
    def of(product, n, data):
        more = ', "Signature": "%s"' % sign(data) + bound(n, sha256(data).digest(), product)
        return entry(n, data, more=more)

    d = Device(app(B).offer(of("lamp", 9, C), signed(3, B), of("lamp", 10, C)), key=KEY)
    assert d.run() == "reset" and d.service.error is None
    d = Device(app(B).offer(of("lamp", 9, B)), key=KEY)
    assert d.run() == "idle" and d.events == [4, 7] and d.service.error.code == "product"
    assert "lamp" in str(d.service.error) and "demo" in str(d.service.error)
    # Named otherwise than it was signed for.
    d = Device(app(B).offer(of("lamp", 9, B).replace('"lamp"', '"demo"')), key=KEY)
    assert d.run() == "idle" and d.events == [4, 7] and d.service.error.code == "signature"
    # Without a name in the entry nothing is signed for this product either.
    d = Device(app(B).offer(of("demo", 9, B).replace('"Product": "demo", ', "")), key=KEY)
    assert d.run() == "idle" and d.service.error.code == "product" and d.net.asked == [URL]
    d.service.offered(
        {"Version": 9, "URL": "http://h/app.bin", "Digest": "ab" * 32, "EntrySignature": "x", "Product": "n"}
    )
    assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "idle"
    assert d.service.error.code == "product" and d.net.asked == [URL]


def test_both_signatures_are_asked_for():
    good = ', "Signature": "%s"' % sign(B), bound(3, sha256(B).digest())
    for more in (good[0], good[1], good[0].replace(sign(B), sign(A)) + good[1]):
        d = Device(app(B).offer(entry(3, B, more=more)), key=KEY)
        assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL], more
    d = Device(app(B).offer(entry(3, B, more=good[0])), key=KEY)
    d.run()
    assert "`vendor_manifest`" in str(d.service.error)


def test_the_vendors_own_manifest_counts_where_the_settings_say_so():
    more = ', "Signature": "%s"' % sign(B)
    d = Device(app(B).offer(entry(3, B, more=more)), key=KEY, vendor_manifest=True)
    assert d.run() == "reset" and d.chip.store.files["image1_sign.txt"] == sign(B).encode()
    for text in (entry(3, B), entry(3, B, more=more.replace(sign(B), sign(A)))):
        d = Device(app(B).offer(text), key=KEY, vendor_manifest=True)
        assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL]
    # A wrong proof is not passed over.
    d = Device(app(B).offer(entry(3, B, more=more + bound(4, sha256(B).digest()))), key=KEY, vendor_manifest=True)
    assert d.run() == "idle" and d.service.error.code == "signature" and d.net.asked == [URL]
    # Without a key the setting lets nobody in.
    d = Device(app(B).offer(entry(3, B, more=more)), vendor_manifest=True)
    assert d.run() == "idle" and d.service.error.code == "unsigned" and d.net.asked == [URL]


def test_a_number_may_not_jump():
    for n, taken in ((3, True), (102, True), (103, False), (999, False)):
        for d in (Device(app(B).offer(signed(n, B)), key=KEY), Open(app(B).offer(entry(n, B)))):
            assert d.run() == ("reset" if taken else "idle"), n
            assert taken or ("3 to 102" in str(d.service.error) and d.net.asked == [URL])
    d = Device(app(B).offer(signed(999, B)), key=KEY, jump=997)
    assert d.run() == "reset"
    # By parameters too.
    d = Open(app(B), period_ms=0)
    d.service.ask = False
    d.service.set_parameters("http://h/app.bin", 103, hexlify(sha256(B).digest()).decode())
    assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "idle"
    assert d.service.error.code == "number" and "`jump`" in str(d.service.error) and not d.net.asked
    # The factory image has no number to count from.
    d = Device(app(B).offer(signed(700, B)), (), key=KEY)
    assert maker.holds(d.chip, GOLDEN) and d.run() == "reset"


def test_the_settings_say_how_far_and_whose_manifest():
    for given, jump, vendor, error in (
        ({}, accept.JUMP, False, None),
        ({"jump": 7, "vendor_manifest": True}, 7, True, None),
        ({"jump": 1000}, accept.JUMP, False, None),
        ({"jump": -1}, accept.JUMP, False, None),
        ({"vendor_manifest": "yes"}, accept.JUMP, False, "setting"),
    ):
        d = Device(Net())
        d.board.settings.update(given)
        configure(d.service)
        assert (d.service.jump, d.service.vendor_manifest) == (jump, vendor), given
        assert (d.service.error and d.service.error.code) == error


def test_a_signed_image_comes_by_parameters_and_by_a_message():
    digest = sha256(B).digest()
    d = Device(app(B), key=KEY, period_ms=0)
    d.service.ask = False
    given = "http://h/app.bin", 3, hexlify(digest).decode(), sign(B)
    d.service.set_parameters(*given)
    assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "idle"
    assert d.service.error.code == "signature"
    d.service.set_parameters(*given, proof(3, digest))
    assert d.service.control(events.INITIATE) == events.SUCCESS and d.run() == "reset"


# The number that is too high to be followed.


def high(n=999):
    """A Device that runs image n, with the one before it in its store."""
    return Open(Net(), (("a.bin", 2, "f8", A), ("b.bin", n, "f8", B)))


def test_the_numbers_begin_at_1_again():
    d = high()
    assert maker.holds(d.chip, B)
    raises(Refused, "number", update, d.board, C)
    d.net.files["app.bin"] = C
    d.net.offer(entry(5, C))
    assert d.run() == "idle" and d.events == [4, 7]
    assert d.service.control(events.RENUMBER) == events.SUCCESS and d.events == [4, 7]
    assert d.service.control(events.RESET) == events.SUCCESS and d.service.step() == "reset"
    d.reset()
    assert maker.holds(d.chip, B) and maker.page(d.chip).version == 2 and d.service.trial is None
    assert maker.rows(d.chip) == [("a.bin", "f8", "1"), ("b.bin", "f8", "2")]
    assert d.run() == "reset"
    d.reset()
    assert d.service.step() == "idle" and maker.holds(d.chip, C) and maker.rows(d.chip)[2] == ("image1.bin", "f8", "5")


def test_a_renumbered_image_keeps_its_version_and_what_was_given_up():
    d = Open(app(B).offer(entry(90, B)))
    d.run()
    d.reset().service.step()
    update(d.board, C)
    d.reset(lambda: False)
    assert d.service.step() == "reset"
    d.reset()
    assert maker.holds(d.chip, B) and d.board.layout.status()["version"] == "0.0.0.90"
    assert d.service.control(events.RENUMBER) == events.SUCCESS
    d.reset()
    assert maker.rows(d.chip) == [("a.bin", "f8", "1"), ("image1.bin", "f8", "2"), ("image2.bin", "f0", "3")]
    assert d.board.layout.status()["version"] == "0.0.0.2" and d.board.layout.status()["floor"] == "0.0.0.2"
    d.net.files["app.bin"] = C
    d.net.offer(entry(3, C))
    assert d.run() == "idle" and d.service.error.code == "failed"
    # A package's image has its own version.
    d = Device(Net())
    update(d.board, B)
    d.reset().service.step()
    assert d.service.control(events.RENUMBER) == events.SUCCESS
    d.reset()
    assert d.board.layout.status()["version"] == "1.1.0" and maker.rows(d.chip)[1] == ("image1.bin", "f8", "2")


def test_numbers_do_not_begin_again_without_one_or_while_an_update_waits():
    d = Device(Net(), ())
    assert maker.holds(d.chip, GOLDEN) and d.service.control(events.RENUMBER) == events.FAILURE and d.events == []
    assert d.service.error.code == "rollback"
    d = Open(app(B).offer(entry(3, B)), auto_reset=False)
    d.run()
    assert d.service.control(events.RENUMBER) == events.FAILURE
    raises(NotNow, "trial", d.board.layout.renumber)


def test_a_row_that_gets_the_number_of_the_page_is_not_taken_for_it():
    # Rows of one number stay rows of one number. The higher ones have no files, so image 3 runs.
    d = Device(Net(), (("a.bin", 3, "f8", A),))
    more = [maker.row(name, n, C, "f8") for name, n in (("c.bin", 5), ("d.bin", 9), ("e.bin", 9))]
    d.chip.store.put("image_database.csv", database.encode([maker.row("a.bin", 3, A, "f8")] + more).encode())
    d.reset()
    assert maker.holds(d.chip, A) and maker.page(d.chip).version == 3
    assert d.service.control(events.RENUMBER) == events.SUCCESS
    assert [row[2] for row in maker.rows(d.chip)] == ["1", "2", "3", "3"]
    d.reset()
    assert maker.holds(d.chip, A) and maker.page(d.chip).version == 1


def test_a_renumbering_that_is_cut_leaves_the_image_and_its_way_back():
    for what in (maker.cuts_of_store, maker.cuts_of_flash):
        c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 9, "f8", B)))
        c.power_on()
        for how in what(c, lambda c=c: c.power_on().layout.renumber()):
            board = c.power_on()
            assert board is not None and maker.holds(c, B), how
            assert [row[2] for row in maker.rows(c)] in (["2", "9"], ["1", "2"]), how
            board.layout.rollback("by hand")
            c.power_on("reset")
            assert maker.holds(c, A), how


# An image that its owner takes back.


def test_the_image_that_runs_is_withdrawn_with_its_reason():
    d = Device(app(B).offer(signed(3, B)), key=KEY)
    d.run()
    d.reset().service.step()
    d.run()
    for digest in (b"", sha256(B).digest()):
        c = d.chip
        before = c.flash.snapshot(), dict(c.store.files)
        d.events.clear()
        d.net.offer(erased(3, digest), signed(3, B))
        d.service.control(events.CHECK)
        assert d.run() == "reset" and d.events == [4, 27] and d.service.error is None
        assert maker.rows(c) == [("a.bin", "f8", "2"), ("image1.bin", "f0", "3")]
        assert maker.page(c).status == control.DISABLED
        d.reset()
        assert maker.holds(c, A)
        # It stays out: the manifest says so, and without it the row does.
        assert d.run() == "idle" and d.events == [4, 7] and maker.rows(c)[1][1] == "f0"
        d.net.offer(signed(3, B))
        d.service.control(events.CHECK)
        assert d.run() == "idle" and d.service.error.code == "failed"
        told = d.board.layout.status()
        assert told["failed"] == {"version": "0.0.0.3", "reason": "withdrawn by the manifest"}
        assert "image 3, disabled: withdrawn by the manifest" in told["findings"][1]
        c.flash.restore(before[0])
        c.store.files = before[1]
        d.reset()
    # Another image of that number is not meant.
    d.net.offer(erased(3, sha256(C).digest()))
    assert d.run() == "idle" and d.events == [4, 26, 7] and maker.holds(d.chip, B)


def test_an_image_that_came_otherwise_is_withdrawn_with_its_reason_too():
    d = Device(Net().offer(erased(3)), (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)), key=KEY)
    assert d.run() == "reset"
    d.reset()
    assert maker.holds(d.chip, A) and d.board.layout.status()["failed"]["reason"] == "withdrawn by the manifest"


def test_a_withdrawn_image_waits_for_the_reset_where_the_settings_say_so():
    d = Device(Net().offer(erased(3)), (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)), key=KEY, auto_reset=False)
    assert d.run() == "idle" and d.events == [4, 27] and d.service.step() == "idle"
    assert d.service.control(events.RESET) == events.SUCCESS and d.service.step() == "reset"


def test_the_factory_image_follows_a_withdrawn_one_that_is_alone():
    d = Device(Net().offer(erased(3)), (("b.bin", 3, "f8", B),), key=KEY)
    assert d.run() == "reset"
    d.reset()
    assert maker.holds(d.chip, GOLDEN) and d.run() == "idle"


def test_what_is_withdrawn_stays_where_nothing_else_would_start():
    for spoil in ("none", "cut", "digest", "page"):
        d = Device(app(C), (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)), key=KEY)
        files = d.chip.store.files
        files["a.bin"] = A[:-1]
        golden = files.pop("factory_reset.bin")
        if spoil == "cut":
            files["factory_reset.bin"] = golden[:-1]
        elif spoil == "digest":
            files["factory_reset.bin"], files["factory_image_digest.txt"] = golden, bytes(32)
        elif spoil == "page":
            files["factory_reset.bin"] = b"\xff" + golden[1:]
        # The way forward is still one.
        d.net.offer(erased(3), signed(4, C))
        assert d.run() == "reset" and d.events[:3] == [4, 26, 6] and d.service.error.code == "erase", spoil
        d.reset()
        assert maker.holds(d.chip, C)


def test_an_offer_that_the_same_manifest_withdraws_is_left_out():
    for make, erase, options in (
        (signed, erased(3), {"key": KEY}),
        (entry, '{"Version": 3, "EraseVer": true}', {"bare": True}),
    ):
        for entries in ((erase, make(3, B)), (make(3, B), erase)):
            d = Device(app(B).offer(*entries), **options)
            for _ in range(3):
                d.board.ms += 60000
                assert d.run() == "idle" and d.net.asked[-1] == URL
            assert d.events == [4, 26, 7, 4, 7, 4, 7] and "http://h/app.bin" not in d.net.asked
    # A stranger's erasure keeps nothing out.
    d = Device(app(B).offer('{"Version": 3, "EraseVer": true}', signed(3, B)), key=KEY)
    assert d.run() == "reset" and d.events[:3] == [4, 26, 6]


def test_a_withdrawal_that_cannot_be_written_comes_again():
    d = Device(Net().offer(erased(3)), (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)), key=KEY)
    d.service.step()
    port = d.board.layout.port
    good, port.files = port.files, Deaf(port.files, ("image_database.new", "image_database.csv"))
    assert d.run() == "idle" and d.events == [4, 5] and d.service.error.code == "store"
    port.files = good
    d.board.ms += 60000
    assert d.run() == "reset"


def test_a_withdrawal_that_is_cut_leaves_the_one_image_or_the_other():
    for what in (maker.cuts_of_store, maker.cuts_of_flash):
        c = maker.chip((("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)))
        c.power_on()
        for how in what(c, lambda c=c: c.power_on().layout.withdraw()):
            board = c.power_on()
            assert board is not None and (maker.holds(c, A) or maker.holds(c, B)), how
            if maker.holds(c, B):
                board.layout.withdraw()
                c.power_on("reset")
            assert maker.holds(c, A) and maker.rows(c)[1][1] == "f0", how


def test_a_manifest_with_more_erasures_than_are_looked_at_names_it():
    from mpota.layout.pic32.link import manifest

    d = Device(Net().offer(*[erased(n) for n in range(50, 51 + manifest.ERASES)]), key=KEY)
    assert d.run() == "idle" and d.events == [4] + [26] * manifest.ERASES + [7]
    assert "%d are looked at" % manifest.ERASES in str(d.service.error)
