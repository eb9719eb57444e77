"""Whatever the bytes: an OtaError or a valid result, no other exception, no memory by what they say, no stray write.

python -m tests.host.test_fuzz N    the long form: N inputs, shared out among the targets
"""

import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import mpota_host  # noqa: F401  # MicroPython's stand-ins, for whoever runs this file by itself
from mpota.installer import install
from mpota_boot.errors import OtaError
from mpota_host.chips.esp32.sim import soc
from mpota_host.sources import port_environment
from tests.firmware import image
from tests.fuzz_targets import TARGETS, attempt, change, seeds
from tests.packages import Maker, Ram

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = 150
# The largest chunk and its window are 64 KiB and 32 KiB; nothing may take more than twice that.
MOST_BYTES = 256 * 1024
# The unix port has 64-bit objects, and its own modules and the targets' imports take most of this.
HEAP = "512K"


def inputs(name):
    """Good inputs with some bytes changed, and bytes that mean nothing."""
    edits = st.lists(st.tuples(st.integers(0, 7000), st.integers(0, 255)), max_size=6)
    changed = st.builds(
        change, st.sampled_from(seeds()[name]), edits, st.one_of(st.just(0), st.integers(0, 5000)), st.booleans()
    )
    return st.one_of(changed, changed, st.binary(max_size=700))


def fuzz(name, n, words=None):
    """`n` inputs for one target."""
    words = Counter() if words is None else words

    @seed(20240 + n)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(name))
    def one(data):
        words[attempt(name, data)] += 1

    one()
    return words


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_is_a_surprise(name):
    words = fuzz(name, QUICK)
    assert sum(words.values()) >= QUICK * 0.8 and len(words) >= 2, words


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_says_how_much_memory_is_taken(name):
    peaks = []

    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(name))
    def one(data):
        tracemalloc.start()
        attempt(name, data)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    one()
    assert max(peaks) < MOST_BYTES, max(peaks)


def attack(n):
    """Whole updates from packages that were changed anywhere, unsigned ones allowed: how each ended."""
    words = Counter()
    good = Maker(image(5003, 7)).bytes()
    chip = soc.Soc(soc.rows(0x2000), {"product": "demo", "room": 4096}, None)
    chip.write(chip.row("ota_0").offset, image(5003, 1))
    start = chip.flash.snapshot()
    slot = chip.row("ota_1")
    mine = range(slot.offset, slot.offset + slot.size)

    @seed(n)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs("package"))
    def one(data):
        chip.flash.restore(start)
        chip.flash.trace = []
        board = chip.power_on()
        try:
            for _ in install(board, Ram(data), None):
                pass
            words["armed"] += 1
        except OtaError as e:
            words[e.code] += 1
        for _, off, _ in chip.flash.trace:
            assert off in mine or soc.NVS_AT <= off < soc.OTADATA_AT + 0x2000, hex(off)
        if data != good:
            assert chip.power_on() is not None, "the board does not start after this package"

    one()
    return words


def test_no_package_writes_outside_its_slot():
    words = attack(60)
    assert len(words) >= 3, words


def test_the_corpus_runs_on_the_unix_port_in_a_small_heap():
    code = (
        "import tests.core.test_fuzz_corpus as m\n"
        "for n in sorted(dir(m)):\n    if n.startswith('test_'):\n        getattr(m, n)()\n        print(n)\n"
    )
    command = [str(ROOT / ".venv/bin/micropython"), "-X", f"heapsize={HEAP}", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=port_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("test_") == 3


@pytest.mark.parametrize(("name", "n", "what"), [("host.test_fuzz", 300, "inputs"), ("core.test_rogue", 3, "walks")])
def test_a_long_form_runs_by_itself(name, n, what):
    command = [sys.executable, "-m", f"tests.{name}", str(n)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=paths())
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{what}, 0 surprises\n")


def paths():
    """The environment with this checkout's own sources before any that are installed."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(str(ROOT / part) for part in ("host", "device")))


def main(n):
    """The long form; a surprise ends it with the input."""
    share = n // (len(TARGETS) + 1)
    total = 0
    for name in sorted(TARGETS):
        words = fuzz(name, share)
        total += sum(words.values())
        print(
            f"{name:14} {sum(words.values()):7,}  " + ", ".join(f"{w} {k}" for w, k in words.most_common(7)), flush=True
        )
    words = attack(share)
    total += sum(words.values())
    print(f"{'install':14} {sum(words.values()):7,}  " + ", ".join(f"{w} {k}" for w, k in words.most_common(7)))
    print(f"{total:,} inputs, 0 surprises")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60000)
