"""The suite guards itself: large values that differ, lost tests, reruns, hanging tests, what tests leave, plans."""

import ast
import gc
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from mpota_host.package.encode import delta
from mpota_host.package.encode.fill import Deflate, Raw
from mpota_host.package.encode.piece import Piece
from tests import run_unix
from tests.suite import boards, census, deadlines, leftovers, losses, plans

ROOT = Path(__file__).resolve().parents[2]
# The template of a chip is collected in a copy of the tree only.
TEMPLATE = ROOT / "tests/host/toy"
SUITES = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if not path.is_relative_to(TEMPLATE))
SHARED = run_unix.shared()


# The suite's own times would make these tests long.
CONFTEST = """
from tests.suite import boards, deadlines, leftovers, order, reruns
deadlines.END_S, leftovers.GRACE_S = 1, 0.2
def pytest_configure(config):
    config.pluginmanager.register(%s)
"""


def run(folder, text, plugin, *options):
    """A run of pytest over one file, in an interpreter of its own, with one plugin of the suite."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST % plugin)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        *options,
        "test_it.py",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


# Words for what is not the same.

LARGE = """
import random
noise = random.Random(1)
one, other = noise.randbytes(80000), noise.randbytes(80000)
other = one[:70000] + other[70000:]
def test_images(): assert one == other
def test_a_map_of_images(): assert {"same": 1, "slot": [one, one]} == {"same": 1, "slot": [one, other]}
def test_lengths(): assert bytearray(one) == memoryview(one[:-9])
def test_a_key(): assert {"a": one} == {"b": one}
def test_texts(): assert "x" * 90000 == "y" * 90000
"""


@pytest.mark.parametrize("words", [(), ("-vv",), ("on a CI server",)])
def test_large_values_that_differ_are_told_at_once_by_the_first_place(tmp_path, monkeypatch, words):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    if words == ("on a CI server",):
        # pytest shows a comparison there to its last line.
        monkeypatch.setenv("CI", "true")
        words = ()
    status, said = run(tmp_path, LARGE, "deadlines.Deadlines(lambda: [])", "-p", "tests.suite.differ", *words)
    assert status == 1 and "5 failed" in said and "Timeout" not in said
    for line in (
        "80000 and 80000 bytes; the first that differs is at 70000 (0x11170):",
        "at 'slot', of 1 that differ:",
        "at 1, of 1 that differ:",
        "80000 and 79991 bytes; the first that differs is at 79991",
        "the end",
        "'a' is only in the left one",
        "'xxxx",
    ):
        assert line in said, line
    assert len(said) < 40000


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_a_run_shows_where_it_was(tmp_path, name):
    text = f"import os, signal\ndef test_ended(): os.kill(os.getpid(), signal.{name})\n"
    status, said = run(tmp_path, text, "deadlines.Deadlines(lambda: [])")
    assert status == -getattr(signal, name) and "in test_ended" in said


# The numbers of the census.


def ids_without(count, files):
    """Names of the tests that are left: `count` of them, in all files but `files`."""
    names = [path.relative_to(ROOT).as_posix() for path in SUITES[files:]]
    return [f"{names[i % len(names)]}::test_{i}" for i in range(count)]


def test_the_census_is_that_of_this_tree():
    assert census.complaint("FILES", len(SUITES)) is None
    assert census.complaint("SHARED_FILES", len(SHARED)) is None


def test_any_two_files_that_are_gone_are_noticed(monkeypatch):
    monkeypatch.setattr(census, "FILES", len(SUITES))
    assert losses.judged(ids_without(census.TESTS, 0)) == []
    assert losses.judged(ids_without(census.TESTS, 1)) == []
    (text,) = losses.judged(ids_without(census.TESTS, 2))
    assert text == f"FILES: found {len(SUITES) - 2}, wanted at least {len(SUITES) - 1} of {len(SUITES)}; " + (
        "files or tests were lost"
    )


@pytest.mark.parametrize("name", ["TESTS", "SHARED_TESTS"])
def test_a_twentieth_of_the_tests_that_is_gone_is_noticed(name):
    known = getattr(census, name)
    assert census.complaint(name, known) is None
    # Whatever number passes as the count of what exists, 5 % less does not.
    for exist in range(known // 2, known * 2):
        if census.complaint(name, exist) is None:
            assert "were lost" in census.complaint(name, int(exist * 0.95)), exist


def test_a_number_that_is_too_low_to_guard_says_what_to_write():
    for name in ("TESTS", "FILES", "SHARED_TESTS", "SHARED_FILES"):
        found = getattr(census, name) * 2
        assert census.complaint(name, found).endswith(f"write {name} = {found} in tests/suite/census.py")


def test_the_unix_run_notices_files_and_tests_that_are_gone(monkeypatch):
    monkeypatch.setattr(census, "SHARED_FILES", len(SHARED))
    assert run_unix.losses(SHARED, census.SHARED_TESTS) == []
    assert run_unix.losses(SHARED[1:], census.SHARED_TESTS) == []
    assert "SHARED_FILES: found" in run_unix.losses(SHARED[2:], census.SHARED_TESTS)[0]
    assert "SHARED_TESTS: found" in run_unix.losses(SHARED, int(census.SHARED_TESTS * 0.95))[0]


def pytest_with_tests(folder, *options):
    """Everything under a folder that has a `tests` of its own, while ours holds the plugins."""
    command = [sys.executable, "-c", "import sys, tests.suite, pytest; sys.exit(pytest.main(sys.argv[1:]))"]
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options)
    return subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=60)


WHOLE = """
import pytest
@pytest.mark.parametrize("n", range(%d))
def test_it(n):
    pass
