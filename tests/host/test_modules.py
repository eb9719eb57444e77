"""Files of an application that a board would not load, or would load in place of what mpota imports."""

import pytest

from mpota_boot.errors import Refused
from mpota_host.board import carried, flash
from mpota_host.package.content.modules import header, want_loadable, want_unhidden
from mpota_host.registry import layouts

SOURCE = b"def f(a):\n    return a + 1\n"
NATIVE = b"import micropython\n@micropython.native\ndef f(a):\n    return a + 1\n"


def mpy(source=SOURCE, arch="", version="6.3"):
    return flash.compile_source(source, "m.py", arch, version)


def test_the_header_of_what_mpy_cross_makes_is_read():
    assert header(mpy()) == ("6.3", "") or header(mpy()).arch == ""
    for arch in ("armv6m", "armv7emsp", "xtensawin", "rv32imc", "x64"):
        assert header(mpy(NATIVE, arch)) == ("6.3", arch)
    assert header(b"M\x06") is None and header(b"import x") is None
    assert header(b"M\x06\x3c\x1f").arch == "number 15"


@pytest.mark.parametrize(
    "data, version, arch",
    [
        (mpy(), "6.3", ""),
        (mpy(), "6.1", "armv6m"),
        (mpy(NATIVE, "armv6m"), "6.3", ""),
        (mpy(NATIVE, "armv6m"), "6.3", "armv6m"),
    ],
)
def test_what_a_board_loads_is_taken(data, version, arch):
    want_loadable({"a.mpy": data, "b.txt": b"M\x01"}, version, arch)


@pytest.mark.parametrize(
    "data, version, arch, words",
    [
        (b"M\x05\x02\x1f" + bytes(40), "6.3", "", "has .mpy version 5.2, the boards load 6.3"),
        (mpy(NATIVE, "armv6m"), "6.1", "armv6m", "has .mpy version 6.3, the boards load 6.1"),
        (mpy(NATIVE, "armv6m"), "6.3", "xtensawin", "has code for armv6m, the boards are xtensawin"),
        (b"print(1)\n", "6.3", "", "is no .mpy file"),
        (b"", "6.3", "", "is no .mpy file"),
    ],
)
def test_what_no_board_loads_is_refused_by_name(data, version, arch, words):
    with pytest.raises(Refused, match=f"lib/drv.mpy {words}") as e:
        want_loadable({"lib/drv.mpy": data}, version, arch)
    assert e.value.code == "mpy"


@pytest.mark.parametrize(
    "path", ["json.py", "json.mpy", "json/__init__.py", "json/", "json/data/x.txt", "lib/json.py", "lib/json/x.py"]
)
def test_a_name_that_hides_a_module_is_refused(path):
    with pytest.raises(Refused, match="would hide the module 'json'") as e:
        want_unhidden(["app.py", path], {"json", "os"})
    assert e.value.code == "path"


def test_names_that_hide_nothing_are_taken():
    want_unhidden(["app.py", "json.txt", "json.d.py", "my/json.py", "lib/x/os.py", "jsons.py", "lib/"], {"json", "os"})


@pytest.mark.parametrize("layout", layouts())
def test_what_mpota_imports_is_read_from_what_a_board_carries(layout):
    found = carried.imported(layout)
    assert {"json", "os", "struct", "socket", "hashlib", "cryptolib", "io", "sys", "machine"} <= found
    assert not found & {"app", "wiring", "mpota", "mpota_boot", ""}
