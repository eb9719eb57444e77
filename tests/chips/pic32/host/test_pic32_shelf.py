"""A shelf of releases: manifest.json stays one that boards read, its entries are signed, releases are taken back."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mpota.layout.pic32 import events
from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.pipe import p256
from mpota_boot.errors import Refused
from mpota_host.chips.pic32 import hexfile, packer
from mpota_host.chips.pic32.sample import signing_key
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.host.test_pic32_pack import BOOT, app, run
from tests.chips.pic32.test_pic32_loader import A, B
from tests.chips.pic32.test_pic32_service import Device, Net

URL = "http://updates.example.com/ota"


class Shelf:
    """A folder of releases and the key that signs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = signing_key()
        (folder / "key.pem").write_bytes(self.key)
        (folder / "lamp.hex").write_bytes(app())
        (folder / "boot.hex").write_bytes(BOOT)

    def pack(self, n: int, *more: object) -> Result:
        return run("pic32", "pack", self.folder / "lamp.hex", "--version", n, "--url", URL, *more, "-o", self.folder)

    def signed(self, n: int, *more: object, product: str = "demo") -> Result:
        return self.pack(n, "--key", self.folder / "key.pem", "--product", product, *more)

    def withdraw(self, n: int, *more: object) -> Result:
        return run("pic32", "withdraw", n, *more, "-o", self.folder)

    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "manifest.json").read_text())["ota"]
        return found

    def numbers(self) -> list[int]:
        return [entry["Version"] for entry in self.entries()]

    def size(self) -> int:
        return (self.folder / "manifest.json").stat().st_size


def refused(done: Result) -> str:
    """Why a command refused."""
    assert isinstance(done.exception, Refused), done
    return str(done.exception)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(
    ("limit", "fewest", "signed"), [(8192, 30, False), (8192, 15, True), (2000, 7, False), (2000, 3, True)]
)
def test_the_oldest_releases_make_room_and_the_newest_stays(
    shelf: Shelf, limit: int, fewest: int, signed: bool
) -> None:
    key, product = (shelf.key, "demo") if signed else (None, "")
    path, left = shelf.folder / "manifest.json", []
    for n in range(1, 60):
        options = packer.Options(hexfile.slot_of("3.7"), key=key, number=n, base=URL, product=product)
        data, gone = packer.manifest(path, packer.entry("lamp.bin", b"%d" % n, options), limit)
        path.write_bytes(data)
        left += gone
        assert len(data) <= limit - 10, n
        assert shelf.numbers() == list(range(len(left) + 1, n + 1)), "the oldest go, in their order"
    assert left and len(shelf.numbers()) >= fewest
    assert manifest.read(bytearray(data + bytes(9)), len(data)).offer.number == 59


def test_pack_says_which_releases_it_left_out(shelf: Shelf) -> None:
    for n in range(1, 10):
        done = shelf.pack(n, "--board-limit", 2000)
        assert done.exit_code == 0
    assert shelf.size() <= 1990 and shelf.numbers()[-1] == 9 and shelf.numbers()[0] > 1
    assert "boards read 1,990 bytes of manifest.json" in done.stderr and "1" in done.stderr
    done = shelf.pack(10, "--board-limit", 2000, "--json")
    assert json.loads(done.stdout)["left_out"] == [shelf.numbers()[0] - 1]


def test_what_does_not_fit_alone_is_refused_and_nothing_is_written(shelf: Shelf) -> None:
    done = shelf.signed(1, "--board-limit", 300)
    assert "boards read 290" in refused(done) and not (shelf.folder / "manifest.json").exists()
    assert not (shelf.folder / "lamp.bin").exists()
    # Withdrawals are never left out in silence.
    for n in range(1, 40):
        assert shelf.withdraw(n).exit_code == 0 or n > 10
    before = (shelf.folder / "manifest.json").read_bytes()
    done = shelf.pack(50, "--board-limit", 2000)
    assert "withdrawals" in refused(done)
    assert (shelf.folder / "manifest.json").read_bytes() == before


def test_inspect_warns_of_a_manifest_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    entry = {"Version": 3, "URL": URL, "Digest": "ab" * 32}
    for n, status, words in ((1, 0, ""), (15, 0, "the vendor's own service reads 1,990"), (70, 5, "they read 8,192")):
        path.write_text(json.dumps({"ota": [entry] * n}))
        done = run("inspect", path)
        assert done.exit_code == status and words in done.stdout, done.stdout


def test_a_release_is_signed_for_its_number_and_product_and_boards_take_it(shelf: Shelf) -> None:
    done = shelf.signed(3)
    assert done.exit_code == 0 and "number is not signed" not in done.stderr
    (entry,) = shelf.entries()
    digest = sha256((shelf.folder / "lamp.bin").read_bytes()).hexdigest()
    assert (entry["Product"], entry["Digest"]) == ("demo", digest)
    public = packer.public(shelf.key)
    text = f"mpota pic32 entry\ndemo\n3\n{digest}\n0\n".encode()
    assert p256.verify_text(public, entry["EntrySignature"], sha256(text).digest())
    assert p256.verify_text(public, entry["Signature"], bytes.fromhex(digest))
    # The same for what a board of the tests can hold.
    options = packer.Options(hexfile.slot_of("3.7"), key=shelf.key, number=3, base="http://h", product="demo")
    data, _ = packer.manifest(shelf.folder / "none", packer.entry("app.bin", B, options))
    d = Device(Net(**{"app.bin": B, "manifest.json": data}), key=public)
    assert d.run() == "reset" and d.service.error is None
    shown = run("inspect", shelf.folder / "manifest.json").stdout
    assert "image 3 of demo, number and image signed" in shown


