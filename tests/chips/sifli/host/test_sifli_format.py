"""The constants of the SiFli format page are those of the code, and its rules those of the replay."""

import re
from importlib import import_module

from mpota_host.sources import DEVICE
from tests.chips.sifli import replay as replay_sifli

LAYOUT = DEVICE / "mpota/layout/sifli"
TEXT = (LAYOUT / "FORMAT.md").read_text()


def test_the_constants_of_the_format_page_are_those_of_the_code():
    found = re.findall(r"`(\w+)\.(\w+) = (\w+)`", TEXT)
    assert len(found) >= 25
    for module, name, value in found:
        (path,) = LAYOUT.rglob(f"{module}.py")
        module = ".".join(path.relative_to(DEVICE).with_suffix("").parts)
        assert getattr(import_module(module), name) == int(value, 0), f"{module}.{name}"


def test_every_rule_that_is_stricter_is_on_the_page_and_can_be_told_apart():
    rules = re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## Stricter than the vendor, by name")[1], re.M)
    assert sorted(rules) == sorted(replay_sifli.SAFER)
    case = {"stage": "INIT", "base": "x", "ctrl_xor": [{"offset": 7, "xor": 1}]}
    assert not replay_sifli.in_rule(case, "whole-hash")
    case["ctrl_xor"][0]["offset"] = 8
    assert replay_sifli.in_rule(case, "whole-hash")
    assert not replay_sifli.in_rule({"wire_xor": [{"offset": 36, "xor": 1}]}, "record-place")
    assert replay_sifli.in_rule({"wire_xor": [{"offset": 581, "xor": 1}]}, "record-place")
