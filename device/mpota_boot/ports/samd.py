"""SAMD51: what its port does. MicroPython 1.29, ports/samd. Read, not tried on a board.

power      1, and 2 and 4 after a brown-out                                 modmachine.c; RSTC.RCAUSE, DS60001507
watchdog   0x20                                                             modmachine.c
reset      0x40 (NVIC_SystemReset()); 0x10 after the button                 modmachine.c
wake       as reset: deepsleep() is lightsleep() and a reset                modmachine.c
soft       the number stays; told by the mark                               main.c
dog        clamped to 16384 ms; runs for good                               machine_wdt.c
clock      2000 after power-on                                              machine_rtc.c
folder     /                                                                modules/_boot.py
keeps      no NVS; resets clear the mark, a soft reset does not             main.c
"""

# NVIC_IPR0, the priority of interrupt 0 (PM), which the port never enables: 0 after a reset of the core (ARMv7-M
# Architecture Reference Manual).
MARK = (0xE000E400, 0x80, 0x40)
DOG_MS = 16384
_WORDS = {0x20: "watchdog", 1: "power", 2: "power", 4: "power", 0x80: "wake"}


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    return _WORDS.get(n, "reset")
