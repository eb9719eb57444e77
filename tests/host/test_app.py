"""An application's folder as a component: what a board makes of it, what is left out, and what is refused."""

import os
import subprocess

import pytest

from mpota.store.listing import HEAD_SIZE, LIST
from mpota.store.tree import Tree
from mpota_boot.errors import Refused
from mpota_host.bench.line.serial import micropython
from mpota_host.board import flash
from mpota_host.package.content import app

FILES = {
    "app.py": b"import lib.a\n\n\ndef step():\n    lib.a.beat()\n",
    "lib/a.py": b"def beat():\n    raise ValueError('seen')\n",
    "lib/Zed.txt": b"z" * 5000,
    "empty": b"",
    "_first": b"1",
}


def put(folder, files=FILES):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def refused(code, words, folder, resources=None, compiler=None):
    with pytest.raises(Refused) as e:
        app.tree(folder, resources or {}, compiler)
    assert e.value.code == code and words in str(e.value), str(e.value)


def compiler(source, name):
    return flash.compile_source(source, name, "", "6.3")


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def on_a_board(tree, folder, resources):
    """What the device's own tree makes of it."""
    there = Tree(str(folder))
    there.begin(tree.data[:HEAD_SIZE])
    for off in range(0, len(tree.data), 4096):
        there.prog(off, tree.data[off : off + 4096])
    for path, data in resources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    there.check()
    return {path: data for path, data in files_in(folder).items() if path != LIST}


def test_a_board_gets_the_very_files_of_the_folder(tmp_path):
    resources = {"art/logo.bin": b"logo" * 999}
    tree = app.tree(put(tmp_path / "in"), resources)
    (tmp_path / "out").mkdir()
    assert on_a_board(tree, tmp_path / "out", resources) == {**FILES, **resources}
    assert [row.path for row in tree.rows] == ["_first", "app.py", "art/logo.bin", "empty", "lib/a.py", "lib/Zed.txt"]
    assert app.rows(tree.data) == tree.rows and not tree.notes


def test_a_resource_named_as_a_folder_is_refused(tmp_path):
    refused("path", "folder of 'lib/", put(tmp_path), {"LIB": b"x"})


def test_resources_alone_need_a_list_too(tmp_path):
    resources = {"model": b"m" * 100}
    tree = app.tree(None, resources)
    assert tree.rows == [app.Row("model", 100, True)]
    assert on_a_board(tree, tmp_path, resources) == resources


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    one = app.tree(put(tmp_path / "one"), {}, compiler).data
    other = put(tmp_path / "two", dict(reversed(FILES.items())))
    os.utime(other / "app.py", (1, 1))
    assert app.tree(other, {}, compiler).data == one


def test_what_tools_leave_behind_is_left_out_and_named(tmp_path):
    junk = [".git/config", "lib/__pycache__/a.cpython.pyc", "old.pyc", ".env", "CVS/Root", ".DS_Store"]
    put(tmp_path, {**FILES, **dict.fromkeys(junk, b"x")})
    tree = app.tree(tmp_path, {})
    assert {row.path for row in tree.rows} == set(FILES)
    (note,) = tree.notes
    assert note.startswith("left out of") and ".git" in note and "3 more" in note


@pytest.mark.parametrize(
    "path,words",
    [
        ("main.py", "call it app.py"),
        ("boot.py", "board's own"),
        ("mpota/x.py", "--updater"),
        ("MPOTA/x.py", "--updater"),
        ("mpota.py", "board's own"),
        ("mpota.json", "board's own"),
        ("mpota_boot/shim.py", "board's own"),
        ("wiring.py", "board's own"),
        ("keys/release.pub", "board's own"),
        ("lib/mpota/x.py", "board's own"),
        ("lib/wiring.py", "board's own"),
        ("Main.MPY", "board's own"),
        ("a" * 65, "64 bytes"),
        ("\u00e4" * 33, "64 bytes"),
        ("/".join("d" * 60 for _ in range(5)), "255 bytes"),
        ("a:b", "FAT"),
        ("tab\there", "FAT"),
        ("ends. ", "FAT"),
        ("\u00c4pfel.txt", "capital letters"),
    ],
)
def test_a_path_that_no_board_takes_is_named_with_advice(tmp_path, path, words):
    put(tmp_path, {"app.py": b"x", path: b"y"})
    refused("path", words, tmp_path)


def test_paths_that_leave_the_tree_are_refused():
    for path in ("../secret", "/etc/passwd", "a//b", "a/../b", "."):
        refused("path", "cannot be a file of an application", None, {path[:16]: b"x"})


def test_names_that_differ_in_case_alone_are_refused(tmp_path):
    put(tmp_path, {"lib/Alpha.py": b"1", "lib/alpha.py": b"2"})
    if len(list((tmp_path / "lib").iterdir())) == 2:
        refused("path", "there twice", tmp_path)


def test_a_resource_that_the_folder_has_too_or_with_a_long_name_is_refused(tmp_path):
    put(tmp_path)
    refused("path", "a resource too", tmp_path, {"lib/a.py": b"x"})
    refused("resource", "17 bytes, wanted 16", tmp_path, {"a-name-too-long-1": b"x"})


