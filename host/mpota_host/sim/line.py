"""A serial line made of ptys: a real board process at one end, and if wished a baud rate in between.

`Pty` runs a program on a raw pty. `PacedLine` sits between two descriptors and lets a byte through only when its ten
bits would have gone over the wire; nothing is gained by writing earlier, as on a real line. What only
a unix has, `tty`, is imported inside a function.
"""

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self


class Pty:
    """A child process whose stdin and stdout are a raw pty; `master` is the other side of it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, log: int = subprocess.DEVNULL) -> None:
        self.master, slave = open_pair()
        self.name = os.ttyname(slave)
        self.child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=log, env=dict(env), cwd=cwd)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.master)


class Pace:
    """How many bytes a line at `baud` has let through since it was last asked; nothing is saved up while it idles."""

    def __init__(self, baud: int) -> None:
        self.byte_s = 10 / baud
        self._at = 0.0

    def due(self, waiting: int, now: float) -> int:
        """Of so many bytes that wait."""
        if not waiting:
            self._at = now
            return 0
        n = min(waiting, int((now - self._at) / self.byte_s))
        self._at += n * self.byte_s
        return n


def open_pair() -> tuple[int, int]:
    """A raw pty as (master, slave); the slave stays open so that the master never sees a hang-up."""
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


class PacedLine:
    """Carries bytes between the descriptors `a` and `b` at `baud`, ten bits a byte, both ways at once."""

    def __init__(self, a: int, b: int, baud: int) -> None:
        self.byte_s = 10 / baud
        self._stop, self._stopped = os.pipe()
        self._threads = [threading.Thread(target=self._carry, args=ends, daemon=True) for ends in ((a, b), (b, a))]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        os.close(self._stopped)
        for thread in self._threads:
            thread.join()
        os.close(self._stop)

    def _carry(self, src: int, dst: int) -> None:
        portion = min(65536, max(1, int(0.004 / self.byte_s)))
        free_at = 0.0
        while True:
            # Bytes that waited while this thread slept too long were under way on a real line.
            ready = select.select([src, self._stop], [], [], 0)[0]
            if not ready:
                ready = select.select([src, self._stop], [], [])[0]
                free_at = time.monotonic()
            if self._stop in ready:
                return
            try:
                data = os.read(src, portion)
            except OSError:
                return
            free_at += len(data) * self.byte_s
            time.sleep(max(0.0, free_at - time.monotonic()))
            with contextlib.suppress(OSError):
                os.write(dst, data)
