"""The vendor's update service: asks a manifest, brings the best image into the store, and makes the loader choose it.

`step()` is one bounded step; it answers "idle", "busy", "trial", or "reset" when the board has to be reset now.
Events and control messages have the vendor's numbers. `fetch(url)` gives a Source, or the steps to one as Web.asking
does. What becomes of an image is the layout's: this is one more front door to it. An image on trial is judged as by
every agent, whose one link is the manifest here.
"""

from mpota.agent import Agent
from mpota.layout.pic32 import accept, erase
from mpota.layout.pic32.events import (
    AVAILABLE,
    CHECK,
    CHECK_FAILED,
    CHECK_START,
    DATABASE_FULL,
    DB_ENTRY,
    DOWNLOAD_FAILED,
    DOWNLOAD_START,
    DOWNLOAD_SUCCESS,
    FACTORY_RESET,
    FACTORY_RESET_SUCCESS,
    FAILURE,
    IDLE,
    INITIATE,
    NOT_AVAILABLE,
    REGISTER,
    RENUMBER,
    RESET,
    ROLLBACK,
    ROLLBACK_SUCCESS,
    SUCCESS,
    TRIGGER_FAILED,
    VERIFY_FAILED,
    VERIFY_START,
    VERIFY_SUCCESS,
    WAITING_FOR_TIME,
)
from mpota.layout.pic32.link import manifest
from mpota.layout.pic32.port import judge, sign_of
from mpota.layout.pic32.store import files
from mpota.layout.pic32.store.control import PAGE
from mpota_boot.errors import FlashError, LinkError, NotNow, OtaError, Refused

# A step hands over to the application after this long; a manifest or 4 KiB that take longer do not come at all.
STEP_MS, SLOW_MS = 200, 30000
# Entries of a manifest that are remembered because they failed, and how often trouble that may pass is tried.
FAILED, TRIES = 4, 3
# What layout.awake() counts.
AWAKE_MS = 360000


class Manifest:
    """The manifest as an agent's link, which is asked whether it answers. It has no packages."""

    def __init__(self, service):
        self.service = service

    def opening(self, at, buf=None):
        """The steps to an answer, which must be a manifest."""
        yield from self.service.manifest()

    def asked(self):
        return self.service.url

    def other(self, code=""):
        return False

    def report(self, code, words):
        """The service tells events to the application instead."""


