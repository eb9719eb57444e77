# Settle the last update before the application starts. A boot.py that raises would keep main.py from running.
try:
    from device import shim
    from device.board import Board

    shim.boot(Board)
except Exception as e:
    print("mpota:", e)
