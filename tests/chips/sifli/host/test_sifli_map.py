"""A board's map out of its project's header or partition table, and everything that such a file may say wrong."""

import json
import random

import pytest

from mpota.layout.sifli.port import Chip
from mpota_boot.errors import OtaError, Refused
from mpota_host.chips.sifli import memory, sample
from mpota_host.chips.sifli.cheader import Header
from mpota_host.chips.sifli.sim import machine
from mpota_host.sim.flash import SimFlash
from tests.chips.sifli import sifli_maker as maker
from tests.host.command import call

# As the vendor's mem_map.h has it for a chip with flash inside: what a project's own header is taken for.
BASE = """
#ifndef __MEM_MAP__
#define __MEM_MAP__
#define END_ADDR(start, size)   ((start) + (size) - 1)
#define FLASH_BASE_ADDR         (0x10000000)
#define FLASH2_BASE_ADDR        (0x64000000)
#define FLASH_TABLE_START_ADDR  (FLASH_BASE_ADDR)
#define FLASH_TABLE_SIZE        (20*1024)
#define FLASH_USER_CODE_START_ADDR (FLASH_BASE_ADDR + 0x20000) /* what the ROM jumps to */
#ifdef BSP_USING_DFU_COMPRESS
    #define DFU_FLASH_CODE_SIZE             (256*1024)
    #define DFU_RES_FLASH_CODE_SIZE         (640*1024)
    #define HCPU_FLASH_CODE_SIZE            (896*1024)
    #define DFU_FLASH_CODE_START_ADDR       FLASH_USER_CODE_START_ADDR
    #define DFU_FLASH_CODE_END_ADDR         (END_ADDR(DFU_FLASH_CODE_START_ADDR, DFU_FLASH_CODE_SIZE))
    #define DFU_RES_FLASH_CODE_START_ADDR   (DFU_FLASH_CODE_END_ADDR + 1)  // 0x10060000
    #define DFU_RES_FLASH_CODE_END_ADDR     (END_ADDR(DFU_RES_FLASH_CODE_START_ADDR, DFU_RES_FLASH_CODE_SIZE))
    #define HCPU_FLASH_CODE_START_ADDR      (DFU_RES_FLASH_CODE_END_ADDR + 1)
#else
    #define HCPU_FLASH_CODE_SIZE            (1024*1024)
    #define HCPU_FLASH_CODE_START_ADDR      FLASH_USER_CODE_START_ADDR
#endif
#define HCPU_FLASH_IMG_START_ADDR       (0x10100000)
#define HCPU_FLASH_IMG_SIZE             (4096*1024)
#define HCPU_FLASH2_IMG_START_ADDR      (FLASH2_BASE_ADDR)
#define HCPU_FLASH2_IMG_SIZE            (4096UL*1024)
#ifdef CUSTOM_MEM_MAP
    #include "custom_mem_map.h"
#endif
#endif
"""
CUSTOM = """
#define KVDB_DFU_REGION_START_ADDR 0x10008000u
#define KVDB_DFU_REGION_SIZE       (16 << 10)
#undef  HCPU_FLASH2_IMG_START_ADDR
#define HCPU_FLASH2_IMG_START_ADDR (FLASH_BASE_ADDR | 0x280000)
#undef  HCPU_FLASH2_IMG_SIZE
#define HCPU_FLASH2_IMG_SIZE \\
    (512 * 1024)
#define LCPU_FLASH_CODE_START_ADDR 0x10380000
#define LCPU_FLASH_CODE_SIZE       0x40000
#if defined(TWO_AREAS) && !defined(ONE_AREA)
#define MPOTA_UPGRADE2_START_ADDR  (0x101E0000)
#define MPOTA_UPGRADE2_SIZE        DFU_RES_FLASH_CODE_SIZE
#endif
"""
DEFINES = {"BSP_USING_DFU_COMPRESS": "1", "CUSTOM_MEM_MAP": "1", "TWO_AREAS": ""}


def header(tmp_path, base=BASE, custom=CUSTOM):
    (tmp_path / "mem_map.h").write_text(base)
    if custom is not None:
        (tmp_path / "custom_mem_map.h").write_text(custom)
    return tmp_path / "mem_map.h"