"""


@pytest.mark.parametrize(
    "count,options,status",
    [(20, (), 0), (18, (), 1), (40, (), 1), (18, ("-k", "test_it"), 0)],
)
def test_a_run_of_the_whole_suite_counts_and_a_run_of_a_part_does_not(tmp_path, count, options, status):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(WHOLE % count)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = slow\n")
    (tmp_path / "conftest.py").write_text(
        "from tests.suite import census, losses\n"
        "def pytest_configure(config):\n"
        "    census.TESTS, census.FILES = 20, 1\n"
        "    config.pluginmanager.register(losses.Losses(config))\n"
    )
    done = pytest_with_tests(tmp_path, *options)
    assert done.returncode == status, done.stdout
    assert (f"LOST TESTS: TESTS: found {count}" in done.stdout) == bool(status)


def unix(*words):
    command = [sys.executable, "tests/run_unix.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_unix_run_takes_the_words_of_pytest():
    one = "test_file_is_read_from_the_start"
    status, said = unix(f"tests/core/test_link_file.py::{one}", "tests/host/test_cli.py")
    assert status == 0 and said.endswith("\n1 passed, 0 failed\n") and "test_cli" not in said
    assert unix("tests/core/test_link_file.py", "-k", one)[1].endswith("\n1 passed, 0 failed\n")
    assert unix("tests/host/test_cli.py") == (0, "CPython alone runs tests/host/test_cli.py\n")
    status, said = unix("tests/core/test_link_file.py::test_nothing_of_this_name")
    assert status == 1 and "no test_* function" in said
    status, said = unix("tests/test_nothing.py")
    assert status == 2 and "no such file" in said


# Coverage.


@pytest.mark.parametrize("least,status", [(30, 0), (31, 1)])
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one", "workers"])
def test_too_little_coverage_fails_a_run(tmp_path, least, status, options):
    """Of ten lines the shared test runs three; what another test runs is not counted."""
    for name in ("device", "shared", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "device" / "__init__.py").touch()
    (tmp_path / "device" / "it.py").write_text("def f(x):\n    if x:\n" + "        x = 1\n" * 7 + "    return x\n")
    (tmp_path / "shared" / "test_it.py").write_text("from device import it\ndef test_it(): it.f(0)\n")
    (tmp_path / "own" / "test_cut.py").write_text("from device import it\ndef test_cut(): it.f(1)\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\nfrom tests.suite import covered\ncovered.MEASURED = ('shared/test_*.py',)\n"
        "def pytest_configure(config):\n"
        f"    it = covered.Covered(config, lambda: True, Path({str(tmp_path)!r}), {least})\n"
        "    config.pluginmanager.register(it)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout
    assert f"device/ is covered to 30.0 %, wanted {least} %" in done.stdout
    assert ("TOO LITTLE COVERAGE" in done.stdout) == bool(status)


# Deadlines.

HANGS = """
import os, pytest
@pytest.mark.timeout(1)
def test_hangs():
    master, slave = os.openpty()
    os.read(master, 1)  # nobody writes
