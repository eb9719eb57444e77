"""The HTTP link on CPython, whose sockets are no streams: MicroPython's say None where nothing has come yet."""

import ssl
import time
from collections.abc import Callable

import mpota_host
from mpota.link import http, web

# Its stand-ins for what MicroPython has.
assert mpota_host


class Stream:
    """A non-blocking socket, plain or with TLS, as MicroPython has them."""

    def __init__(self, sock):
        self.sock = sock
        self.fileno, self.close = sock.fileno, sock.close

    def readinto(self, buf) -> int | None:
        return self._unless_early(self.sock.recv_into, buf)

    def write(self, data) -> int | None:
        return self._unless_early(self.sock.send, data)

    @staticmethod
    def _unless_early(call: Callable[..., int], data) -> int | None:
        try:
            return call(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None


class Streams:
    """For the board's links: each socket that one holds becomes a stream, and the clock is CPython's."""

    def ticks(self) -> int:
        return int(time.monotonic() * 1000)

    def since(self, then) -> int:
        return self.ticks() - then

    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, sock) -> None:
        self._sock = Stream(sock) if sock else None


class Web(Streams, web.Web):
    """The web client."""


class Http(Streams, http.Http):
    """The link."""