def test_a_projects_header_is_read_as_its_compiler_reads_it(tmp_path):
    found = memory.read(header(tmp_path), defines=DEFINES)
    assert found.places == {
        "flash": 0x10000000,
        "table": [0x10000000, 0x5000],
        "state": [0x10008000, 0x4000],
        "manager": [0x10020000, 0x40000],
        "upgrade": [[0x10060000, 0xA0000], [0x101E0000, 0xA0000]],
        "user": [0x10100000, 0xE0000],
        "res": [0x10280000, 0x80000],
        "lcpu": [0x10380000, 0x40000],
    }
    assert not found.notes
    # It is the map that a board takes, in the words of the virtual one.
    want = {name: machine.PLACES[name] for name in ("flash", "table", "state", "manager", "user", "res")}
    assert {name: tuple(found.places[name]) if name != "flash" else found.places[name] for name in want} == want
    chip = Chip(SimFlash(0x400000), json.loads(found.text()), maker.efuse(), lambda: None)
    assert chip.place(1).start == 0x380000 and chip.slots[1].size == 0xA0000


def test_the_build_decides_which_addresses_count(tmp_path):
    path = header(tmp_path)
    one = memory.read(path, defines={k: v for k, v in DEFINES.items() if k != "TWO_AREAS"})
    assert len(one.places["upgrade"]) == 1 and "nothing to go back to" in one.notes[0]
    with pytest.raises(Refused, match=r"manager is missing.*DFU_FLASH_CODE"):
        memory.read(path, defines={"CUSTOM_MEM_MAP": "1"})
    with pytest.raises(Refused, match=r"state is missing.*KVDB_DFU_REGION"):
        memory.read(path, defines={"BSP_USING_DFU_COMPRESS": "1"})
    # Alone the custom header has not all of it.
    with pytest.raises(Refused, match=r"FLASH_BASE_ADDR is not defined|DFU_RES_FLASH_CODE_SIZE is not defined"):
        memory.read(tmp_path / "custom_mem_map.h", defines=DEFINES)


def test_headers_of_two_folders_are_read_one_after_the_other_or_by_an_include(tmp_path):
    sdk, project = tmp_path / "sdk", tmp_path / "project"
    sdk.mkdir(), project.mkdir()
    (sdk / "mem_map.h").write_text(BASE)
    (project / "custom_mem_map.h").write_text(CUSTOM)
    want = memory.read(header(tmp_path), defines=DEFINES).places
    found = memory.read(sdk / "mem_map.h", project / "custom_mem_map.h", defines=DEFINES)
    assert found.places == want
    only = {name: DEFINES[name] for name in DEFINES if name != "CUSTOM_MEM_MAP"}
    assert memory.read(sdk / "mem_map.h", project / "custom_mem_map.h", defines=only).places == want
    (project / "ptab.json").write_text("[]")
    with pytest.raises(Refused, match=r"ptab.json is a whole table: give it alone"):
        memory.read(sdk / "mem_map.h", project / "ptab.json")


