"""MicroPython's `deflate` on CPython's zlib: it inflates, it never compresses.

Like the real one it asks the stream for one byte at a time, so the stream stands right behind the compressed data at
the end, and it refuses a distance larger than the window. (Only a distance that overshoots the window by less than
what one input byte yields can slip through, because zlib keeps that much in hand.)
"""

import io
import zlib
from types import TracebackType
from typing import Any

AUTO, RAW, ZLIB, GZIP = range(4)

# errno.EINVAL, which the real module raises for whatever is wrong with the data.
EINVAL = 22

# moddeflate.c: DEFLATEIO_DEFAULT_WBITS, used for RAW when the caller names none.
RAW_WBITS = 8

# What zlib wants added to its window bits to expect a format (its manual, inflateInit2).
ZLIB_OFFSET = {AUTO: 32, ZLIB: 0, GZIP: 16}


class DeflateIO:
    """A stream that reads the inflated bytes of another one."""

    def __init__(self, stream: Any, format: int = AUTO, wbits: int = 0, close: bool = False) -> None:
        if not isinstance(stream, io.IOBase) or not hasattr(stream, "readinto"):
            raise OSError("stream operation not supported")
        if format not in (AUTO, RAW, ZLIB, GZIP):
            raise ValueError("format")
        if wbits and not 5 <= wbits <= 15:
            raise ValueError("wbits")
        self._stream: Any = stream
        self._close = close
        # zlib knows no window below 256 bytes; the real module does.
        self._zlib = zlib.decompressobj(_bits(format, max(8, wbits) if wbits else 0))
        self._one = bytearray(1)
        self._got = bytearray()

    def _more(self, wanted: int = 0) -> bool:
        """Inflate one input byte, or for `wanted` bytes out of RAM all that they take; False at the end of the data."""
        if self._zlib.eof:
            return False
        try:
            if wanted and type(self._stream) is io.BytesIO:
                return self._at_once(wanted)
            if self._stream.readinto(self._one) != 1:
                raise EOFError
            self._got += self._zlib.decompress(self._one)
        except zlib.error:
            raise OSError(EINVAL) from None
        return True

    def _at_once(self, wanted: int) -> bool:
        """Bytes in RAM can be given back, so the stream stands where it would after the same bytes one by one."""
        data = self._stream.read(wanted + 64)
        out = self._zlib.decompress(data, wanted)
        self._got += out
        rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        self._stream.seek(-len(rest), io.SEEK_CUR)
        if not data and not out and not self._zlib.eof:
            raise EOFError
        return True

    def readinto(self, buf: Any) -> int:
        if self._stream is None:
            raise OSError(EINVAL)
        view = memoryview(buf)
        while len(self._got) < len(view) and self._more(len(view) - len(self._got)):
            pass
        n = min(len(view), len(self._got))
        view[:n] = self._got[:n]
        del self._got[:n]
        return n

    def read(self, n: int = -1) -> bytes:
        if self._stream is None:
            raise OSError(EINVAL)
        while (n < 0 or len(self._got) < n) and self._more():
            pass
        n = len(self._got) if n < 0 else n
        out = bytes(self._got[:n])
        del self._got[:n]
        return out

    def close(self) -> None:
        if self._stream is not None and self._close:
            self._stream.close()
        self._stream = None

    def __enter__(self) -> "DeflateIO":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _bits(format: int, wbits: int) -> int:
    if format == RAW:
        return -(wbits or RAW_WBITS)
    return ZLIB_OFFSET[format] + (wbits or 15)
