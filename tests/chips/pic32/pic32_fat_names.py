"""Names from the network on the port's own VfsFat: a stranger's image leaves every file of the store as it was.

Runs on the unix port. The store is a FAT file system on a block device in RAM. Prints `N names, M bad`.
"""

from hashlib import sha256

import mpota_host
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.files import FACTORY_FILE
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_fat import Mounted
from tests.chips.pic32.test_pic32_hostile import EVIL, LONG, NAMES, A, B, C, escaped, signed, wrong
from tests.chips.pic32.test_pic32_service import KEY, URL, Net, entry

assert mpota_host


def listing(store):
    """{name: SHA-256 of its bytes}, but of the journal."""
    return {name: sha256(store.get(name, 1 << 20)).digest() for name in store.names() if name[:5] != "mpota"}


def stored(m):
    """A disk on which a row has a long name, one its short name, and one a name in another case."""
    store = m.chip.store
    store.put(LONG, C)
    store.put("Image2.bin", B)
    rows = [maker.row("a.BIN", 2, A, "f8"), maker.row("WIFI_O~1.BIN", 1, C, "f8"), maker.row("IMAGE2.BIN ", 9, B, "f0")]
    store.put(database.NAME, database.encode(rows).encode())
    store.put("a_sign.txt", b"A")


def serve(board, body, text, key):
    """The Service after its run; every URL but the manifest's gives `body`."""
    from io import BytesIO

    net = Net().offer(text)
    service = Service(board, lambda url: BytesIO(net.files["manifest.json"] if url == URL else body), URL)
    service.key, service.bare = key, key is None
    while service.step() == "busy":
        pass
    return service


def one(m, name):
    """None, or what is wrong with a name."""
    m.begin(None)
    m.mount()
    try:
        stored(m)
        board = m.chip.power_on()
        store = m.chip.store
        assert store.size("wifi_o~1.bin") == len(C) and store.size("image2.bin.") == len(B)
        before = listing(store)
        assert LONG in before and FACTORY_FILE in before
        for text, key in ((entry(9, EVIL, escaped(name)), KEY), (wrong(9, EVIL, escaped(name)), None)):
            service = serve(board, EVIL, text, key)
            if service.error is None or listing(store) != before:
                return "%r, %r" % (service.error, sorted(store.names()))
        service = serve(board, EVIL, signed(99, EVIL, escaped(name)), KEY)
        after = listing(store)
        changed = sorted([n for n in after if after[n] != before.get(n)])
        good = service.done and changed == ["image1.bin", "image1_sign.txt", database.NAME]
        return None if good and len(after) == len(before) + 2 else "%r, %r" % (service.error, changed)
    finally:
        m.umount()


def main():
    m = Mounted()
    bad = 0
    for name in NAMES:
        text = one(m, name)
        if text:
            bad += 1
            print("%r: %s" % (name, text))
    print("%d names, %d bad" % (len(NAMES), bad))


if __name__ == "__main__":
    main()