def test_what_lies_in_another_flash_is_left_out_and_said(tmp_path):
    custom = CUSTOM.replace("(FLASH_BASE_ADDR | 0x280000)", "(FLASH2_BASE_ADDR)")
    found = memory.read(header(tmp_path, custom=custom), defines=DEFINES)
    assert "res" not in found.places and "outside the flash" in found.notes[0] and "0x64000000" in found.notes[0]
    custom = CUSTOM.replace("0x10008000u", "0x64008000u")
    with pytest.raises(Refused, match=r"state .*outside the flash.*writes one flash"):
        memory.read(header(tmp_path, custom=custom), defines=DEFINES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0x10008000u", "0x10060000", "state and upgrade overlap|upgrade and state overlap"),
        ("0x10008000u", "0x10004000", "table and state overlap"),
        ("0x10380000", "0x102FF000", "res and lcpu overlap: lcpu begins at 0x102ff000, res ends at 0x10300000"),
        ("0x101E0000", "0x101DF000", "user and upgrade 1 overlap"),
        ("(16 << 10)", "(12 << 10)", "state has 12,288 bytes, wanted 16,384"),
        ("(16 << 10)", "0x4100", "whole sectors"),
        ("0x10380000", "0x10380800", "lcpu has 0x40000 bytes at 0x10380800, wanted whole sectors"),
        ("(16 << 10)", "0", "whole sectors"),
        ("0x10008000u", "(uint32_t)0x10008000", "KVDB_DFU_REGION_START_ADDR is .*no number"),
        ("0x10008000u", "KVDB_DFU_REGION_START_ADDR", "it names itself"),
        ("0x10008000u", "SOMETHING_ELSE + 4", "SOMETHING_ELSE is not defined"),
        ("0x10008000u", "(1 / 0)", "divides by 0"),
        ("0x10008000u", "(1 << 999999999)", "shifts by"),
        ("0x10008000u", "__import__('os').getcwd()", "no number"),
        ("0x10008000u", "ADDRESS_OF(state)", "no number"),
    ],
)
def test_a_header_that_would_lose_something_is_refused(tmp_path, old, new, words):
    with pytest.raises(Refused, match=words):
        memory.read(header(tmp_path, custom=CUSTOM.replace(old, new, 1)), defines=DEFINES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "none of the vendor's areas"),
        ('#include "ptab.h"\n', "ptab.h is not beside it"),
        ("#if 1\n", "ends inside an #if"),
        ("#else\n", "line 1: #else without #if"),
        ("int x;\n#endif\n", "line 2: #endif without #if"),
        ('#error "wrong config"\n', "says: wrong config"),
        ("#define KVDB_DFU_REGION_START_ADDR\n#define KVDB_DFU_REGION_SIZE 4096\n", "no number"),
    ],
)
def test_a_file_that_is_no_map_says_why(tmp_path, text, words):
    path = tmp_path / "x.h"
    path.write_text(text)
    with pytest.raises(Refused, match=words):
        memory.read(path)


def test_an_error_in_a_part_that_is_not_compiled_is_none(tmp_path):
    text = BASE.replace(
        "#ifdef CUSTOM", "#if FLASH_TABLE_SIZE >= 0x100000\n#error no\n#elif 0\n#error no\n#endif\n#ifdef CUSTOM"
    )
    assert memory.read(header(tmp_path, base=text), defines=DEFINES).places["table"] == [0x10000000, 0x5000]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 8), ("0x10UL", 16), ("~0 & 0xFF", 255), ("-(-3)", 3), ("!0", 1), ("7 / 2", 3), ("7 % 4", 3),
        ("1 && 0 || 1", 1), ("3 > 2", 1), ("3 != 3", 0), ("1 ^ 3", 2), ("TWICE(4) + 1", 9), ("TWICE(TWICE(1))", 4),
    ],
)  # fmt: skip
def test_cs_numbers_and_operators_mean_what_they_mean_there(tmp_path, text, value):
    path = tmp_path / "x.h"
    path.write_text(f"#define TWICE(x) ((x) * 2)\n#define N {text}\n")
    found = Header()
    found.read(path)
    assert found.number("N") == value and found.number("M") is None


def test_a_header_that_includes_itself_is_read_once(tmp_path):
    (tmp_path / "a.h").write_text('#include "b.h"\n#define A 1\n')
    (tmp_path / "b.h").write_text('#include "a.h"\n#define B (A + 1)\n#include <rtconfig.h>\n')
    found = Header()
    found.read(tmp_path / "a.h")
    assert found.number("B") == 2 and found.missing == ["rtconfig.h"]


def region(offset, size, *tags, **more):
    return {"offset": f"{offset:#010x}", "max_size": f"{size:#010x}", "tags": list(tags), **more}


def table(*regions, base="0x10000000", version=None, mem="flash1"):
    """In the form of the vendor's first table, or its second one."""
    ram = {
        "mem": "hpsys_ram",
        "base": "0x20000000",
        "regions": [region(0, 0x1000, "HCPU_RAM_DATA"), region(0, 64, "X")],
    }
    head = [{"version": version}] if version else []
    return [*head, {"mem": mem, "base": base, "regions": list(regions)}, ram]


