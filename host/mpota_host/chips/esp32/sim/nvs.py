"""ESP-IDF's NVS on a simulated flash, byte for byte, and MicroPython's `esp32.NVS` over it.

    page  4 KiB   0 header[32]   32 entry states[32], 2 bits each   64 entries[126][32]
    header        0 state u32   4 seq u32   8 version FE   28 crc of bytes 4..27
    entry         0 namespace   1 type   2 span   3 chunk   4 crc   8 key[16]   24 data[8]

A value is written before the one it replaces is given up, an entry before its state bits, and the last free page is
kept for moving a full one: whatever the power does, the next `mount` finds the old value or the new one. The crc of a
torn entry does not match, and it is dropped. States are changed by clearing bits only, so the flash under it must let
the window of this partition be programmed again. Runs on both interpreters.
"""

import struct
from binascii import crc32
from collections import namedtuple

PAGE = 4096
ENTRY = 32
COUNT = 126
CHUNK_MAX = ENTRY * (COUNT - 1)
TABLE_AT = 32
DATA_AT = 64
VERSION = 0xFE  # NVS_VERSION: blobs in chunks

EMPTY, ACTIVE, FULL, FREEING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8
CORRUPT = 0xFFFFFFF0
WRITTEN, ERASED, UNUSED = 2, 0, 3  # entry states

U8, I8, U16, I16, U32, I32, U64, I64 = 0x01, 0x11, 0x02, 0x12, 0x04, 0x14, 0x08, 0x18
STR, BLOB, BLOB_INDEX = 0x21, 0x42, 0x48
FORMATS = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", U64: "<Q", I64: "<q"}
ANY_CHUNK = 0xFF
VERSIONS = (0x00, 0x80)  # first chunk numbers of a blob and of the one that replaces it

NOT_FOUND, NO_SPACE, KEY_TOO_LONG, INVALID_STATE = 0x1102, 0x1105, 0x1109, 0x110B
FAILED = 0x6001  # ESP_ERR_FLASH_OP_FAIL
INVALID_LENGTH, NO_FREE_PAGES, TOO_LONG = 0x110C, 0x110D, 0x110E
NAMES = {
    FAILED: "ESP_ERR_FLASH_OP_FAIL",
    NOT_FOUND: "ESP_ERR_NVS_NOT_FOUND",
    NO_SPACE: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    KEY_TOO_LONG: "ESP_ERR_NVS_KEY_TOO_LONG",
    INVALID_STATE: "ESP_ERR_NVS_INVALID_STATE",
    INVALID_LENGTH: "ESP_ERR_NVS_INVALID_LENGTH",
    NO_FREE_PAGES: "ESP_ERR_NVS_NO_FREE_PAGES",
    TOO_LONG: "ESP_ERR_NVS_VALUE_TOO_LONG",
}

# Pages that are remembered at most.
SEEN_MOST = 4000

# One entry as it lies in flash, and where: `page`, `at`.
Item = namedtuple("Item", ("ns", "type", "span", "chunk", "crc", "key", "data", "page", "at"))


class NvsError(Exception):
    """An ESP-IDF error code of NVS."""

    def __init__(self, code):
        super().__init__(NAMES[code])
        self.code = code


def seal(data):
    return crc32(data, 0xFFFFFFFF) & 0xFFFFFFFF


def _pack(ns, kind, span, chunk, key, data):
    """The 32 bytes of an entry."""
    raw = key.encode()
    if len(raw) > 15:
        raise NvsError(KEY_TOO_LONG)
    raw += b"\0" * (16 - len(raw))
    data = bytes(data) + b"\xff" * (8 - len(data))
    front = bytes((ns, kind, span, chunk))
    return front + struct.pack("<I", seal(front + raw + data)) + raw + data


