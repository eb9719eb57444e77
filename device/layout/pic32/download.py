"""How an image of the vendor's manifest comes into the store: the offer, its bytes, digest, signature and row."""

from device.errors import OtaError, Refused
from device.layout.pic32 import database, files, manifest
from device.layout.pic32.control import DISABLED, PAGE
from device.layout.pic32.events import (
    AVAILABLE,
    CHECK_FAILED,
    CHECK_START,
    DB_ENTRY,
    DOWNLOAD_FAILED,
    DOWNLOAD_START,
    DOWNLOAD_SUCCESS,
    ERASE_FAILED,
    ERASED,
    IDLE,
    NOT_AVAILABLE,
    TRIGGER_FAILED,
    VERIFY_FAILED,
    VERIFY_START,
    VERIFY_SUCCESS,
)
from device.layout.pic32.files import FACTORY_FILE
from device.layout.pic32.port import judge
from device.stream import pull


class Download:
    """What a service is made with, and what its checks and updates go through, step by step."""

    auto_update = True
    auto_reset = True
    period_ms = 60000  # 0 asks only when told to
    last_entry = False
    enforce_tls = False
    most = manifest.MOST
    key = None  # x and y of the public key that signs images; None asks for no signature

    def __init__(self, board, fetch, url, self_test=None):
        self.board = board
        self.layout = board.layout
        self.fetch = fetch
        self.url = url
        self.self_test = self_test or (lambda: True)
        self.callback = self.job = self.offer = self.error = None
        self.said = IDLE
        self.done = self.reset = False
        self.progress = 0
        self.trial = self.layout.on_trial()
        self.began = self.due = board.ticks_ms()
        self.ask = bool(self.period_ms)
        try:
            if not self.trial:
                self.layout.tidy()
        except OtaError as e:
            self.error = e

    def _tell(self, event):
        self.said = event
        try:
            if self.callback:
                self.callback(event)
        except Exception as e:
            # Whoever listens must not end an update.
            self.error = e

    def _fail(self, event, error):
        self.error = error
        self._tell(event)

    def _name(self, offer):
        """The file's name as the vendor makes it, unless a row has it already: a good image is not written over."""
        stem = offer.url.split("?")[0].rpartition("/")[2]
        stem = (stem.rpartition(".")[0] or stem)[:60]
        stem = "".join([c if "a" <= c.lower() <= "z" or c in "0123456789._-" else "_" for c in stem]) or "image"
        taken = [row.name for row in self.layout.rows()] + [FACTORY_FILE]
        name = stem + ".bin"
        i = offer.number
        while name in taken:
            name = "%s-%d.bin" % (stem, i)
            i += 1
        return name

    def _download(self, url, name):
        """From the network to the file, block by block; nothing is written for what is no image."""
        store = self.layout.port.files
        self.layout.tidy()
        room = min(store.room() - PAGE, self.layout.port.flash.size)
        src = self.open(url)
        try:
            buf = bytearray(PAGE)
            target = files.Stored(store, name, room)
            done = 0
            n = pull(src, buf)
            while n:
                if not done:
                    judge(memoryview(buf)[:n], n + 1, self.layout.port.address)
                if done + n > room:
                    raise Refused("size", "the image has more than the %d bytes there is room for" % room)
                target.prog(done, memoryview(buf)[:n])
                done += n
                self.progress = done
                yield
                n = pull(src, buf)
        finally:
            src.close()

    def _verify(self, offer, name):
        """Bytes of the file, which is what the manifest promises and is signed where that is asked for."""
        store = self.layout.port.files
        sha, size = files.digest(store, name, bytearray(PAGE))
        if sha != offer.digest:
            raise Refused("digest", "the file is not the one that the manifest promises")
        if self.key or offer.signature:
            from device.layout.pic32 import p256

            if self.key is None or not p256.verify_text(self.key, offer.signature, sha):
                raise Refused("signature", "not signed by the key that is trusted here")
            store.put(name.rpartition(".")[0] + "_sign.txt", offer.signature.encode())
        return size

    def _check(self):
        self._tell(CHECK_START)
        try:
            self.layout.ready()
            src = self.open(self.url)
            try:
                found = manifest.read(src, self.most, self.last_entry)
            finally:
                src.close()
        except OtaError as e:
            return self._fail(CHECK_FAILED, e)
        yield
        for n in found.erase:
            self._erase(n)
        for text in found.wrong:
            self.error = Refused("manifest", text)
        offer = found.offer
        if offer is None or offer.number <= self._number() or self._failed(offer):
            return self._tell(NOT_AVAILABLE)
        self.offer = offer
        self._tell(AVAILABLE)
        if self.auto_update:
            yield from self._update(offer)

    def _number(self):
        return database.number(self.layout.port.version) if self.layout.port.running else 0

    def _failed(self, offer):
        """Was it given up here? Asking again would give it up again."""
        for row in self.layout.rows() or database.told(self.layout.port.files):
            if row.digest == offer.digest and row.status == DISABLED:
                self.error = Refused("failed", "image %d was given up here" % offer.number)
                return True
        return False

    def open(self, url):
        if self.enforce_tls and url[:8] != "https://":
            raise Refused("tls", "%s is not https" % url)
        return self.fetch(url)

    def _erase(self, n):
        """A row and its file; never the image that runs."""
        rows = self.layout.rows()
        gone = [row for row in rows if database.number(row.version) == n]
        if not gone or n == self._number():
            return self._fail(ERASE_FAILED, Refused("erase", "image %d runs, or there is none" % n))
        self.layout.save([row for row in rows if row not in gone])
        self.layout.tidy()
        self._tell(ERASED)

    def _update(self, offer):
        self._tell(DOWNLOAD_START)
        event = DOWNLOAD_FAILED
        try:
            self.layout.ready()
            if offer.number <= self._number():
                raise Refused("number", "image %d ranks below image %d, which runs" % (offer.number, self._number()))
            name = self._name(offer)
            yield from self._download(offer.url, name)
            self._tell(DOWNLOAD_SUCCESS)
            self._tell(VERIFY_START)
            event = VERIFY_FAILED
            size = self._verify(offer, name)
            self._tell(VERIFY_SUCCESS)
            event = TRIGGER_FAILED
            self.layout.take(name, offer.number, offer.digest, size)
        except Exception as e:
            # The file goes with the next look at the store.
            return self._fail(event, e)
        self.offer = None
        self.done = True
        self._tell(DB_ENTRY)
        self.reset = self.auto_reset
