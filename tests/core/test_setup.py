"""`import mpota.setup`: what it writes on a board that `mip` filled, what it leaves alone, and what it says."""

import hashlib
import json
import os
import sys
from binascii import hexlify

from mpota import setup
from tests.scratch import Scratch

BOOT = b"# mpota's\nboot = 1\n"
MAIN = b"# mpota's\nmain = 1\n"
WIRING = b"# mpota's\nclass Board:\n    pass\n"
# The first bytes of an .mpy of version 6: 'M', 6, the processor and sub-version, bits of a small int.
BYTECODE = b"M\x06\x00\x1f" + b"code" * 200
DONE = "Restart the board: mpota runs from then on."


def native(arch):
    return b"M\x06" + bytes([arch << 2 | 3]) + b"\x1f" + b"code" * 9


def put(path, data):
    """Write a file, and the folders above it."""
    parts = path.split("/")
    for n in range(2, len(parts)):
        try:
            os.mkdir("/".join(parts[:n]))
        except OSError:
            pass
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def sha(data):
    return hexlify(hashlib.sha256(data).digest()).decode()


def installed(home, files=None, layout="esp32"):
    """What `mip` leaves in home/lib; returns the Setup of it."""
    there = {
        "/lib/mpota/setup.mpy": BYTECODE,
        "/lib/mpota/layout/%s/port.mpy" % layout: BYTECODE,
        "/lib/mpota/pipe/delta.mpy": native(setup.native()) if setup.native() else BYTECODE,
        "/lib/mpota_boot/shim.mpy": BYTECODE,
        "/lib/mpota/shipped/boot.py": BOOT,
        "/lib/mpota/shipped/main.py": MAIN,
        "/lib/mpota/shipped/wiring.py": WIRING,
    }
    there.update(files or {})
    record = {path: [sha(data)] for path, data in there.items()}
    record["/boot.py"] = [sha(BOOT)]
    for path, data in there.items():
        put(home + path, data)
    put(home + "/lib/mpota/files.json", json.dumps(record).encode())
    return setup.Setup(home + "/lib/mpota", home)


def settled(home, settings=None):
    """The owner's part: settings and a key."""
    put(home + "/mpota.json", json.dumps(settings or {"product": "lamp"}).encode())
    put(home + "/keys/release.pub", bytes(384))


def names(home):
    return sorted(name for name in os.listdir(home) if name not in ("lib", "keys"))


def test_a_new_board_gets_the_three_files_and_is_told_what_is_missing():
    with Scratch() as home:
        said = installed(home).look()
        assert [get(home + "/" + name) for name in ("boot.py", "main.py", "wiring.py")] == [BOOT, MAIN, WIRING]
        assert names(home) == ["boot.py", "main.py", "wiring.py"]
        assert said[:3] == ["%s/%s was written." % (home, name) for name in ("boot.py", "main.py", "wiring.py")]
        assert len(said) == 5 and "mpremote cp mpota.json :%s/mpota.json" % home in said[3]
        assert "No key" in said[4] and "mkdir :%s/keys + cp release.pub :%s/keys/" % (home, home) in said[4]


def test_a_board_with_settings_and_a_key_is_ready_and_a_second_look_writes_nothing():
    with Scratch() as home:
        board = installed(home)
        settled(home)
        assert board.look()[-1] == DONE
        os.remove(home + "/lib/mpota/shipped/main.py")
        put(home + "/lib/mpota/shipped/main.py", MAIN)
        said = board.look()
        assert said == ["%s/%s is there." % (home, name) for name in ("boot.py", "main.py", "wiring.py")] + [DONE]


def test_the_layout_is_the_one_that_mip_brought():
    with Scratch() as home:
        board = installed(home, layout="files")
        said = board.look()
        assert '"layout": "files"' in said[3]
        settled(home)
        assert "has the layout esp32, and what `mip` brought is for files" in board.look()[-1]
        settled(home, {"product": "lamp", "layout": "files"})
        assert board.look()[-1] == DONE


def test_what_the_owner_wrote_is_never_replaced():
    own = {
        "boot.py": b"import app\n",
        "main.py": b"\xff\xfe\x00 no text\n",
        "wiring.py": b"# mine\n\nx = 1  # one line that does something\n",
        "mpota.json": b'{"product": "mine"}',
        "keys/mine.pub": b"\1" * 384,
    }
    with Scratch() as home:
        for name, data in own.items():
            put(home + "/" + name, data)
        said = installed(home).look()
        assert {name: get(home + "/" + name) for name in own} == own
        assert names(home) == ["boot.py", "main.py", "mpota.json", "wiring.py"] and os.listdir(home + "/keys") == [
            "mine.pub"
        ]
        assert all("is your own and stays" in line for line in said[:3]) and "/lib/mpota/shipped/boot.py" in said[0]