class Page:
    """One sector: its state, its table of entry states, and where the next entry goes."""

    # An entry that was whole once stays so until its page is erased; False for cells that read differently each time.
    KEEPS = True
    # What was read from a page with these bytes, where nothing had to be mended; None: every mount reads it again.
    SEEN = None

    def __init__(self, flash, number):
        self.flash = flash
        self.base = number * PAGE
        self._forget()
        self.seq = 0
        whole = self._whole() if self.SEEN is not None and self.KEEPS else None
        if whole in (self.SEEN or ()):
            self.state, self.seq, self.next, table, rows = self.SEEN[whole]
            self.table = bytearray(table)
            self.live = [Item(*row, self, at) for row, at in rows]
            return
        self.state = self._judge()
        if self.state in (ACTIVE, FULL, FREEING):
            flash.read(self.base + TABLE_AT, self.table)
            self._recover()
        if whole and whole == self._whole():
            rows = [(item[:-2], item.at) for item in self.items()]
            if len(self.SEEN) > SEEN_MOST:
                self.SEEN.clear()
            self.SEEN[whole] = self.state, self.seq, self.next, bytes(self.table), rows

    def _forget(self):
        # Entries that were decoded, and the items of the page but for what was written from `unseen` on.
        self.kept = {}
        self.live = None
        self.unseen = COUNT
        # The items by namespace and key, and the bytes of some.
        self.names = None
        self.values = {}
        self.table = bytearray(b"\xff" * 32)
        self.next = 0

    def _whole(self):
        whole = bytearray(PAGE)
        self.flash.read(self.base, whole)
        return bytes(whole)

    def _judge(self):
        head = bytearray(32)
        self.flash.read(self.base, head)
        state, self.seq = struct.unpack_from("<II", head, 0)
        if state == EMPTY:
            return EMPTY if self._whole() == b"\xff" * PAGE else CORRUPT
        good = seal(head[4:28]) == struct.unpack_from("<I", head, 28)[0] and head[8] == VERSION
        return state if good and state in (ACTIVE, FULL, FREEING) else CORRUPT

    def _recover(self):
        """Find the end of what was written, and give up entries that a cut left half done."""
        # Four entries at once that are all written or all given up.
        while self.next < COUNT - 4 and self.table[self.next >> 2] in (0xAA, 0x00):
            self.next += 4
        while self.next < COUNT and self.entry_state(self.next) != UNUSED:
            self.next += 1
        while self.state == ACTIVE and self.next < COUNT and self._raw(self.next)[:4] != b"\xff" * 4:
            self.set_states(self.next, 1, ERASED)
            self.next += 1
        i = 0
        while i < min(self.next, COUNT):
            i = i + self._recover_item(i) if self.table[i >> 2] else (i | 3) + 1

    def _recover_item(self, i):
        if self.entry_state(i) != WRITTEN:
            return 1
        item = self.item(i)
        if item is None:
            self.set_states(i, 1, ERASED)
            return 1
        if any(self.entry_state(j) != WRITTEN for j in range(i, min(i + item.span, COUNT))):
            self.drop(item)
        return item.span

    def entry_state(self, i):
        """UNUSED, WRITTEN, or ERASED, which a torn change of both bits counts as too."""
        state = self.table[i >> 2] >> (i & 3) * 2 & 3
        return state if state in (UNUSED, WRITTEN) else ERASED

    def set_states(self, i, n, state):
        """From the last to the first, a word at a time, so that the head of an item changes last."""
        self.names = None
        if self.live is not None:
            if state == WRITTEN:
                self.unseen = min(self.unseen, i)
            else:
                self.live = [item for item in self.live if not i <= item.at < i + n]
        for j in range(i + n - 1, i - 1, -1):
            shift = (j & 3) * 2
            self.table[j >> 2] &= ~(3 << shift) & 0xFF | state << shift
            if j == i or j % 16 == 0:
                word = j >> 4 << 2
                self.flash.prog(self.base + TABLE_AT + word, bytes(self.table[word : word + 4]))

    def _raw(self, i):
        buf = bytearray(ENTRY)
        self.flash.read(self.base + DATA_AT + i * ENTRY, buf)
        return buf

    def item(self, i):
        """The item that starts at entry `i`, or None where its crc does not match."""
        if i in self.kept:
            return self.kept[i]
        buf = self._raw(i)
        crc = struct.unpack_from("<I", buf, 4)[0]
        if seal(bytes(buf[:4]) + bytes(buf[8:])) != crc or not 0 < buf[2] <= COUNT - i:
            return None
        key = bytes(buf[8:24]).split(b"\0")[0].decode()
        item = Item(buf[0], buf[1], buf[2], buf[3], crc, key, bytes(buf[24:]), self, i)
        if self.KEEPS:
            self.kept[i] = item
        return item

    def items(self):
        """What is stored, in order; a list that is not changed afterwards."""
        if self.live is None or not self.KEEPS:
            self.live = list(self._scan(0))
        elif self.unseen < COUNT:
            self.live = [item for item in self.live if item.at < self.unseen] + list(self._scan(self.unseen))
        self.unseen = COUNT
        return self.live

    def named(self, ns, key):
        """The items of a key, in order."""
        if self.names is None or not self.KEEPS:
            self.names = {}
            for item in self.items():
                self.names.setdefault((item.ns, item.key), []).append(item)
        return self.names.get((ns, key), ())

    def _scan(self, i):
        while i < COUNT:
            # Four entries that are all free or all given up.
            if self.table[i >> 2] in (0x00, 0xFF):
                i = (i | 3) + 1
                continue
            item = self.item(i) if self.entry_state(i) == WRITTEN else None
            if item:
                yield item
            i += item.span if item else 1

    def used(self):
        return sum(1 for i in range(COUNT) if self.entry_state(i) == WRITTEN)

    def data(self, item):
        """The bytes of a string or chunk; None where their crc does not match."""
        if item.at in self.values:
            return self.values[item.at]
        n, _, crc = struct.unpack("<HHI", item.data)
        if n > (item.span - 1) * ENTRY:
            return None
        buf = bytearray(n)
        self.flash.read(self.base + DATA_AT + (item.at + 1) * ENTRY, buf)
        if seal(buf) != crc:
            return None
        value = bytes(buf)
        if self.KEEPS:
            self.values[item.at] = value
        return value

    def drop(self, item):
        self.set_states(item.at, item.span, ERASED)
        self.next = max(self.next, item.at + item.span)

    def begin(self):
        head = struct.pack("<IIB", ACTIVE, self.seq, VERSION) + b"\xff" * 19
        self.flash.prog(self.base, head + struct.pack("<I", seal(head[4:])))
        self.state = ACTIVE

    def turn(self, state):
        if self.state == EMPTY:
            self.begin()
        self.flash.prog(self.base, struct.pack("<I", state))
        self.state = state

    def append(self, head, data=b""):
        """Entry and data behind the last one, each before its state bits."""
        if self.state == EMPTY:
            self.begin()
        self._put(head)
        whole = len(data) // ENTRY * ENTRY
        if whole:
            self._put(data[:whole])
        if whole < len(data):
            self._put(data[whole:] + b"\xff" * (whole + ENTRY - len(data)))

    def _put(self, raw):
        n = len(raw) // ENTRY
        self.flash.prog(self.base + DATA_AT + self.next * ENTRY, bytes(raw))
        self.set_states(self.next, n, WRITTEN)
        self.next += n

    def fits(self, entries):
        return self.state in (EMPTY, ACTIVE) and self.next + entries <= COUNT

    def room(self):
        """Bytes of a chunk that this page still takes, its own entry left aside."""
        return max(0, COUNT - self.next - 1) * ENTRY if self.state in (EMPTY, ACTIVE) else 0

    def clear(self):
        self.flash.erase(self.base, PAGE)
        self._forget()
        self.state = EMPTY


