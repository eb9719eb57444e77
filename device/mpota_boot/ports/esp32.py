"""ESP32, every chip of the family: what its port and ESP-IDF do. MicroPython 1.29, ports/esp32; ESP-IDF 5.5.

power      1, a brown-out too                                               modmachine.c
watchdog   3                                                                modmachine.c
reset      2 after machine.reset() and a panic; 0 for what has no number    modmachine.c
wake       4 after deepsleep()                                              modmachine.c
soft       5                                                                modmachine.c
dog        any time up to 2**32 / 4 ms, changed by making it again          machine_wdt.c, IDF's esp_task_wdt
clock      2000 after power-on; resets and sleeps keep it                   machine_rtc.c, modtime.c
folder     /                                                                modules/_boot.py
keeps      NVS keeps everything; RTC.memory() all but power-on; RAM a soft reset's C variables only    machine_rtc.c
"""

# No mark: the cause tells a soft reset.
MARK = None
# 12.4 days.
DOG_MS = 1073741823
_WORDS = {1: "power", 3: "watchdog", 4: "wake", 5: ""}


def cause(n):
    """Why this start, in a word, for a value of machine.reset_cause()."""
    return _WORDS.get(n, "reset")