def test_next():
    pass
"""


def test_a_test_that_hangs_in_a_pty_is_ended_and_says_where(tmp_path):
    status, text = run(tmp_path, HANGS, "None", "-o", "timeout_method=signal")
    assert status == 1 and "1 failed, 1 passed" in text
    assert "nobody writes" in text and "Timeout (>1.0s)" in text


STUCK = """
import os, pytest
from tests.suite import deadlines
deadlines.TEST_S = 4
@pytest.fixture
def pty():
    master, slave = os.openpty()
    yield master
    os.read(master, 1)  # nobody writes
@pytest.mark.timeout(1)
def test_hangs(pty):
    os.read(pty, 1)
"""


THREAD = """
import threading
def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait).start()  # nobody sets
"""


@pytest.mark.parametrize(
    "text,where,what",
    [(STUCK, "in pty\n", "test_it.py::test_hangs"), (THREAD, "in wait\n", "the interpreter")],
    ids=["fixture", "thread"],
)
def test_what_hangs_behind_its_deadline_ends_the_run(tmp_path, text, where, what):
    status, said = run(tmp_path, text, "deadlines.Deadlines(lambda: ['process 7'])")
    assert status == 1 and where in said and f"{what} did not end in " in said and "ended: process 7" in said


WITHIN = """
import time, pytest
def test_a_run_in_a_run():
    assert pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", __file__]) == 0
    time.sleep(1.5)
"""


def test_a_run_within_a_test_does_not_end_the_run_around_it(tmp_path):
    status, said = run(tmp_path, WITHIN, "deadlines.Deadlines(lambda: [])")
    assert status == 0 and "1 passed" in said and "did not end" not in said


def test_a_worker_that_is_done_waits_for_the_others(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_quick(): pass\n")
    text = "import time\ndef test_long(): time.sleep(2.5)\n"
    options = ("-n", "2", "--dist", "loadfile", "test_a.py")
    status, said = run(tmp_path, text, "deadlines.Deadlines(lambda: [])", *options)
    assert status == 0 and "2 passed" in said and "did not end" not in said, said


def test_every_deadline_ends_before_the_run_is_ended():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    longest = options["timeout"]
    assert 0 < longest <= 120 and options["timeout_method"] == "signal"
    for path in SUITES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "timeout":
                longest = max(longest, node.args[0].value)
    assert longest <= deadlines.TEST_S / 2


# Reruns.

TRIES = """
import pytest
left = {}
@pytest.mark.flaky(reruns=1)
@pytest.mark.parametrize("n", range(%d))
def test_second(n):
    left[n] = left.get(n, 0) + 1
    assert left[n] == 2, "the first try\\nof two"
"""


@pytest.mark.parametrize("n,status,options", [(3, 0, ()), (4, 1, ()), (4, 1, ("-n", "2"))])
def test_reruns_are_told_and_more_than_three_fail_the_run(tmp_path, n, status, options):
    done, said = run(tmp_path, TRIES % n, "reruns.Reruns()", *options)
    assert done == status, said
    assert said.count("::test_second[0]: line 8: AssertionError: the first try\n") == 1
    assert said.count(": line 8: ") == n
    assert ("TOO MANY RERUNS: 4, at most 3" in said) == (n == 4)


# Processes.

ORPHAN = """
import os, subprocess, sys
SLEEP = "import time; open(sys.argv[1], 'w').close(); time.sleep(600)"
START = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import sys; ' + sys.argv[1], sys.argv[2]])"
def test_leaves():
    # Its parent ends at once, so it becomes a child of init.
    subprocess.run([sys.executable, "-c", START, SLEEP, "begun"], check=True)
    while not os.path.exists("begun"):
        pass