def test_without_a_product_the_vendors_signature_alone_is_made_and_said(shelf: Shelf) -> None:
    done = shelf.pack(3, "--key", shelf.folder / "key.pem")
    (entry,) = shelf.entries()
    assert done.exit_code == 0 and "`vendor_manifest`" in done.stderr
    assert "Signature" in entry and "EntrySignature" not in entry and "Product" not in entry
    assert "image 3, image signed" in run("inspect", shelf.folder / "manifest.json").stdout


@pytest.mark.parametrize("product", ["x" * 33, "two\nlines", "tab\t"])
def test_a_product_that_no_board_can_have_is_refused(shelf: Shelf, product: str) -> None:
    done = shelf.signed(3, product=product)
    assert "up to 32 bytes" in refused(done) and not (shelf.folder / "lamp.bin").exists()


def test_two_products_share_a_manifest(shelf: Shelf) -> None:
    for product in ("demo", "lamp", "demo"):
        assert shelf.signed(3, product=product).exit_code == 0
    assert [(entry["Version"], entry["Product"]) for entry in shelf.entries()] == [(3, "lamp"), (3, "demo")]


def test_the_files_for_a_bootloader_that_checks_signatures_are_made_and_made_again(shelf: Shelf) -> None:
    key = ("--key", shelf.folder / "key.pem", "--bootloader", shelf.folder / "boot.hex")
    for n in (1, 2):
        assert shelf.pack(n, *key).exit_code == 0
    public = packer.public(shelf.key)
    for name, signature in (("lamp.bin", "lamp_sign.txt"), ("factory_reset.bin", "factory_image_sign.txt")):
        data = (shelf.folder / name).read_bytes()
        text = (shelf.folder / signature).read_bytes()
        assert p256.verify_text(public, text, sha256(data).digest()), name
        assert "a signature of P-256" in run("inspect", shelf.folder / signature).stdout
    (shelf.folder / "lamp_sign.txt").write_text("my own notes")
    done = shelf.pack(3, *key)
    assert "lamp_sign.txt" in refused(done)
    for text in (b"A" * 88, b"!" * 88, b"x"):
        # 66 bytes, no base64, too short.
        (shelf.folder / "other.txt").write_bytes(text)
        refused(run("inspect", shelf.folder / "other.txt"))


def test_a_release_is_taken_back_and_boards_that_run_it_go_back(shelf: Shelf) -> None:
    assert shelf.signed(2).exit_code == 0 and shelf.signed(3).exit_code == 0
    digest = shelf.entries()[1]["Digest"]
    done = shelf.withdraw(3, "--key", shelf.folder / "key.pem", "--product", "demo")
    assert done.exit_code == 0 and "not signed" not in done.stderr
    assert shelf.numbers() == [2, 3] and shelf.entries()[1]["EraseVer"] is True
    assert shelf.entries()[1]["Digest"] == digest and "URL" not in shelf.entries()[1]
    assert "withdraws" in run("inspect", shelf.folder / "manifest.json").stdout
    # A board of the tests, whose image is another one.
    options = packer.Options(hexfile.slot_of("3.7"), key=shelf.key, number=3, product="demo")
    data = json.dumps({"ota": [packer.withdrawal(3, sha256(B).hexdigest(), options)]}).encode()
    rows = (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B))
    d = Device(Net(**{"manifest.json": data}), rows, key=packer.public(shelf.key))
    assert d.run() == "reset" and d.events == [events.CHECK_START, events.ERASED]
    d.reset()
    assert maker.holds(d.chip, A)
    # The number may be given again.
    assert shelf.signed(3).exit_code == 0 and "EraseVer" in shelf.entries()[1] and not shelf.entries()[1]["EraseVer"]


def test_a_withdrawal_without_a_key_says_who_heeds_it_and_a_number_that_was_never_offered_is_taken_back(
    shelf: Shelf,
) -> None:
    facts = json.loads(shelf.withdraw(7, "--json").stdout)
    assert facts["left_out"] == [] and facts["size"] == (shelf.folder / "manifest.json").stat().st_size
    done = shelf.withdraw(7)
    assert done.exit_code == 0 and "`bare`" in done.stderr
    assert shelf.entries() == [{"Version": 7, "EraseVer": True}]
    (shelf.folder / "manifest.json").write_text("my own notes")
    assert "is no manifest" in refused(shelf.withdraw(7))
    with pytest.raises(Refused, match="is no manifest"):
        packer.read(shelf.folder / "manifest.json")


def test_serve_says_what_serves_the_vendors_manifest_and_warns_of_one_that_is_too_large(shelf: Shelf) -> None:
    assert "make one with `pack`" in refused(run("serve", shelf.folder))
    assert shelf.signed(1).exit_code == 0
    said = refused(run("serve", shelf.folder))
    assert "a manifest of the vendor's" in said and "python -m http.server" in said and "no board reads" not in said
    (shelf.folder / "manifest.json").write_text(json.dumps({"ota": shelf.entries() * 30}))
    said = refused(run("serve", shelf.folder))
    assert "no board reads" in said and "8,192" in said
