"""`import mpota.setup` on a board, after `mip install`: writes what `mip` does not, and says what is still missing.

boot.py, main.py and wiring.py lie in the folder `shipped` beside this module, as texts. Each is copied to where boot.py
runs, unless its owner has a file of that name there. A file of comments alone, as MicroPython's own boot.py is, counts
as none. Settings and keys are the owner's: they are never written here.

It prints, since it answers the person who typed the import. Typed again as `mpota.setup.run()`, it looks again.
"""

import binascii
import hashlib
import json
import os
import sys

# Hashes of every file that `mip` brings and this module writes, in the form that `mpota flash` keeps.
RECORD = "/files.json"
SHIPPED = "/shipped/"
LAYOUTS = "/lib/mpota/layout/"
# `sys.implementation._mpy >> 10`, docs.micropython.org/en/latest/reference/mpyfiles.html.
ARCHES = "none x86 x64 armv6 armv6m armv7m armv7em armv7emsp armv7emdp xtensa xtensawin rv32imc rv64imc".split()


class Setup:
    """`own` is the folder of this module, `home` the one that boot.py lies in; "" is the root."""

    def __init__(self, own, home):
        self.home = home
        self.own = own
        self.record = {}

    def look(self):
        """Write what can be written; give a sentence for each thing that was done or is missing."""
        said = self.broken()
        if said:
            return said + ["Nothing was written."]
        said = [self.program(name) for name in sorted(os.listdir(self.own + SHIPPED))]
        missing = self.settings() + self.keys()
        return said + (missing or ["Restart the board: mpota runs from then on."])

    def broken(self):
        """What is wrong with the files that `mip` brought: it is not atomic, and does not ask for the processor."""
        try:
            with open(self.own + RECORD) as f:
                self.record = json.load(f)
        except (OSError, ValueError):
            words = "%s cannot be read. This import is for a board to which `mip` brought a folder of `mpota mip`;"
            return [words % (self.own + RECORD) + " `mpota flash` needs no import."]
        lib = self.own.rpartition("/")[0]
        said = []
        for path in sorted(self.record):
            if path.startswith("/lib/"):
                said += broken_file(lib + path[len("/lib") :], self.record[path])
        return said

    def program(self, name):
        """Copy one of the shipped files, unless its owner has one."""
        source, target = self.own + SHIPPED + name, self.home + "/" + name
        if digest(target) == digest(source):
            return "%s is there." % target
        if not blank(target):
            words = "%s is your own and stays. Have it do what %s does; or remove it and import mpota.setup again."
            return words % (target, source)
        try:
            copy(source, target)
        except OSError as e:
            return "%s could not be written (%s): is the file system full?" % (target, e)
        return "%s was written." % target

    def settings(self):
        """What mpota.json still needs."""
        path = self.home + "/mpota.json"
        layout = "".join({name[len(LAYOUTS) :].split("/")[0] for name in self.record if name.count("/") > 4})
        sample = {"product": "lamp", "layout": layout, "manifest": "http://updates.lan/manifest.json"}
        advice = " Write it on your computer, for example %s, then: mpremote cp mpota.json :%s"
        advice %= (json.dumps(sample), path)
        try:
            with open(path, "rb") as f:
                data = f.read()
            found = json.loads(data[3:] if data[:3] == b"\xef\xbb\xbf" else data)
        except OSError:
            return ["The settings %s are missing." % path + advice]
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return ["%s is no JSON object." % path + advice]
        if not found.get("product"):
            return ["%s names no product, so no package is for this board." % path + advice]
        if found.get("layout", "esp32") != layout:
            words = "%s has the layout %s, and what `mip` brought is for %s: make them the same."
            return [words % (path, found.get("layout", "esp32"), layout)]
        return []

    def keys(self):
        """Is there a key that signs packages?"""
        folder = self.home + "/keys"
        if exists(folder) and os.listdir(folder):
            return []
        words = "No key is trusted yet, so every package is refused. Do: mpremote mkdir :%s + cp release.pub :%s/"
        return [words % (folder, folder)]


def broken_file(path, hashes):
    """What is wrong with one file that `mip` brought, as a list."""
    if digest(path) not in hashes:
        return ["%s is not whole: run the same `mip install` again." % path]
    if not path.endswith(".mpy"):
        return []
    if exists(path[:-3] + "py"):
        return ["MicroPython would run %spy instead of %s: remove it." % (path[:-3], path)]
    with open(path, "rb") as f:
        made_for = f.read(3)[2] >> 2 & 15
    # Bytecode alone is for every processor.
    if made_for and made_for != native():
        words = "%s is for %s: run `mip install` with the folder %s of `mpota mip`."
        return [words % (path, arch(made_for), arch(native()))]
    return []


def native():
    """Which native code this board runs, as a number; 0 for none."""
    return getattr(sys.implementation, "_mpy", 0) >> 10 & 15


def arch(n):
    """The word that `mpota mip` has for it."""
    return ARCHES[n] if n < len(ARCHES) else ARCHES[0]


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def digest(path):
    """The SHA-256 of a file in hex; None where there is none."""
    h, buf = hashlib.sha256(), bytearray(512)
    try:
        with open(path, "rb") as f:
            n = f.readinto(buf)
            while n:
                h.update(memoryview(buf)[:n])
                n = f.readinto(buf)
    except OSError:
        return None
    return binascii.hexlify(h.digest()).decode()


def blank(path):
    """Is there no file, or nothing but comments in it?"""
    try:
        with open(path, "rb") as f:
            for line in f:
                if line.strip() and not line.strip().startswith(b"#"):
                    return False
    except OSError:
        pass
    return True


def copy(source, target):
    """Under a second name first: a pulled plug leaves the old file, the new one, or none."""
    with open(source, "rb") as f:
        data = f.read()
    with open(target + ".new", "wb") as f:
        f.write(data)
    if exists(target):
        # FAT renames onto nothing that is there.
        os.remove(target)
    os.rename(target + ".new", target)


def boot_folder(lib, path):
    """The folder that boot.py runs in, by the one that this module's package lies in and `sys.path`."""
    for card in path:
        # An i.MX RT starts from its card, and looks for no module in the card's lib.
        if card.endswith("/sdcard"):
            return card
    return lib[: -len("/lib")] if lib.endswith("/lib") else os.getcwd().rstrip("/")


def run():
    """Do it on this board, by where this module lies: in lib/mpota below boot.py's folder."""
    own = __file__.rpartition("/")[0]
    for sentence in Setup(own, boot_folder(own.rpartition("/")[0], sys.path)).look():
        print(sentence)


run()