"""
SESSION = ORPHAN.replace("def test_leaves", "import atexit\ndef test_nothing(): pass\ndef test_leaves")
FORK = """
import os, signal
def test_leaves():
    r, w = os.pipe()
    if not os.fork():
        # The orphan of a fork: no environment tells where it comes from.
        if os.fork():
            os._exit(0)
        os.write(w, b"%d" % os.getpid())
        signal.pause()
    os.wait()
    open("begun", "wb").write(os.read(r, 20))
"""
CLEAN = """
import subprocess, sys
def test_ends_what_it_began():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    child.kill()
    child.wait()
"""
WATCH = "leftovers.watch()"
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")


@needs_proc
@pytest.mark.parametrize(
    "text,who,options",
    [
        (ORPHAN, "started by test_it.py::test_leaves", ()),
        (FORK, "a fork of the tests", ()),
        (ORPHAN, "started by test_it.py::test_leaves", ("-n", "2")),
    ],
    ids=["child", "fork", "worker"],
)
def test_an_orphan_fails_its_module_and_is_ended(tmp_path, text, who, options):
    status, said = run(tmp_path, text, WATCH, *options)
    assert status == 1 and "1 passed, 1 error" in said
    assert "processes were left behind, and are ended now:" in said and who in said
    (pid,) = {line.split()[1] for line in said.splitlines() if line.startswith("process ")}
    deadline = time.monotonic() + 10
    while Path("/proc", pid).exists() and leftovers.alive(Path("/proc", pid)):
        assert time.monotonic() < deadline, f"process {pid} still runs"


@needs_proc
def test_what_ends_its_processes_passes(tmp_path):
    status, said = run(tmp_path, CLEAN, WATCH)
    assert status == 0, said


@needs_proc
def test_a_process_of_somebody_else_is_let_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        status, _ = run(tmp_path, CLEAN, WATCH)
        assert status == 0 and other.poll() is None
        other.communicate(b"\n")


def test_a_machine_without_proc_says_that_nobody_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "PROC", tmp_path)
    assert "not looked for" in leftovers.watch().pytest_report_header()


# Boards.


LEADS = """
from mpota_host.sim.board import VirtualBoard as Board
from mpota_host.cut import processes
import pytest, sys
WAYS = {"one": Board}
def helper(): return Board("x")
def test_direct(): helper()
def test_table(): WAYS["one"]("x")
def test_words(): run([sys.executable, "-m", "mpota_host", "board"])
def test_module(): processes.campaign(1, 2)
@pytest.fixture
def on(): yield Board("x")
def test_fixture(on): pass
@pytest.fixture
def more(on): pass
def test_fixture_of_a_fixture(more): pass
def test_other_words(): run([sys.executable, "-m", "mpota_host", "pack"])
def test_name(): "VirtualBoard"
"""


def test_whatever_leads_to_a_virtual_board_has_the_mark(monkeypatch):
    it = boards.Source("tests.host.test_made", LEADS)
    monkeypatch.setattr(boards, "source", lambda name, real=boards.source: it if name == it.module else real(name))
    marked = {name for name in it.refers if name.startswith("test_") and boards.starts([(it.module, name)], set())}
    assert marked == {name for name in it.refers if name.startswith("test_")} - {"test_other_words", "test_name"}


UNMARKED = """
import subprocess, sys, pytest
def test_starts_one():
    subprocess.run([sys.executable, "-m", "mpota_host.sim.supervisor"], stderr=subprocess.DEVNULL)
@pytest.mark.board
def test_marked():
    subprocess.run([sys.executable, "-m", "mpota_host.sim.supervisor"], stderr=subprocess.DEVNULL)
def test_starts_none():
    subprocess.run([sys.executable, "-c", "pass"])