# The numbers of the vendor's board eh-lb520.
LB520 = (
    region(0, 0x8000, "FLASH_TABLE", img="ftab"),
    region(0x8000, 0x10000, img="bootloader"),
    region(0x18000, 0x4000, "KVDB_DFU_REGION"),
    region(0x1C000, 0x4000, "KVDB_BLE_REGION"),
    region(0x20000, 0x200000, "HCPU_FLASH_CODE", img="main"),
    region(0x220000, 0x80000, "DFU_FLASH_CODE", img="dfu"),
    region(0x2A0000, 0x120000, "DFU_DOWNLOAD_REGION"),
    region(0x3C0000, 0x280000, "FS_REGION", img="fs_root"),
)


def written(tmp_path, data):
    path = tmp_path / "ptab.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.mark.parametrize("version", [None, "2"])
def test_a_partition_table_is_read_and_its_other_areas_are_kept_out_of_the_way(tmp_path, version):
    found = memory.read(written(tmp_path, table(*LB520, version=version)))
    assert found.places == {
        "flash": 0x10000000,
        "table": [0x10000000, 0x8000],
        "manager": [0x10220000, 0x80000],
        "user": [0x10020000, 0x200000],
        "state": [0x10018000, 0x4000],
        "upgrade": [[0x102A0000, 0x120000]],
        "bootloader": [0x10008000, 0x10000],
        "kvdb_ble_region": [0x1001C000, 0x4000],
        "fs_region": [0x103C0000, 0x280000],
    }
    chip = Chip(SimFlash(0x800000), json.loads(found.text()), maker.efuse(), lambda: None)
    # A file system is no image's place: no phone may write it.
    assert chip.place(5) is None and chip.place(1) == 0


def test_a_place_may_have_another_name_or_be_left_out(tmp_path):
    regions = (*LB520, region(0x640000, 0x100000, "LCPU_FLASH_CODE"), region(0x740000, 0x120000, "SPARE"))
    path = written(tmp_path, table(*regions))
    found = memory.read(path, names={"ex": "FS_REGION", "upgrade2": "SPARE", "lcpu": ""})
    assert found.places["ex"] == [0x103C0000, 0x280000] and len(found.places["upgrade"]) == 2
    assert "lcpu" not in found.places and found.places["lcpu_flash_code"] == [0x10640000, 0x100000]
    with pytest.raises(Refused, match=r"firmware is no place of a map: there are table, manager"):
        memory.read(path, names={"firmware": "X"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("not json", "no JSON"),
        ({}, "a list of memories"),
        ([1], "a list of memories"),
        ([], "table is missing"),
        (table(*LB520[1:]), "table is missing"),
        (table(*LB520[:2], *LB520[3:]), "state is missing"),
        (table(*LB520, base="0x62000000"), "NAND, which mpota does not write.*128 KiB"),
        (table(*LB520, base="nowhere"), "the base of flash1 is 'nowhere'"),
        (table(*LB520, base="0x1000000000"), "wanted 0 to 0xffffffff"),
        (table(*LB520, {"offset": None, "max_size": "1"}), "an offset in flash1 is None"),
        (table(*LB520, region(0x3B0000, 0x20000, "USER_DATA")), "upgrade and user_data overlap"),
        (table(*LB520, region(0x1A000, 0x1000, img="x")), "state and x overlap"),
    ],
)
def test_a_partition_table_that_would_lose_something_is_refused(tmp_path, data, words):
    with pytest.raises(Refused, match=words):
        memory.read(written(tmp_path, data))


def test_a_table_whose_program_lies_in_another_flash_is_refused(tmp_path):
    two = table(*[one for one in LB520 if one["tags"] != ["HCPU_FLASH_CODE"]])
    two.append({"mem": "flash4", "base": "0x18000000", "regions": [region(0, 0x400000, "HCPU_FLASH_CODE")]})
    with pytest.raises(Refused, match=r"user \(HCPU_FLASH_CODE\) lies at 0x18000000, outside the flash of the table"):
        memory.read(written(tmp_path, two))


