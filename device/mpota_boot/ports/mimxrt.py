"""i.MX RT: what its port does. MicroPython 1.29, ports/mimxrt. Read, not tried on a board.

power      1                                                                modmachine.c
watchdog   3                                                                modmachine.c
reset      5 (WDOG1's software reset)                                       modmachine.c
wake       4, and every reset after it reads 4 too: WDOG1.WRSR tells        modmachine.c; IMXRT1060RM, 57.8
soft       the number stays; told by the mark                               main.c
dog        clamped to 128000 ms; runs for good                              machine_wdt.c
clock      2013 where SNVS has lost its power; it runs through resets       machine_rtc.c
folder     /flash, or /sdcard where a card is in                            modules/_boot.py
keeps      no NVS; resets and sleeps clear the mark, a soft reset does not  main.c
"""

# NVIC_IPR4, byte 1: interrupt 17, an error of the debugger's cross trigger (MIMXRT1011 to 1176). The port never
# enables it: 0 after a reset of the core (ARMv7-M Architecture Reference Manual).
MARK = (0xE000E410, 0x8000, 0x4000)
DOG_MS = 128000
_WORDS = {1: "power", 3: "watchdog", 5: "reset"}
# Of WDOG1.WRSR: SFTW, TOUT, POR.
_AFTER_WAKE = {1: "reset", 2: "watchdog", 16: "wake"}


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    import os

    if n == 4 and "MIMXRT10" in os.uname()[4]:
        from machine import mem16

        return _AFTER_WAKE.get(mem16[0x400B8004], "unknown")
    return _WORDS.get(n, "unknown")
