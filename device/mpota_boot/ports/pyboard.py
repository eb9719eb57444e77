"""STM32, whose port calls itself "pyboard": what it does. MicroPython 1.29, ports/stm32. Read, not tried on a board.

power      1 (PORRSTF, BORRSTF)                                             modmachine.c
watchdog   3 (IWDGRSTF, WWDGRSTF)                                           modmachine.c
reset      2 where the chip's own reset sets PINRSTF, else 0                modmachine.c, powerctrl.c
wake       4 after standby                                                  modmachine.c
soft       0; told by the mark from a reset that reads 0                    modmachine.c
dog        at most 32767 ms (IWDG); runs for good                           machine_wdt.c
clock      2015 where the RTC has lost its power; it runs through resets    rtc.c
folder     /flash, or /sd where a card is in                                main.c
keeps      no NVS; resets and standby clear the mark, a soft reset does not main.c
"""

# NVIC_IPR0, the priority of interrupt 0 (WWDG), which the port never enables: 0 after a reset of the core (ARMv6-M and
# ARMv7-M Architecture Reference Manuals), and two bits at least are there.
MARK = (0xE000E400, 0x80, 0x40)
DOG_MS = 32767
_WORDS = {1: "power", 3: "watchdog", 4: "wake"}


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    return _WORDS.get(n, "reset")
