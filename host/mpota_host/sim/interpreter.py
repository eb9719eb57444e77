"""The process of a virtual chip: MicroPython's unix port, and beside it the interrupt that a UART has on a chip.

By itself the unix port takes a Ctrl-C as a signal that jumps out of whatever C code runs: out of the file system in the
middle of a write, or out of the search for a module, which takes that for "not found" and goes on. A chip's UART sets
a pending KeyboardInterrupt, which the next bytecode raises. So does a signal handler here, in the thread of the
interpreter, as an interrupt of a chip runs between two instructions of the program. The supervisor asks for it over a
socket. The socket's end means that the supervisor is gone: this process ends too, whatever the interpreter does.

`python -I -S interpreter.py CONTROL RAW PORT ARGUMENT...`: the number of the socket, whether the REPL starts raw, the
wheel's library or any other unix port's program. What is imported here is waited for at each start of a board.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A request of the supervisor, and the answers: the program was interrupted, or it reads Ctrl-C as a character. The
# first comes when the exception was raised: on a chip's line what stands behind a Ctrl-C comes later than that.
ASK, TAKEN, READ = b"?", b"1", b"0"
# What the interpreter shares with the thread: whether interrupts are held back, those asked for, those taken.
HOLD, ASKED, TOOK = 0, 1, 2
SHARED = 3
# mp_state_ctx begins with the main thread's state, and the pending exception stands in there.
STATE = 1024
# How often a system call that sleeps is woken until the exception was raised.
WAKE_S = 0.002
PR_SET_PDEATHSIG = 1
# Signals by their numbers: the module `signal` takes longer to import than all else. The last one is the system's.
SIGINT, SIGKILL, SIGUSR2 = 2, 9, 31 if sys.platform == "darwin" else 12


def end_with_parent() -> None:
    """Linux kills this process when the one that started it ends; elsewhere the socket's end does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