def test_an_empty_folder_is_refused(tmp_path):
    refused("files", "no file in", tmp_path)
    put(tmp_path, {".hidden": b"x"})
    refused("files", "no file in", tmp_path)


def test_more_files_than_a_list_names_are_refused():
    rows = [app.Row(f"f{n}", 1) for n in range(65536)]
    with pytest.raises(Refused, match="65,536 files"):
        app.ordered(rows)
    assert len(app.ordered(rows[1:])) == 65535


def test_links_stay_in_the_tree(tmp_path):
    folder = put(tmp_path / "app")
    (folder / "again.py").symlink_to("lib/a.py")
    (folder / "copy").symlink_to("lib")
    paths = {row.path for row in app.tree(folder, {}).rows}
    assert paths == {*FILES, "again.py", "copy/a.py", "copy/Zed.txt"}
    (tmp_path / "secret").write_bytes(b"key")
    for to, words in (("../secret", "not in"), ("nowhere", "not in"), ("../..", "not in"), (".", "that it lies in")):
        (folder / "link").symlink_to(to)
        refused("link", words, folder)
        (folder / "link").unlink()


def test_what_is_no_file_is_refused(tmp_path):
    put(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    refused("files", "neither a file nor a folder", tmp_path)


def test_python_becomes_mpy_and_keeps_names_and_lines(tmp_path):
    folder = put(tmp_path / "in", {**FILES, "lib/main.py": b"x = 1\n"})
    tree = app.tree(folder, {}, compiler)
    assert {row.path for row in tree.rows} == {"app.mpy", "lib/a.mpy", "lib/main.py", "lib/Zed.txt", "empty", "_first"}
    assert tree.notes == ["2 Python files compiled to .mpy"]
    (tmp_path / "out").mkdir()
    on_a_board(tree, tmp_path / "out", {})
    code = "import sys; sys.path[:0] = ['.']\nimport app\napp.step()"
    done = subprocess.run([micropython(), "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, timeout=60)
    assert 'File "app.py", line 5, in step' in done.stdout and 'File "lib/a.py", line 2, in beat' in done.stdout


def test_native_code_is_for_the_architecture_asked_for():
    source = b"import micropython\n\n@micropython.viper\ndef f(x: int) -> int:\n    return x\n"
    assert flash.compile_source(source, "a.py", "rv32imc", "6.3") != flash.compile_source(
        source, "a.py", "xtensawin", "6.3"
    )
    with pytest.raises(Refused, match=r"lib/a\.py, line 3: SyntaxError: invalid arch"):
        flash.compile_source(source, "lib/a.py", "", "6.3")
    with pytest.raises(Refused, match="compile"):
        flash.compile_source(source, "a.py", "z80", "6.3")


def test_a_syntax_error_names_file_and_line(tmp_path):
    put(tmp_path, {"lib/bad.py": b"x = 1\n\ndef f(:\n"})
    refused("compile", "lib/bad.py, line 3: SyntaxError", tmp_path, None, compiler)


def test_a_module_that_would_be_there_twice_is_refused(tmp_path):
    put(tmp_path, {"a.py": b"x = 1\n", "a.mpy": b"M\6"})
    refused("path", "a.py would be compiled to a.mpy", tmp_path, None, compiler)
    assert len(app.tree(tmp_path, {}).rows) == 2


def test_a_list_that_is_wrong_is_refused(tmp_path):
    data = app.tree(put(tmp_path), {}).data
    for bad in (b"", data[:13], b"MPFX" + data[4:], data[:40], data + b"x", data[:-1]):
        with pytest.raises(Refused) as e:
            app.rows(bad)
        assert e.value.code == "files"


def test_empty_folders_travel_and_folders_of_leftovers_count_as_empty(tmp_path):
    folder = put(tmp_path / "in")
    (folder / "data/logs").mkdir(parents=True)
    put(folder, {"cache/.gitkeep": b""})
    tree = app.tree(folder, {})
    assert [row.path for row in tree.rows if row.path.endswith("/")] == ["cache/", "data/logs/"]
    on_a_board(tree, tmp_path / "out", {})
    assert (tmp_path / "out/data/logs").is_dir() and (tmp_path / "out/cache").is_dir()
    assert app.rows(tree.data) == tree.rows


def test_a_folder_with_folders_alone_is_no_application(tmp_path):
    (tmp_path / "in/data").mkdir(parents=True)
    refused("files", "there is no file in", tmp_path / "in")


def test_an_empty_folder_and_a_file_of_one_name_are_told_apart(tmp_path):
    folder = put(tmp_path / "in", {"a/Data": b"1", "app.py": b""})
    (folder / "a/data").mkdir()
    refused("path", "'a/Data' is a file, and the folder of 'a/data/'", folder)
    refused("path", "as FAT: rename one", put(tmp_path / "other", {"app.py": b""}), {"a": b"1", "A": b"2"})
