"""One update, first byte to armed. READ THIS FIRST.

The order is the product: nothing is erased before the header is proven, the package fits this board and the first
piece of its firmware was judged; every chunk is proven before it is decoded; what lies in the flash is read back and
hashed before `arm`; and `arm` is the last and the smallest write, one for all components. Closing the generator at any
yield is safe: the next call goes on at the chunk where this one stopped, over whatever link.
"""

from hashlib import sha256

from micropython import const

from mpota.pipe.package import Chunks, Package
from mpota.store.writer import decode_progress, digest, encode_progress, put
from mpota.stream import FIRMWARE, opened, pull
from mpota.version import text
from mpota_boot.errors import FlashError, LinkError, Refused, UpToDate

# After a package was begun over another, the next may be when Layout.awake() has taken these bytes: an hour.
_HOLD = const(b"..........")


def install(board, link, keys):
    """Install what `link` offers. Yields (bytes done, bytes in all) once a sector, None where there is nothing yet.

    It may stop at each. Returns the Package that is armed, or None where nothing is on offer. Raises an OtaError that
    says what to do next; the image that runs is untouched then.
    """
    board.layout.ready()
    buf = bytearray(4096)  # before the link's objects fragment the heap
    src = yield from opened(link, 0, buf)
    if src is None:
        return None
    try:
        package = yield from Package.reading(src, keys, buf)
        admit(board, package, buf)
        chunks = resume(board, package, src, buf)
        if package.end < chunks.at < package.size:
            src.close()
            chunks.src = src = yield from _reopen(link, package.start + chunks.at)
        yield from write(board, package, chunks)
        chunks = None  # frees its buffer for the read-back
        for part in package.components:
            prove(board, part, buf)
    except FlashError:
        # The flash does not hold what was written: the next try starts from the beginning.
        board.journal.put("progress", b"")
        raise
    finally:
        src.close()
    board.layout.arm(package)
    return package


def admit(board, package, buf):
    """Refuse, before any erase, what is not for this board, was given up on it, or is older than it accepts."""
    layout = board.layout
    _same("product", package.product, board.product)
    _same("layout", package.layout, layout.NAME)
    _same("channel", package.channel, board.channel)
    if package.room > board.room:
        raise Refused(
            "room", "room for %d bytes a chunk, this board has %d: pack with --room" % (package.room, board.room)
        )
    if package.version == layout.version():
        raise UpToDate("current", "version %s runs already" % text(package.version))
    wrong = layout.given_up(package.components[0].sha, package.version)
    if wrong:
        raise Refused("failed", wrong)
    low = layout.floor()
    if package.version < low:
        raise Refused("floor", "version %s, this board takes %s or newer" % (text(package.version), text(low)))
    if package.fields:
        from mpota.needs import judge

        judge(board, package)
    if package.recipients:
        from mpota.pipe.decrypt import unlock

        # While `buf` still holds the header.
        unlock(package, board.secrets(), buf)
    _room(board, package.components, buf)


def _room(board, parts, buf):
    """Does every component fit its place, and does each delta's base run here?"""
    files = 0
    for part in parts:
        need = part.size
        if part.kind != FIRMWARE:
            # One file system takes them all.
            files = need = files + need
        room = board.layout.target(part).size
        if need > room:
            raise Refused("size", "%r needs %d bytes, its place has %d" % (part.name, need, room))
        n = part.base_size
        if n:
            part.base = base = board.layout.running(part)
            if n > base.size or digest(base, n, buf, board.feed) != part.base_sha:
                raise Refused("base", "a delta to another %s than the one that runs" % part.name)


def _same(code, seen, wanted):
    if seen != wanted:
        raise Refused(code, "the package is for %s %r, this board is %r" % (code, seen, wanted))


def resume(board, package, src, buf):
    """Chunks that stand where the last try at this very package stopped, or at its beginning."""
    where = decode_progress(board.journal.last("progress"))
    if where and where[0] == package.id:
        _, sha, length, sectors, out, at, i = where
        chunks = Chunks(package, i, src, buf)
        chunks.go(out, at, sha, length, sectors)
        return chunks
    chunks = Chunks(package, 0, src, buf)
    # The last chunk promises no other.
    if where and where[2]:
        if board.journal.last("begun"):
            # Two packages that a bad line brings in turn must not wear out the flash.
            raise Refused("begun", "another is half here: again after 1 h awake, or `rollback --forget`")
        # Of files that follow, the firmware before them is whole; it stays unread.
        chunks.stands = 1 if where[6] else where[4]
    return chunks


def _reopen(link, at):
    src = yield from opened(link, at)
    if src is None:
        raise LinkError("gone", "the package is no longer on offer")
    return src


def write(board, package, chunks):
    """Write every component that is not yet there; yields (bytes done, bytes in all), or None as install() does."""
    sizes = [part.size for part in package.components]
    while True:
        before = sum(sizes[: chunks.i])
        for done in decode(board, package, chunks):
            yield done and (before + done, sum(sizes))
        if chunks.i + 1 == len(sizes):
            return
        chunks.begin(chunks.i + 1)


def decode(board, package, chunks):
    """Decode one component into its target, a sector a step; note where a chunk ends on one as the place to go on."""
    part = chunks.part
    target = board.layout.target(part)
    between = getattr(chunks.src, "between", board.feed)
    done = chunks.out
    while done < part.size:
        yield from chunks.loading()
        while chunks.left:
            board.feed()
            between()
            n = pull(chunks, chunks.buf)
            piece = memoryview(chunks.buf)[:n]
            if not done:
                board.layout.admit(part, piece)
                if not chunks.i:
                    # A journal that keeps nothing is found out before the first erase.
                    if chunks.stands:
                        board.journal.put("begun", _HOLD)
                    board.journal.put("progress", b"")
            # A whole sector that another package has finished may hold these bytes.
            holds = done + n <= chunks.stands and n == target.erase_size
            if not holds or digest(target, n, bytearray(128), board.feed, done) != sha256(piece).digest():
                put(target, done, chunks.buf, n, between)
            done += n
            if chunks.left:
                yield done
        if done % target.erase_size == 0 or done == part.size:
            board.journal.put("progress", encode_progress(package.id, *chunks.place()))
        yield done


def prove(board, part, buf):
    """Read the target back: it must hold what was signed, and the loader must take it."""
    target = board.layout.target(part)
    seen = digest(target, part.size, buf, board.feed)
    if seen != part.sha:
        raise FlashError("readback", "the flash does not hold what was written")
    board.layout.check(part)