class Inside:
    """The interpreter as a library in this process: an interrupt is a pending exception, as on a chip."""

    def __init__(self, path: str, raw: bool, control: int) -> None:
        self.lib = ctypes.CDLL(path)
        self.libc = ctypes.CDLL(None)
        self.libc.pthread_kill.argtypes = [ctypes.c_ulong, ctypes.c_int]
        self.thread = _thread.get_ident()
        self.control = control
        self.shared = (ctypes.c_uint8 * SHARED)()
        self.shared[HOLD] = 1
        self.pending, self.exception = self._find()
        ctypes.c_int.in_dll(self.lib, "pyexec_mode_kind").value = raw
        # The program has begun: before it did, a signal would run Python inside of Python.
        self.began = False
        # What the handler shall do, beside the return of a system call that sleeps; and who waits for the exception.
        self.asked = self.awaited = False
        self.handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._handle)
        self.libc.signal(SIGUSR2, self.handler)
        self.libc.siginterrupt(SIGUSR2, 1)

    def _find(self) -> tuple[ctypes.c_void_p, int]:
        """The word that holds the pending exception, and what stands in it: seen before the interpreter starts."""
        base = ctypes.addressof(ctypes.c_char.in_dll(self.lib, "mp_state_ctx"))
        words = (ctypes.c_void_p * (STATE // ctypes.sizeof(ctypes.c_void_p))).from_address(base)
        before = list(words)
        self.lib.mp_sched_keyboard_interrupt()
        changed = [i for i, word in enumerate(words) if word != before[i]]
        if len(changed) != 1:
            sys.exit(f"the pending exception was not found: {len(changed)} words of mp_state_ctx changed, wanted 1")
        size = ctypes.sizeof(ctypes.c_void_p)
        pending = ctypes.c_void_p.from_address(base + size * changed[0])
        exception = pending.value or 0
        pending.value = None
        return pending, exception

    def run(self, args: list[str]) -> int:
        """The interpreter from its start to its end. It finds what is shared with it in its arguments."""
        places = [ctypes.addressof(self.shared), ctypes.addressof(self.pending), self.exception]
        argv = [b"micropython", *(os.fsencode(arg) for arg in [*args, *map(str, places)]), None]
        status: int = self.lib.micropython_unix_main(len(argv) - 1, (ctypes.c_char_p * len(argv))(*argv))
        return status

    def runs_code(self) -> bool:
        """Whether Ctrl-C interrupts: mp_hal_set_interrupt_char sets the handler of SIGINT for it, else the default."""
        action = (ctypes.c_void_p * 64)()
        self.libc.sigaction(SIGINT, None, action)
        return bool(action[0])

    def interrupt(self) -> None:
        """Have the handler do it, or the program when it begins."""
        if not self.runs_code():
            os.write(self.control, READ)
            return
        if not self.began and self.shared[HOLD]:
            self._owe()
            if self.shared[HOLD]:
                self.awaited = True
                return
        self.asked = self.began = self.awaited = True
        self._signal()

    def _owe(self) -> None:
        """The end of the hold gives it."""
        if self.shared[ASKED] == self.shared[TOOK]:
            self.shared[ASKED] = (self.shared[ASKED] + 1) & 0xFF

    def _signal(self) -> None:
        self.libc.pthread_kill(self.thread, SIGUSR2)

    def _handle(self, _: int) -> None:
        """The interrupt. The interpreter stands still meanwhile, so what is seen here stays so."""
        if not self.asked:
            return
        if not self.runs_code():
            # At a prompt the exception would end the process.
            self.awaited = False
            os.write(self.control, READ)
        elif self.shared[HOLD]:
            self._owe()
        else:
            self.lib.mp_sched_keyboard_interrupt()
        # Last: until then the thread leaves the rest alone.
        self.asked = False

    def wake(self) -> bool:
        """Whether the exception was not raised yet; a system call that sleeps returns then."""
        if not self.awaited or self.asked:
            return self.awaited
        owed = self.shared[HOLD] or self.shared[ASKED] != self.shared[TOOK]
        if (owed or self.pending.value) and self.runs_code():
            if self.pending.value:
                self._signal()
            return True
        self.awaited = False
        os.write(self.control, TAKEN)
        return False


class Beside:
    """Another unix port as a program: an interrupt is a signal, which that port takes wherever it is."""

    def __init__(self, path: str, raw: bool, control: int) -> None:
        self.path = path
        self.control = control
        self.child: Any = None

    def run(self, args: list[str]) -> int:
        """The program from its start to its end."""
        import subprocess

        self.child = subprocess.Popen([self.path, *args], preexec_fn=end_with_parent)
        status: int = self.child.wait()
        return status if status >= 0 else 128 - status

    def runs_code(self) -> bool:
        """Whether the program catches SIGINT."""
        if not self.child:
            return False
        try:
            with open(f"/proc/{self.child.pid}/status") as status:
                caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
        except (OSError, StopIteration):
            return False
        return bool(caught & 1 << SIGINT - 1)

    def interrupt(self) -> None:
        if not self.child or not self.runs_code():
            os.write(self.control, READ)
            return
        self.child.send_signal(SIGINT)
        os.write(self.control, TAKEN)

    def wake(self) -> bool:
        return False


def listen(control: int, chip: Inside | Beside) -> None:
    """Do what the supervisor asks for until it is gone."""
    try:
        while True:
            if select.select([control], [], [], WAKE_S if chip.wake() else None)[0]:
                if not os.read(control, 1):
                    break
                chip.interrupt()
    finally:
        if isinstance(chip, Beside) and chip.child:
            chip.child.kill()
        os._exit(1)


def main() -> None:
    fd, raw, path, *args = sys.argv[1:]
    end_with_parent()
    chip = (Inside if path.endswith(".so") else Beside)(path, raw == "1", int(fd))
    _thread.start_new_thread(listen, (int(fd), chip))
    status = chip.run(args)
    # No clean-up: the thread may stand anywhere.
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
