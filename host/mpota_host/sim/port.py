"""The program inside a virtual board: the unix port becomes an ESP32 and then runs the board's own files.

After `start` nothing of this project is left to import: `/` is the file system on the simulated flash, so the package
`mpota` that runs is the one that lies there. boot.py, main.py and the REPL follow MicroPython's ports/esp32/main.c:
main.py runs only if boot.py raised nothing, SystemExit is a soft reset, any other exception ends in the REPL.
"""

import json
import os
import sys
import time

import vfs

from mpota_host.sim import inside, like
from mpota_host.sim.flash import SimFlash, SlowFlash


def pause(ms):
    time.sleep_us(int(1000 * ms))


def open_flash(config):
    if config.get("slow"):
        flash = SlowFlash(config["size"], pause, path=config["flash"], overwrite=config["overwrite"])
    else:
        flash = SimFlash(config["size"], path=config["flash"], overwrite=config["overwrite"])
    flash.trace = None
    return flash


class Blocks:
    """A part of the flash as a block device, for a chip that has no partitions of ESP-IDF."""

    def __init__(self, flash, off, size):
        self.flash = flash
        self.off = off
        self.n = size // flash.erase_size

    def readblocks(self, block, buf, off=0):
        self.flash.read(self.off + block * self.flash.erase_size + off, buf)

    def writeblocks(self, block, buf, off=None):
        at = self.off + block * self.flash.erase_size
        if off is None:
            self.flash.erase(at, len(buf))
        self.flash.prog(at + (off or 0), buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self.n
        if op == 5:
            return self.flash.erase_size
        if op == 6:
            self.flash.erase(self.off + arg * self.flash.erase_size, self.flash.erase_size)
        return 0


def mount(device, kind, point):
    """As _boot.py and inisetup.py: a blank volume is formatted, a damaged one is never touched."""
    if device is None:
        return
    try:
        vfs.mount(device, point)
        return
    except OSError:
        head = bytearray(device.ioctl(5, 0))
        device.readblocks(0, head)
        blank = head == b"\xff" * len(head)
    while not blank:
        print("The filesystem appears to be corrupted. If you had important data there, you\nmay want to save it.")
        time.sleep(3)
    kind.mkfs(device)
    vfs.mount(device, point)


def kind_of(config):
    """The module that gives a chip of this layout what the unix port has not."""
    return __import__("mpota_host.chips.%s.sim.chip" % config["layout"], None, None, ("x",))


def disk(flash, config):
    """(block device, file system) of the board."""
    if config["volume"]:
        return Blocks(flash, *config["volume"]), vfs.VfsLfs2
    return kind_of(config).volume(flash)


def forget(place):
    """Leave the modules that stand behind the chip alive, but out of reach of what runs on it."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("mpota", "mpota_boot", "mpota_host"):
            del sys.modules[name]
    sys.path[:] = ["", ".frozen"] + ([place] if place else []) + [place + "/lib"]


def run(wire, name, names):
    """Run one file of the board; True unless it raised."""
    try:
        with open(name) as f:
            text = f.read()
    except OSError:
        return True
    try:
        exec(compile(text, name, "exec"), names)
        return True
    except SystemExit:
        wire.down("soft")
    except BaseException as e:
        sys.print_exception(e)
    return False


def application(wire, config):
    import __main__

    names = __main__.__dict__
    if config["program"]:
        try:
            os.stat(config["program"])
        except OSError:
            # A manager without a file of the board's has nothing to do but to start the user program.
            wire.down("jump")
        run(wire, config["program"], names)
    elif run(wire, "boot.py", names) and config["main"]:
        while config["behaviour"] == "hangs":
            time.sleep(1)
        run(wire, "main.py", names)


def stand_ins(wire, flash, config):
    """The modules that a program imports here: every port's, this port's, this chip's."""
    clock = inside.Clock(wire, config["clock"])
    modules = inside.common(wire, config["cause"], config["behaviour"], clock)
    if config["like"]:
        modules.update(like.modules(wire, config, clock))
    modules.update(kind_of(config).modules(wire, flash, config))
    return modules


def start(text):
    """`text` is the supervisor's JSON; returns to the unix port's REPL."""
    config = json.loads(text)
    interrupts = inside.Interrupts(*map(int, sys.argv[1:])) if sys.argv[1:] else inside.NoInterrupts()
    del sys.argv[1:]
    wire = inside.Wire(bytes.fromhex(config["mark"]), interrupts)
    if config["behaviour"] == "dies":
        wire.down("abort")
    flash = open_flash(config)
    modules = stand_ins(wire, flash, config)
    device, kind = disk(flash, config)
    vfs.umount("/")
    place = config["place"]
    mount(device and wire.whole(device), kind, place or "/")
    if config["volume"]:
        # The program finds the raw flash in a module of its own.
        wire.shield(SimFlash, "prog", "erase")
    os.chdir(place or "/")
    forget(place)
    sys.modules.update(modules)
    try:
        # A Ctrl-C that came while the chip started interrupts what starts now.
        interrupts.release()
        application(wire, config)
    except KeyboardInterrupt:
        pass
    wire.say("repl")


def fill(text):
    """Copy files of the PC into the board's file system and values into its NVS, while the board is off."""
    config = json.loads(text)
    flash = open_flash(config)
    mount(*disk(flash, config), "/board")
    for name, source in config["files"]:
        folder = "/board"
        for part in name.strip("/").split("/")[:-1]:
            folder += "/" + part
            try:
                os.mkdir(folder)
            except OSError as e:
                if e.errno != 17:  # EEXIST
                    raise
        with open(source, "rb") as src, open("/board/" + name.strip("/"), "wb") as dest:
            dest.write(src.read())
    for space, values in config["nvs"].items():
        nvs = kind_of(config).memory(flash, space)
        for key, value in values.items():
            nvs.set_blob(key, value.encode())
        nvs.commit()
    vfs.umount("/board")
