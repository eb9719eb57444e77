"""The process of a virtual chip: MicroPython's unix port, and beside it the interrupt that a UART has on a chip.

By itself the unix port takes a Ctrl-C as a signal that jumps out of whatever C code runs: out of the file system in the
middle of a write, or out of the search for a module, which takes that for "not found" and goes on. A chip's UART sets
a pending KeyboardInterrupt, which the next bytecode raises. So a thread here does what that interrupt does: asked over
a socket by the supervisor, it sets the pending exception of the interpreter in this very process, and wakes it if it
sleeps. The socket's end means that the supervisor is gone, and this process ends too, whatever the interpreter does.

`python -I -S interpreter.py CONTROL RAW PORT ARGUMENT...`: the number of the socket, whether the REPL starts raw, the
wheel's library or any other unix port's program. This file may import nothing but the standard library.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading

# A request of the supervisor, and the answers: it interrupted, or the program reads Ctrl-C as a character.
ASK, TAKEN, READ = b"?", b"1", b"0"
# What the interpreter shares with the thread: whether interrupts are held back, those asked for, those taken.
HOLD, ASKED, TOOK = 0, 1, 2
SHARED = 3
# mp_state_ctx begins with the main thread's state, and the pending exception stands in there.
STATE = 1024
# How often a system call that sleeps is woken until the exception was raised.
WAKE_S = 0.002
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Linux kills this process when the one that started it ends; elsewhere the socket's end does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Inside:
    """The interpreter as a library in this process: an interrupt is a pending exception, as on a chip."""

    def __init__(self, path: str, raw: bool) -> None:
        self.lib = ctypes.CDLL(path)
        self.libc = ctypes.CDLL(None)
        self.shared = (ctypes.c_uint8 * SHARED)()
        self.shared[HOLD] = 1
        # Whether no hold was seen when `attend` looked last.
        self.ended = False
        self.pending, self.exception = self._find()
        ctypes.c_int.in_dll(self.lib, "pyexec_mode_kind").value = raw
        # The handler does nothing, but a system call that sleeps returns.
        signal.signal(signal.SIGUSR2, lambda *_: None)

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
        self.libc.sigaction(signal.SIGINT, None, action)
        return bool(action[0])

    def interrupt(self) -> bytes:
        """Set the exception, unless nothing runs that it could be raised in: at a prompt it would end the process."""
        if not self.runs_code():
            return READ
        if not self.shared[HOLD]:
            self.pending.value = self.exception
            if not self.runs_code():
                self.pending.value = None
                return READ
            if not self.shared[HOLD]:
                return TAKEN
            # A hold began in between and may have looked before: it looks again at its end.
            self.pending.value = None
        if not self._owed():
            self.shared[ASKED] = (self.shared[ASKED] + 1) & 0xFF
        return TAKEN

    def _owed(self) -> bool:
        """An interrupt was held back and not given yet."""
        return bool(self.shared[ASKED] != self.shared[TOOK])

    def attend(self) -> bool:
        """What there is to do until the exception was raised; False when there is nothing."""
        if self._owed():
            ended, self.ended = self.ended, not self.shared[HOLD]
            if ended and self.ended:
                # The end of a hold gives what it owes at once; this one had looked before it was asked.
                self.shared[ASKED] = self.shared[TOOK]
                self.interrupt()
            return True
        self.ended = False
        if not self.pending.value or not self.runs_code():
            return False
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        return True


class Beside:
    """Another unix port as a program: an interrupt is a signal, which that port takes wherever it is."""

    def __init__(self, path: str, raw: bool) -> None:
        self.path = path
        self.child: subprocess.Popen[bytes] | None = None

    def run(self, args: list[str]) -> int:
        self.child = subprocess.Popen([self.path, *args], preexec_fn=end_with_parent)
        status = self.child.wait()
        return status if status >= 0 else 128 - status

    def runs_code(self) -> bool:
        """Whether the program catches SIGINT."""
        if not self.child:
            return False
        with contextlib.suppress(OSError), open(f"/proc/{self.child.pid}/status") as status:
            caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
            return bool(caught & 1 << signal.SIGINT - 1)
        return False

    def interrupt(self) -> bytes:
        if not self.child or not self.runs_code():
            return READ
        self.child.send_signal(signal.SIGINT)
        return TAKEN

    def attend(self) -> bool:
        return False


def listen(control: socket.socket, chip: Inside | Beside) -> None:
    """Answer the supervisor until it is gone."""
    with contextlib.suppress(OSError):
        while True:
            if select.select([control], [], [], WAKE_S if chip.attend() else None)[0]:
                if not control.recv(1):
                    break
                control.send(chip.interrupt())
    if isinstance(chip, Beside) and chip.child:
        chip.child.kill()
    os._exit(1)


def main() -> None:
    fd, raw, path, *args = sys.argv[1:]
    end_with_parent()
    chip = (Inside if path.endswith(".so") else Beside)(path, raw == "1")
    threading.Thread(target=listen, args=(socket.socket(fileno=int(fd)), chip), daemon=True).start()
    status = chip.run(args)
    # No clean-up: the thread may stand anywhere.
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