def test_a_table_of_the_third_version_is_named(tmp_path):
    path = tmp_path / "ptab.yaml"
    path.write_text("version: 3\n")
    with pytest.raises(Refused, match=r"give the ptab.h that its build makes"):
        memory.read(path)


def test_what_a_board_has_is_compared_with_the_project():
    places = {"flash": 0x10000000, "res": (1, 2), "upgrade": [(3, 4)]}
    assert memory.same(places, json.loads(json.dumps(places))) == ""
    assert memory.same(places, {**places, "res": [1, 3]}) == "res is [0x1, 0x3], wanted [0x1, 0x2]"
    assert memory.same(places, {"flash": 0x10000000, "upgrade": [[3, 4]]}) == "res is missing, wanted [0x1, 0x2]"
    assert memory.same(places, {**places, "font": [9, 9]}) == "font is [0x9, 0x9], wanted missing"
    assert memory.same(places, []) == "it is no map"


def test_the_command_writes_what_a_board_reads_and_says_what_differs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    header(tmp_path)
    words = ["sifli", "map", "mem_map.h", "-DBSP_USING_DFU_COMPRESS", "-D", "CUSTOM_MEM_MAP=1", "-D", "TWO_AREAS"]
    assert call(*words, "-o", "memory_map.json") == 0
    said = capsys.readouterr()
    assert "0x10060000     655,360 bytes  upgrade" in said.out and not said.err
    made = json.loads((tmp_path / "memory_map.json").read_text())
    assert Chip(SimFlash(0x400000), made, maker.efuse(), lambda: None).place(1)
    assert call(*words, "--check", "memory_map.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["places"] == made
    # The project moves on; the board's file does not by itself.
    (tmp_path / "custom_mem_map.h").write_text(CUSTOM.replace("0x280000", "0x290000"))
    assert call(*words, "--check", "memory_map.json") == 3
    assert "res is [0x10280000, 0x80000], wanted [0x10290000, 0x80000]; make it anew" in capsys.readouterr().err
    assert call(*words, "-o", "memory_map.json") == 0
    assert call(*words, "--check", "memory_map.json") == 0
    capsys.readouterr()
    (tmp_path / "mine.json").write_text("{}")
    assert call(*words, "-o", "mine.json") == 3 and "is no memory map" in capsys.readouterr().err
    assert call(*words, "-o", "custom_mem_map.h") == 3
    assert call(*words, "--area", "upgrade2") == 2 and "PLACE=NAME" in capsys.readouterr().err
    assert call(*words[:3]) == 3 and "manager is missing" in capsys.readouterr().err
    assert call("sifli", "map", "nothing.h") == 2


def test_the_samples_table_is_the_map_of_its_board(tmp_path, monkeypatch, capsys):
    (tmp_path / "ptab.json").write_bytes(sample.table())
    monkeypatch.chdir(tmp_path)
    assert call("sifli", "map", "ptab.json", "-o", "memory_map.json") == 0
    assert not capsys.readouterr().err
    made = json.loads((tmp_path / "memory_map.json").read_text())
    assert made.pop("fs_region") == [machine.BASE + machine.VOLUME[0], machine.VOLUME[1]]
    assert memory.same(machine.PLACES, made) == ""


def test_a_map_that_the_tool_lets_through_is_one_that_a_board_takes(tmp_path):
    """Whatever the numbers: either the tool refuses, or the board starts and its places are apart."""
    rng = random.Random(7)
    taken = 0
    for _ in range(300):
        regions = [dict(one) for one in LB520]
        for one in rng.sample(regions, rng.randrange(3)):
            one[rng.choice(["offset", "max_size"])] = (
                f"{rng.randrange(0, 0x700) * rng.choice([0x1000, 0x1000, 0x800]):#x}"
            )
        try:
            found = memory.read(written(tmp_path, table(*regions)))
        except Refused:
            continue
        try:
            chip = Chip(SimFlash(0x1000000), json.loads(found.text()), maker.efuse(), lambda: None)
        except OtaError as e:
            raise AssertionError(found.places) from e
        taken += 1
        assert chip.slots and memory.check(found.places) is None
    assert 30 < taken < 290
