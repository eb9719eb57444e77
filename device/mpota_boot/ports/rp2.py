"""RP2040 and RP2350: what their port and the pico-sdk do. MicroPython 1.29, ports/rp2. Read, not tried on a board.

power      1, also after the RUN pin                                        modmachine.c
watchdog   3, and bit 0 (TIMER) of WATCHDOG.REASON                          modmachine.c; hardware/regs/watchdog.h
reset      3, and bit 1 (FORCE): watchdog_reboot() after machine.reset()    modmachine.c; hardware_watchdog/watchdog.c
wake       as reset: deepsleep() is lightsleep() and a reset                modmachine.c
soft       the number stays; told by the mark                               main.c
dog        at most 8388 ms on an RP2040, 16777 on an RP2350; runs for good  machine_wdt.c
clock      2021 after each reset but a soft one                             main.c
folder     /                                                                modules/_boot.py
keeps      no NVS; resets clear the mark, a soft reset does not             hardware/regs/sio.h
"""

# SIO.INTERP1_BASE2, 0 after a reset of the core. The port and the SDK's start do not use the interpolators.
MARK = (0xD00000D0, 0x6D706F00, 1)
DOG_MS = 8388


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    if n == 1:
        return "power"
    import os

    from machine import mem32

    return "watchdog" if mem32[0x400D8008 if "RP2350" in os.uname()[4] else 0x40058008] & 1 else "reset"