class Service(Agent):
    """The agent of a board that asks the vendor's manifest.

    `health()` judges an image on trial: True confirms, False goes back, None is not yet. Without one an image is good
    as soon as the manifest has answered it.
    """

    auto_update = True
    auto_reset = True
    period_ms = 60000  # 0 asks only when told to
    last_entry = False
    enforce_tls = False
    most = manifest.MOST
    key = None  # x and y of the public key that signs images
    bare = False  # without a key: take what nobody signed
    vendor_manifest = False  # with a key: take entries that have the vendor's Signature alone
    jump = accept.JUMP

    def __init__(self, board, fetch, url, health=None):
        self.layout = board.layout
        self.fetch = fetch
        self.url = url
        self.callback = self.offer = None
        self.event = IDLE
        self.done = self.reset = False
        self.refused = []  # (mark of an entry, times that it failed, a word), the latest last
        self.erased = {}  # the mark of each withdrawal that was looked at: does it count?
        self.ask = True
        super().__init__(board, [Manifest(self)] if isinstance(url, str) else [], None, health)
        self.progress = 0
        self.broken = None  # the file whose download has begun, and may have broken off
        trial = self.trial
        # An image brings no application: one that failed under the image before says nothing of this one.
        self.ailing = trial and trial.tree & 15 == trial.tree >> 4 and bool(board.journal.last("boots"))
        try:
            if not trial:
                self.layout.tidy()
        except OtaError as e:
            self.error = e

    # What an application and a person ask for.

    def control(self, message, given=None):
        """A control message; SUCCESS, or FAILURE where it cannot be done now."""
        if message == REGISTER:
            self.callback = given
            return SUCCESS
        call = {
            CHECK: self._by_hand,
            INITIATE: self._initiate,
            RESET: self._reset,
            FACTORY_RESET: lambda: self._leave(self.layout.factory_reset, FACTORY_RESET_SUCCESS),
            ROLLBACK: lambda: self._leave(lambda: self.layout.rollback("rollback"), ROLLBACK_SUCCESS),
            RENUMBER: lambda: self._leave(self.layout.renumber, None),
        }.get(message)
        return FAILURE if self.job or self.trial or call is None else call()

    def look(self):
        """A check that somebody far away asks for, any number of times: what failed is not fetched again for it."""
        return FAILURE if self.job or self.trial else self._check_now()

    def set_parameters(self, url, number, digest, signature="", proof=""):
        """An image without a manifest: INITIATE takes it next. `proof` is its EntrySignature."""
        fields = {"Version": number, "URL": url, "Digest": digest, "Signature": signature, "EntrySignature": proof}
        fields["Product"] = self.board.product if proof else ""
        self.offered(fields)

    def offered(self, fields):
        """The same as an entry of a manifest."""
        found = manifest.Manifest([fields])
        if found.offer is None:
            raise Refused("manifest", (found.wrong + ["it names no image"])[0])
        self.offer = found.offer

    @property
    def status(self):
        """The vendor's SYS_OTA_STATUS: the last event while something is done, else what is waited for."""
        if self.job:
            return self.event
        return WAITING_FOR_TIME if self.period_ms and not self.done else IDLE

    def hurry(self):
        """The network has come: a manifest that was not asked for want of it is asked now."""
        if self.trial:
            super().hurry()
        elif not self.job and getattr(self.error, "code", "") == "network":
            self.ask = True

    def failed(self, error):
        """The application died of `error`: a verdict on the image on trial, unless it died before it too."""
        if self.trial:
            return False if self.ailing else super().failed(error)
        # It dies of that under the image before as well: then the one that was given up for it may be tried again.
        try:
            self.layout.excuse(repr(error))
        except OtaError as e:
            self.error = e
        return False

    # What an agent does in a step.

    def _update(self):
        if self.reset:
            return "reset"
        if self.job is None:
            n = self.board.since(self.counted) // AWAKE_MS
            if n:
                self._awake(n)
            if not self._due():
                return "idle"
            self._check_now()
        try:
            next(self.job)  # type: ignore[arg-type]
            return "busy"
        except StopIteration:
            pass
        except Exception as e:
            # A port above 2**30 is an OverflowError, and memory can be short: the next look may fare better.
            self.fail(CHECK_FAILED, e)
        self._rest()
        return "reset" if self.reset else "idle"

    def _due(self):
        """Is it time for a look? The owner's Board.later() may say that it is not."""
        wait_ms = self.wait_ms if self.ask else self.period_ms
        if not self.period_ms or self.done or self.board.since(self.due) < wait_ms:
            return False
        why = self._later()
        if why:
            self.error = NotNow("later", str(why))
            self._rest()
        return not why

    def _rest(self):
        self.job = None
        self.ask = False
        self.due = self.board.ticks_ms()

    def _judge(self):
        said = super()._judge()
        self.reset = said == "reset"
        if not self.trial:
            self.due = self.board.ticks_ms()
            self.wait_ms = 0
            self.ask = True
            self.layout.tidy()
        return said

    # What control messages do.

    def _check_now(self):
        self.job = self._check()
        return SUCCESS

    def _by_hand(self):
        # Whoever asks by hand may have mended what failed.
        self.refused = []
        self.erased = {}
        return self._check_now()

    def _initiate(self):
        if self.offer is None:
            self.tell(TRIGGER_FAILED)
            return FAILURE
        self.job = self._bring(self.offer)
        return SUCCESS

    def _reset(self):
        self.reset = self.done
        return SUCCESS if self.done else FAILURE

    def _leave(self, call, event):
        """What the next reset makes true. The vendor has no event of RENUMBER."""
        try:
            call()
        except (OSError, OtaError) as e:
            self.error = e
            if event:
                self.tell(event + 1)
            return FAILURE
        self.done = True
        if event:
            self.tell(event)
        return SUCCESS

    # How an image comes into the store: the offer, its bytes, digest, signature and row.

    def tell(self, event):
        self.event = event
        try:
            if self.callback:
                self.callback(event)
        except Exception as e:
            # Whoever listens must not end an update.
            self.error = e

    def fail(self, event, error):
        self.error = error
        self.tell(event)

    def _fill(self, src, buf):
        """Fill `buf` as pull() does, a step each STEP_MS; what takes SLOW_MS is given up. Returns the bytes."""
        board = self.board
        began = board.ticks_ms()
        n = waited = 0
        while n < len(buf):
            got = src.readinto(memoryview(buf)[n:])
            if got is None:
                # Nothing yet, and the source has its own deadlines.
                yield
                began = board.ticks_ms()
                continue
            if not got:
                break
            n += got
            ms = board.since(began)
            if n < len(buf) and waited + ms > SLOW_MS:
                raise LinkError("slow", "%d bytes in %d ms, wanted %d" % (n, waited + ms, len(buf)))
            if ms > STEP_MS:
                # The application's own turn is not the server's fault.
                yield
                waited += ms
                began = board.ticks_ms()
        return n

    def _download(self, url, target):
        """From the network to the file, block by block; nothing is written for what is no image."""
        room = target.size - PAGE
        target.again = target.name == self.broken
        src = yield from self.open(url)
        try:
            buf = bytearray(PAGE)
            done = 0
            n = yield from self._fill(src, buf)
            while n:
                if not done:
                    judge(memoryview(buf)[:n], n + 1, self.layout.port.address)
                    self._begin()
                if done + n > room:
                    raise Refused("size", "the image has more than the %d bytes there is room for" % room)
                target.prog(done, memoryview(buf)[:n])
                self.broken = target.name
                done += n
                self.progress = done
                yield
                n = yield from self._fill(src, buf)
            target.end(done)
        finally:
            src.close()

    def _begin(self):
        """A package that a host pushed half way lies in the same file: it has to begin again."""
        journal = self.layout.journal
        if journal.last("progress"):
            journal.put("progress", b"")

    def _verify(self, offer, name):
        """Bytes of the file, which is what the manifest promises. Its signature goes beside it, for the bootloader."""
        store = self.layout.port.files
        sha, size = files.digest(store, name, bytearray(PAGE))
        if sha is None:
            raise FlashError("store", "%s cannot be read" % name)
        if sha != offer.digest:
            raise Refused("digest", "the file is not the one that the manifest promises")
        if offer.signature:
            try:
                store.put(sign_of(name), offer.signature.encode())
            except OSError as e:
                raise FlashError("store", "the image store: %r" % e)
        return size

    def _admit(self, offer):
        """Refuse before the download what failed here, and what does not count on this board."""
        for mark, n, why in self.refused:
            if mark == offer.mark and n >= TRIES:
                text = "image %d failed here (%s): change its entry, reset, or CHECK"
                raise Refused("failed", text % (offer.number, why))
        try:
            accept.admit(self, offer)
        except Refused as e:
            if e.code == "signature":
                # It takes a while to compute.
                self._remember(offer, e)
            raise

    def _remember(self, offer, error):
        """What would fail again is not fetched again: a refusal at once, other trouble after TRIES. Links recover."""
        if isinstance(error, (LinkError, NotNow, OSError)):
            return
        n = TRIES if isinstance(error, Refused) else 1
        for mark, had, _ in self.refused:
            if mark == offer.mark:
                n += had
        kept = [known for known in self.refused if known[0] != offer.mark]
        self.refused = kept[1 - FAILED :] + [(offer.mark, n, getattr(error, "code", type(error).__name__))]

    def _drop(self, name, event):
        """A file that is not the image goes. One that could not be made to boot may be by the next start."""
        try:
            if event != TRIGGER_FAILED:
                self.layout.port.files.remove(name)
        except OSError:
            pass  # it goes with the next look at the store, or is written over

    def manifest(self):
        """The steps to the Manifest of the URL."""
        src = yield from self.open(self.url)
        try:
            buf = bytearray(self.most + 1)
            n = yield from self._fill(src, buf)
        finally:
            src.close()
        return manifest.read(buf, n, self.last_entry, accept.limits(self))

    def _check(self):
        self.tell(CHECK_START)
        try:
            self.layout.ready()
            found = yield from self.manifest()
        except OtaError as e:
            return self.fail(CHECK_FAILED, e)
        yield
        gone = []
        for entry in found.erase:
            if erase.withdrawn(self, entry):
                gone.append(entry.number)
            if self.done:
                return
            yield
        for text in found.wrong:
            self.error = Refused("manifest", text)
        if found.other:
            text = "every entry is for another product, as %r; this board is %r"
            self.error = Refused("product", text % (found.other[:32], self.board.product))
        offer = self._chosen([one for one in found.offers if one.number not in gone])
        if offer is None:
            return self.tell(NOT_AVAILABLE)
        self.offer = offer
        self.tell(AVAILABLE)
        if self.auto_update:
            yield from self._bring(offer, True)

    def _chosen(self, offers):
        """The first offer that this board takes. `error` says what is wrong with the highest one."""
        error = None
        for offer in offers:
            try:
                self._admit(offer)
                break
            except Refused as e:
                error = error or e
        else:
            offer = None
        self.error = error or self.error
        return offer

    def open(self, url):
        """The Source at a URL, in the steps of the link; another `fetch` gives it at once."""
        if self.enforce_tls and url[:8].lower() != "https://":
            raise Refused("tls", "%s is not https" % url)
        src = self.fetch(url)
        return src if hasattr(src, "readinto") else (yield from src)

    def _bring(self, offer, admitted=False):
        self.tell(DOWNLOAD_START)
        event = DOWNLOAD_FAILED
        target = None
        try:
            self.layout.ready()
            if not admitted:
                self._admit(offer)
            target = self.layout.incoming()
            yield from self._download(offer.url, target)
            self.tell(DOWNLOAD_SUCCESS)
            self.tell(VERIFY_START)
            event = VERIFY_FAILED
            size = self._verify(offer, target.name)
            self.tell(VERIFY_SUCCESS)
            event = TRIGGER_FAILED
            if self.layout.full(offer.number):
                self.tell(DATABASE_FULL)
            self.layout.take(target.name, offer.number, offer.digest, size)
        except Exception as e:
            return self._lost(offer, target, event, e)
        self.offer = self.broken = None
        self.done = True
        self.tell(DB_ENTRY)
        self.reset = self.auto_reset

    def _lost(self, offer, target, event, error):
        """The offer did not come, or is no image."""
        if target:
            self._remember(offer, error)
            if not isinstance(error, LinkError):
                # What a line that broke has brought is not written again.
                self.broken = None
                self._drop(target.name, event)
        self.fail(event, error)
