# Settle the last update before the application starts. A boot.py that raises would keep main.py from running.
try:
    import os
    import sys

    sys.path.insert(0, os.getcwd())  # mpota is found wherever the application goes
    from device import shim
    from device.board import Board

    shim.boot(Board)
except Exception as e:
    print("mpota:", e)
    try:
        # Without mpota's own files a trial can only be ended by the watchdog: ten minutes from now.
        from esp32 import NVS
        from machine import WDT

        buf = [bytearray(128) for _ in range(3)]
        for i, tag in enumerate(("armed", "running", "failed")):
            try:
                buf[i] = bytes(buf[i][: NVS("mpota").get_blob(tag, buf[i]) - 1])
            except OSError:
                buf[i] = None
        if buf[0] and buf[0] not in buf[1:]:
            WDT(timeout=600000)
    except Exception as e:
        print("mpota:", e)
