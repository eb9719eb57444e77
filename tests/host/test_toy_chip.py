"""A chip is three folders: those in tests/host/toy are laid into a copy of the tree, and nothing else changes there.

Then a person's steps are done in the copy, by the command line: key, package, a blank board, `flash`, `push` with a
power cut in the middle, `confirm`, `status`. The copy's own rules hold, its pages, and its power campaign.
"""

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
import tty
from contextlib import contextmanager

import pytest

from mpota_host.sim.line import open_pair
from mpota_host.sources import CHECKOUT as ROOT

TOY = ROOT / "tests/host/toy"
PLACES = {"device": "device/mpota/layout/toy", "host": "host/mpota_host/chips/toy", "tests": "tests/chips/toy"}
COPIED = (
    "device host tests .github .ci .gitignore boot.py main.py pyproject.toml Makefile LICENSE README.md CHANGELOG.md"
)
# Vectors are large, and of other chips.
LEFT = shutil.ignore_patterns("vectors", "__pycache__")
# A new board's flash (device/FORMAT.md of the toy): two sectors, then two slots of 128 KiB.
SECTOR, SLOT_1 = 4096, 0x22000
# What of the house is held against a chip. Each finds chips by listing, so the toy is among them.
HELD = """
tests/host/test_imports.py
tests/host/test_rules.py
tests/host/test_contract.py
tests/host/test_journal_tags.py
tests/host/test_format_docs.py
tests/host/test_cli.py::test_a_boards_report_has_the_status_of_the_class_that_the_device_raises
tests/host/test_mutants.py::test_every_seeded_bug_of_a_layout_has_its_place_and_the_test_that_it_names
tests/host/test_cut.py::test_every_layout_of_the_device_is_in_the_campaign
tests/host/test_readme.py::test_every_command_that_a_page_names_has_its_options
tests/host/test_readme.py::test_every_setting_that_they_name_is_read_and_the_other_way_round
tests/host/test_readme.py::test_every_link_leads_to_a_file_and_a_heading
tests/host/test_readme.py::test_every_chip_has_its_guide_and_every_row_of_the_readme_its_chip
tests/host/test_readme.py::test_code_fits_a_narrow_window
tests/core/test_contract.py
tests/chips/toy
""".split()