def test_comments_alone_are_no_file_of_the_owners():
    for stock in (
        b"",
        b"\n",
        b"# boot.py -- run on boot-up\n\n  # import esp\n#esp.osdebug(None)\n",
        b"# no end of line",
    ):
        with Scratch() as home:
            put(home + "/boot.py", stock)
            assert installed(home).look()[0] == home + "/boot.py was written."
            assert get(home + "/boot.py") == BOOT and "boot.py.new" not in os.listdir(home)


def test_what_a_pulled_plug_left_is_written_over():
    with Scratch() as home:
        put(home + "/boot.py.new", b"half of")
        installed(home).look()
        assert get(home + "/boot.py") == BOOT and names(home) == ["boot.py", "main.py", "wiring.py"]


def refused(home, board, words):
    """It must say this and write nothing."""
    before = names(home)
    said = board.look()
    assert said[-1] == "Nothing was written." and names(home) == before
    assert len(said) == 2 and words in said[0], said


def test_half_an_installation_writes_nothing():
    with Scratch() as home:
        board = installed(home)
        put(home + "/lib/mpota_boot/shim.mpy", BYTECODE[:-1])
        refused(home, board, "/lib/mpota_boot/shim.mpy is not whole: run the same `mip install` again")
        os.remove(home + "/lib/mpota_boot/shim.mpy")
        refused(home, board, "/lib/mpota_boot/shim.mpy is not whole")
        os.remove(home + "/lib/mpota/files.json")
        refused(home, board, "files.json cannot be read")
        put(home + "/lib/mpota/files.json", b'{"/boot.py": ["12')
        refused(home, board, "files.json cannot be read")


def test_native_code_for_another_processor_is_told_with_the_folder_to_take():
    other = 5 if setup.native() != 5 else 11
    with Scratch() as home:
        board = installed(home, {"/lib/mpota/pipe/delta.mpy": native(other)})
        here = setup.arch(setup.native())
        refused(home, board, "is for %s: run `mip install` with the folder %s" % (setup.ARCHES[other], here))


def test_a_number_of_a_processor_that_is_not_known_has_the_folder_for_all():
    assert setup.arch(10) == "xtensawin" and setup.arch(15) == "none"


def test_a_source_that_would_run_instead_of_the_mpy_is_named():
    with Scratch() as home:
        board = installed(home)
        put(home + "/lib/mpota_boot/shim.py", b"an older one\n")
        refused(home, board, "/lib/mpota_boot/shim.py instead of")


def test_settings_that_cannot_be_read_or_name_no_product_are_told_and_stay():
    for text, words in (
        (b"{", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'{"layout": "esp32"}', "names no product"),
    ):
        with Scratch() as home:
            board = installed(home)
            settled(home)
            put(home + "/mpota.json", text)
            assert words in board.look()[-1] and get(home + "/mpota.json") == text


def test_settings_with_a_byte_order_mark_are_settings():
    with Scratch() as home:
        board = installed(home)
        settled(home)
        board.look()
        before = board.look()
        put(home + "/mpota.json", b"\xef\xbb\xbf" + get(home + "/mpota.json"))
        assert board.look() == before


def test_a_folder_of_keys_without_one_counts_as_none():
    with Scratch() as home:
        board = installed(home)
        settled(home)
        os.remove(home + "/keys/release.pub")
        assert "No key is trusted" in board.look()[-1]


def test_a_file_that_cannot_be_written_is_told():
    with Scratch() as home:
        os.mkdir(home + "/main.py.new")
        said = installed(home).look()
        assert "main.py could not be written" in said[1] and "was written" in said[2]


def test_an_i_mx_rt_with_a_card_starts_from_the_card():
    path = ["", ".frozen", "/flash", "/flash/lib"]
    assert setup.boot_folder("/flash/lib", path) == "/flash"
    assert setup.boot_folder("/flash/lib", path + ["/sdcard"]) == "/sdcard"
    assert setup.boot_folder("/sd/lib", ["", "/sd", "/sd/lib"] + path) == "/sd"


def test_it_finds_the_folder_of_boot_py_from_where_it_lies():
    with Scratch() as home:
        installed(home)
        before = setup.__file__
        setup.__file__ = home + "/lib/mpota/setup.mpy"
        try:
            setup.run()
        finally:
            setup.__file__ = before
        assert names(home) == ["boot.py", "main.py", "wiring.py"]


def test_importing_it_where_mip_brought_nothing_writes_nothing():
    with Scratch() as home:
        before = os.getcwd()
        os.chdir(home)
        try:
            sys.modules.pop("mpota.setup")
            __import__("mpota.setup")
            assert os.listdir(home) == []
        finally:
            os.chdir(before)