"""


def test_a_board_that_starts_without_the_mark_fails_its_test(tmp_path):
    status, said = run(tmp_path, UNMARKED, "boards.Boards()", "-o", "markers=board")
    assert status == 1 and "1 failed, 2 passed" in said
    assert "test_starts_one" in said and "without the mark `board`" in said


# Order.


def test_a_file_with_a_slow_test_begins_before_the_others(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_quick(): pass\n")
    text = "import pytest\ndef test_first(): pass\n@pytest.mark.slow\ndef test_second(): pass\n"
    status, said = run(tmp_path, text, "order.Order()", "-v", "-o", "markers=slow", "test_a.py")
    assert status == 0 and said.index("test_it.py ..") < said.index("test_a.py ."), said


def test_a_run_has_a_process_more_than_there_are_cores():
    command = [sys.executable, "-m", "pytest", "-n", "auto", "-p", "no:cacheprovider", __file__ + "::test_none_such"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert f"{os.cpu_count() + 1} workers" in done.stdout, done.stdout


# Garbage.


def test_a_collection_of_garbage_does_not_search_the_suite():
    """Device code collects often; with all tests loaded each time took 20 ms, and their run four times as long."""
    assert gc.get_freeze_count() > 10_000


# Plans.


def test_the_digest_of_the_encoder_is_over_everything_that_it_loads():
    code = "import sys, mpota_host.package.encode.delta; "
    code += "print(*(vars(m).get('__file__') for m in list(sys.modules.values())))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    loaded = {Path(word) for word in done.stdout.split() if Path(word).is_relative_to(ROOT)}
    loaded = {path for path in loaded if not path.is_relative_to(ROOT / ".venv")}
    assert ROOT / "host/mpota_host/package/encode/delta.py" in loaded and len(loaded) >= 8
    assert loaded <= set(plans.sources())


@pytest.fixture
def counted(monkeypatch):
    """A memory for every plan however small, and how often the encoder worked."""
    worked = []
    monkeypatch.setattr(plans, "LARGE", 0)
    made = delta.Delta([Piece(b"\0\xff", 4096), Piece(b"", 1)], True, {"a": 1})
    monkeypatch.setattr(plans, "fresh", lambda *args: worked.append(args) or made)
    return worked


def test_a_plan_is_made_once_for_the_same_images_and_options(tmp_path, counted):
    given = {"old": b"old", "new": b"new", "way": Raw(), "limit": 4096, "predict": True, "sectors": 2}
    one = plans.Plans(tmp_path / "plans").plan(**given)
    assert plans.Plans(tmp_path / "plans").plan(**given) == one
    assert len(counted) == 1
    others = {"old": b"olt", "new": b"neu", "way": Deflate(12), "limit": 4097, "predict": False, "sectors": 1}
    for name, value in others.items():
        plans.Plans(tmp_path / "plans").plan(**(given | {name: value}))
    assert len(counted) == 7


def test_another_encoder_or_a_damaged_file_means_a_new_plan(tmp_path, counted, monkeypatch):
    memory = plans.Plans(tmp_path / "plans")
    memory.plan(b"old", b"new", Raw(), 4096)
    (path,) = memory.folder.iterdir()
    data = path.read_bytes()
    for damaged in (data[:-1], b"", data[:40] + bytes([data[40] ^ 1]) + data[41:], bytes([data[0] ^ 1]) + data[1:]):
        path.write_bytes(damaged)
        counted.clear()
        memory.plan(b"old", b"new", Raw(), 4096)
        assert len(counted) == 1 and path.read_bytes() == data
    monkeypatch.setattr(plans, "encoder", lambda: "other")
    plans.Plans(tmp_path / "plans").plan(b"old", b"new", Raw(), 4096)
    assert len(counted) == 2 and [p.name for p in (tmp_path / "plans").iterdir()] == ["other"]


def test_the_digest_changes_with_each_source(monkeypatch, tmp_path):
    known = plans.sources()
    seen = {plans.encoder()}
    for i, path in enumerate(known):
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes() + b"\n")
        changed = [*known[:i], copy, *known[i + 1 :]]
        monkeypatch.setattr(plans, "sources", lambda changed=changed: changed)
        seen.add(plans.encoder())
    assert len(seen) == len(known) + 1