pytestmark = [
    pytest.mark.board,
    # The copy's own rules, pages and campaign, and a board that is flashed and updated.
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with a fifth chip."""
    root = tmp_path_factory.mktemp("toy")
    for name in COPIED.split():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=LEFT)
        else:
            shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(ROOT / ".venv")
    before = sources(root)
    for folder, place in PLACES.items():
        assert not (root / place).exists()
        shutil.copytree(TOY / folder, root / place, ignore=LEFT)
    yield root
    after = sources(root)
    more = sorted(after.keys() - before.keys())
    assert more and all(path.startswith(tuple(f"{place}/" for place in PLACES.values())) for path in more), more
    changed = [path for path in before if before[path] != after.get(path)]
    assert not changed, f"a chip is three folders, and these changed too: {changed}"


def sources(root):
    """Path -> content of every file that was copied or laid there."""
    paths = [path for name in COPIED.split() for path in (root / name, *(root / name).rglob("*"))]
    found = {path.relative_to(root).as_posix(): path for path in paths if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if "__pycache__" not in name}


def command(tree, *words):
    """A process in which Python finds the copy's sources and no others: its arguments, its environment."""
    path = os.pathsep.join(str(tree / name) for name in ("device", "host", ""))
    return [sys.executable, *words], {**os.environ, "PYTHONPATH": path}


def run(tree, *words, cwd=None, status=0):
    """What it printed."""
    argv, env = command(tree, *words)
    done = subprocess.run(argv, env=env, cwd=cwd or tree, capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def mpota(tree, folder, *words):
    return run(tree, "-m", "mpota_host", *words, cwd=folder)


@contextmanager
def board(tree, folder, *more):
    """`mpota board`: the process, and the port that it prints."""
    argv, env = command(tree, "-u", "-m", "mpota_host", "board", "--layout", "toy", "--flash", "board.bin", *more)
    with subprocess.Popen(argv, env=env, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            words = process.stdout.readline().split()
            assert words[:4] == ["The", "board", "is", "at"], words
            yield process, words[4].rstrip(".")
        finally:
            process.terminate()
            process.wait(20)


def image(tree, folder, seed):
    """A program of 100 KB that does not compress, as the toy's own command writes it."""
    (folder / "program.bin").write_bytes(random.Random(seed).randbytes(100_001))
    mpota(tree, folder, "toy", "image", "program.bin", "-o", "program.img")
    return (folder / "program.img").read_bytes()


def pushed_and_killed(tree, folder, process, port):
    """The power goes in the middle of a push: how much of the slot is written.

    The cable carries 40 KB and no more, so the end cannot come before the cut, however slow this process is.
    """
    near, far = open_pair()
    argv, env = command(tree, "-m", "mpota_host", "push", "lamp.mpota", "--port", os.ttyname(far))
    push = subprocess.Popen(argv, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        carry(near, port, 40_000)
        deadline = time.monotonic() + 60
        while slot(folder)[2 * SECTOR : 3 * SECTOR] == b"\xff" * SECTOR:
            assert push.poll() is None and time.monotonic() < deadline, push.communicate(timeout=10)
            time.sleep(0.005)
        process.kill()
        os.close(near)
        said, _ = push.communicate(timeout=60)
        assert push.returncode, f"the board was gone in the middle of it, and push said: {said}"
    finally:
        push.kill()
        push.wait(20)
        os.close(far)
    return slot(folder)


def carry(near, port, n):
    """Carry bytes between a host and the board's port, both ways, until the host has sent n."""
    board = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(board)
    try:
        other = {near: board, board: near}
        while n > 0:
            ready, _, _ = select.select(other, [], [], 60)
            assert ready, f"nothing came for a minute, with {n} bytes to go"
            for fd in ready:
                data = os.read(fd, 4096)
                os.write(other[fd], data)
                n -= len(data) if fd == near else 0
    finally:
        os.close(board)


def slot(folder):
    """The slot that does not run."""
    with open(folder / "board.bin", "rb") as file:
        file.seek(SLOT_1)
        return file.read(0x20000)


def test_a_toy_is_packed_flashed_pushed_through_a_power_cut_and_confirmed(tree, tmp_path):
    new = image(tree, tmp_path, 2)
    mpota(tree, tmp_path, "keygen", "release.pem")
    words = ("--layout", "toy", "--product", "lamp")
    release = ("--version", "1.0.1", "--room", "4", "--key", "release.pem", "-o", "lamp.mpota")
    mpota(tree, tmp_path, "pack", "program.img", *words, *release)
    with board(tree, tmp_path, "--blank") as (process, port):
        mpota(tree, tmp_path, "flash", "--port", port, *words, "--key", "release.pub")
        assert "slot 0" in (said := mpota(tree, tmp_path, "status", "--port", port)) and "ready" in said
        left = pushed_and_killed(tree, tmp_path, process, port)
        assert left[:SECTOR] == new[:SECTOR] and left[: len(new)] != new, "the cut was in the middle"
    with board(tree, tmp_path) as (_, port):
        assert "slot 0" in mpota(tree, tmp_path, "status", "--port", port)
        assert "armed" in mpota(tree, tmp_path, "push", "lamp.mpota", "--port", port)
        facts = json.loads(mpota(tree, tmp_path, "status", "--port", port, "--json"))
        assert facts["running"] == "slot 1" and facts["trial"]["version"] == "1.0.1", facts
        mpota(tree, tmp_path, "confirm", "--port", port)
        said = mpota(tree, tmp_path, "status", "--port", port)
        assert "slot 1 runs version 1.0.1, ready" in said, said
    assert slot(tmp_path)[: len(new)] == new


def test_the_rules_of_the_house_hold_for_a_toy(tree):
    said = run(tree, "-m", "pytest", "-v", "-p", "no:cacheprovider", *HELD)
    told = [line for line in said.splitlines() if "toy" in line and "PASSED" in line]
    assert len(told) >= 15, "the copy's tests found no toy among its chips"
    run(tree, "tests/run_unix.py", "tests/chips/toy/test_toy.py", "tests/core/test_contract.py")


def test_the_registry_lists_a_toy_everywhere(tree, tmp_path):
    code = "from mpota_host import registry as r; from mpota_host.cut import rig; from mpota_host.sim import machine"
    listed = run(tree, "-c", f"{code}; print('toy' in r.layouts(), 'toy' in rig.layouts(), 'toy' in machine.layouts())")
    assert listed == "True True True\n"
    assert "toy" in mpota(tree, tmp_path, "pack", "--help")
    assert "\n  toy " in mpota(tree, tmp_path, "--help").partition("Vendors' own formats:")[2]
    assert "\n  image " in mpota(tree, tmp_path, "toy", "--help")


CAMPAIGN = """
from mpota_host.chips.toy.cut import bugs
from mpota_host.cut import campaign, hostile, mutants

done = campaign.run(campaign.quick("toy"))
pems = hostile.make_pems()
forged = hostile.attack("toy", hostile.Keys(*map(hostile.key_of, pems)))
bad = [f"{b.ident} {b.text}" for b in done.tally.bad + done.faults.bad + forged.bad]
found = [mutants.try_one(m, "toy", pems) for m in bugs.OWN]
lost = [v.name for v in found if v.broken or not v.found]
print(len(done.tally.marks), sum(done.faults.lives.values()), sum(forged.offered.values()), len(found), bad + lost)
"""


def test_no_cut_leaves_a_toy_dead_and_every_bug_of_its_own_is_found(tree):
    """The quick form of `mpota cut --layout toy`."""
    states, lives, releases, bugs, wrong = run(tree, "-c", CAMPAIGN).split(maxsplit=4)
    assert wrong == "[]\n"
    assert (int(states), int(lives), int(releases), int(bugs)) >= (2000, 100, 20, 8)
