# Settle the last update before the application starts. A boot.py that raises would keep main.py from running.
try:
    __import__("sys").path.insert(0, __import__("os").getcwd())  # mpota is found wherever the application goes
    from mpota_boot import shim
    from wiring import Board

    shim.boot(Board)
except Exception as e:
    print("mpota:", e)
    try:
        # Without mpota's own files a trial can only be ended by the watchdog: ten minutes from now.
        from esp32 import NVS
        from machine import WDT

        seen = []
        for tag in ("armed", "running", "failed"):
            buf = bytearray(128)
            try:
                seen.append(bytes(buf[: NVS("mpota").get_blob(tag, buf) - 1]))
            except OSError:
                seen.append(None)
        if seen[0] and seen[0] not in seen[1:]:
            WDT(timeout=600000)
    except Exception as e:
        print("mpota:", e)