class Store:
    """All pages of one partition, mounted: what a cut left undone is finished first."""

    def __init__(self, flash):
        pages = [Page(flash, i) for i in range(flash.size // PAGE)]
        self.free = [p for p in pages if p.state in (EMPTY, CORRUPT)]
        self.pages = sorted((p for p in pages if p.state not in (EMPTY, CORRUPT)), key=lambda p: p.seq)
        self.seq = self.pages[-1].seq + 1 if self.pages else 0
        self._finish_move()
        self._drop_doubles()
        if not self.pages:
            self._activate()
        if not self.free:
            raise NvsError(NO_FREE_PAGES)
        self._drop_orphans()

    def _finish_move(self):
        """The power went while a full page was moved: drop the copy and move it again."""
        for page in self.pages:
            if page.state == FREEING:
                if self.pages[-1].state == ACTIVE:
                    copy = self.pages.pop()
                    copy.clear()
                    self.free.append(copy)
                self._move(page)
                return

    def _drop_doubles(self):
        """The power went between a new value and the end of the old one: the later one counts."""
        seen = {}
        for item in self.items():
            place = (item.ns, item.type, item.chunk, item.key)
            if place in seen:
                seen[place].page.drop(seen[place])
            seen[place] = item

    def _drop_orphans(self):
        """Chunks that no index names, of a blob half written or half given up."""
        named = set()
        for item in self.items():
            if item.type == BLOB_INDEX:
                _, n, start = struct.unpack_from("<IBB", item.data)
                named.update((item.ns, item.key, start + i) for i in range(n))
        for item in self.items():
            if item.type == BLOB and (item.ns, item.key, item.chunk) not in named:
                item.page.drop(item)

    def items(self):
        for page in list(self.pages):
            for item in page.items():
                yield item

    def find(self, ns, key, kind=None, chunk=None):
        """The item, or None; `kind` None is any, without chunks of blobs."""
        for page in self.pages:
            for item in page.named(ns, key):
                if chunk in (None, item.chunk):
                    if item.type == kind or (kind is None and item.type != BLOB):
                        return item
        return None

    def _activate(self):
        page = self.free.pop(0)
        if page.state == CORRUPT:
            page.clear()
        page.seq = self.seq
        self.seq += 1
        self.pages.append(page)

    def _move(self, page):
        """What is still used on `page` goes to a new one, and `page` becomes the free one."""
        self._activate()
        target = self.pages[-1]
        if page.state != FREEING:
            page.turn(FREEING)
        for item in page.items():
            target.append(page._raw(item.at))
            for i in range(item.at + 1, item.at + item.span):
                target.append(page._raw(i))
        page.clear()
        self.pages.remove(page)
        self.free.append(page)

    def _new_page(self):
        """Another page to write to; the last free one only serves to move the page with the least in use."""
        if self.pages[-1].state != FULL:
            self.pages[-1].turn(FULL)
        if len(self.free) >= 2:
            self._activate()
            return
        page = min(self.pages, key=lambda p: p.used())
        if page.used() == COUNT:
            raise NvsError(NO_SPACE)
        self._move(page)

    def namespace(self, name):
        """The number of a namespace, made on first use."""
        item = self.find(0, name, U8)
        if item:
            return item.data[0]
        taken = [i.data[0] for i in self.items() if i.ns == 0]
        for n in range(1, 255):
            if n not in taken:
                self.put(0, name, U8, n)
                return n
        raise NvsError(NO_SPACE)

    def put(self, ns, key, kind, value):
        """Store a number or a string (STR); the same value again writes nothing."""
        if kind == STR:
            data = value.encode() + b"\0"
            if len(data) > CHUNK_MAX:
                raise NvsError(TOO_LONG)
            self._check_key(key)
        else:
            data = struct.pack(FORMATS[kind], value)
        old = self.find(ns, key, kind)
        if old and data == (old.page.data(old) if kind == STR else old.data[: len(data)]):
            return
        self._append(ns, key, kind, data, ANY_CHUNK)
        # A page may have moved; the earlier of two is the old one.
        if old:
            old = self.find(ns, key, kind)
            old.page.drop(old)

    def get(self, ns, key, kind):
        """A number or a string."""
        item = self.find(ns, key, kind)
        data = item and (item.page.data(item) if kind == STR else item.data)
        if data is None:
            raise NvsError(NOT_FOUND)
        return data[:-1].decode() if kind == STR else struct.unpack_from(FORMATS[kind], data)[0]

    def _check_key(self, key):
        if len(key.encode()) > 15:
            raise NvsError(KEY_TOO_LONG)

    def _append(self, ns, key, kind, data, chunk):
        """One item, on this page or the next."""
        if kind in (STR, BLOB):
            body = data
            data = struct.pack("<HHI", len(body), 0xFFFF, seal(body))
        else:
            body = b""
        span = 1 + (len(body) + ENTRY - 1) // ENTRY
        head = _pack(ns, kind, span, chunk, key, data)
        if not self.pages[-1].fits(span):
            self._new_page()
            if not self.pages[-1].fits(span):
                raise NvsError(NO_SPACE)
        self.pages[-1].append(head, body)

    def put_blob(self, ns, key, value):
        """Store bytes: chunks, then the index that makes them count, then the end of the ones before."""
        self._check_key(key)
        if len(value) > (len(self.pages) + len(self.free) - 1) * CHUNK_MAX:
            raise NvsError(TOO_LONG)
        old = self.find(ns, key, BLOB_INDEX)
        was = struct.unpack_from("<IBB", old.data) if old else None
        if was and was[0] == len(value) and self._blob(ns, key, was) == value:
            return
        start = VERSIONS[1] if was and was[2] == VERSIONS[0] else VERSIONS[0]
        try:
            n = self._chunks(ns, key, value, start)
            self._append(ns, key, BLOB_INDEX, struct.pack("<IBBH", len(value), n, start, 0xFFFF), ANY_CHUNK)
        except NvsError:
            self._drop_chunks(ns, key, start)
            raise
        if was:
            old = self.find(ns, key, BLOB_INDEX)
            old.page.drop(old)
            self._drop_chunks(ns, key, was[2])

    def _chunks(self, ns, key, value, start):
        """Write `value` in as many chunks as the pages ask for; return their number."""
        n = done = 0
        while True:
            room = self.pages[-1].room()
            if not n and room < max(1, len(value)) and room < CHUNK_MAX // 10:
                self._new_page()
                if self.pages[-1].room() == room:
                    raise NvsError(NO_SPACE)
                continue
            if not room:
                raise NvsError(NO_SPACE)
            size = min(room, len(value) - done)
            self._append(ns, key, BLOB, value[done : done + size], start + n)
            n += 1
            done += size
            if done < len(value) or room - size < ENTRY:
                self._new_page()
            if done == len(value):
                return n

    def _drop_chunks(self, ns, key, start):
        for item in self.items():
            if item.ns == ns and item.key == key and item.type == BLOB and item.chunk & 0x80 == start:
                item.page.drop(item)

    def _blob(self, ns, key, index):
        """The bytes that an index (size, chunks, first chunk) names; None where a chunk is missing or torn."""
        size, n, start = index
        value = b""
        for i in range(n):
            item = self.find(ns, key, BLOB, start + i)
            data = item and item.page.data(item)
            if data is None:
                return None
            value += data
        return value if len(value) == size else None

    def get_blob(self, ns, key, most):
        """The bytes of a blob of at most `most`."""
        item = self.find(ns, key, BLOB_INDEX)
        if item is None:
            raise NvsError(NOT_FOUND)
        index = struct.unpack_from("<IBB", item.data)
        if index[0] > most:
            raise NvsError(INVALID_LENGTH)
        value = self._blob(ns, key, index)
        if value is None:
            self.erase(ns, key)
            raise NvsError(NOT_FOUND)
        return value

    def erase(self, ns, key):
        item = self.find(ns, key)
        if item is None:
            raise NvsError(NOT_FOUND)
        item.page.drop(item)
        if item.type == BLOB_INDEX:
            self._drop_chunks(ns, key, item.data[5])


def mount(flash):
    """The store on a partition; one without a free page is erased, as MicroPython does at start-up."""
    try:
        return Store(flash)
    except NvsError:
        flash.erase(0, flash.size)
        return Store(flash)


class Mounted:
    """A partition that is mounted at its first use, and refuses everything once the flash failed under it."""

    # Of one get_blob that fails, see cut/medium.
    misread = None

    def __init__(self, flash):
        self.flash = flash
        self.store = None
        self.broken = False
        # Blobs that were read since something was written; None for those that are not there.
        self.blobs = {}

    def blob(self, ns, key, most):
        """Of get_blob: the bytes, or None."""
        if self.misread and self.misread.now():
            raise OSError(-FAILED, NAMES[FAILED])
        try:
            value = self.blobs[ns, key]
            if value is None or len(value) <= most:
                return value
        except KeyError:
            pass
        try:
            value = self.call("get_blob", ns, key, most)
        except OSError as e:
            if e.args[0] != -NOT_FOUND:
                raise
            value = None
        if Page.KEEPS:
            self.blobs[ns, key] = value
        return value

    def call(self, method, *args):
        if method not in ("get", "get_blob"):
            self.blobs = {}
        if self.broken:
            raise OSError(-INVALID_STATE, NAMES[INVALID_STATE])
        if not self.store:
            self.store = mount(self.flash)
        try:
            return getattr(self.store, method)(*args)
        except NvsError as e:
            raise OSError(-e.code, NAMES[e.code])
        except OSError:
            # ESP-IDF marks the page invalid and refuses everything until the next start.
            self.broken = True
            self.blobs = {}
            raise


class _Nvs:
    """esp32.NVS as ports/esp32/esp32_nvs.c behaves: every set is in flash when it returns."""

    _on = None

    def __init__(self, namespace):
        self._ns = self._on.call("namespace", namespace)

    def set_i32(self, key, value):
        # The C code keeps 32 bits of it.
        value &= 0xFFFFFFFF
        self._on.call("put", self._ns, key, I32, value - (value >> 31 << 32))

    def get_i32(self, key):
        return self._on.call("get", self._ns, key, I32)

    def set_blob(self, key, value):
        self._on.call("put_blob", self._ns, key, value.encode() if isinstance(value, str) else bytes(value))

    def get_blob(self, key, buf):
        value = self._on.blob(self._ns, key, len(buf))
        if value is None:
            raise OSError(-NOT_FOUND, NAMES[NOT_FOUND])
        memoryview(buf)[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        self._on.call("erase", self._ns, key)

    def commit(self):
        pass


def bind(flash):
    """MicroPython's class `NVS` over the partition `flash`, which is mounted at its first use."""

    class NVS(_Nvs):
        _on = Mounted(flash)

    return NVS
