"""Power cuts at the blocks beneath MicroPython's own LittleFS and FAT; the unix port alone has them.

Here at every so many-th program and erase; `python -m tests.fs_blocks`, on the unix port, cuts at each.
"""

import os

from tests import fs_blocks

STRIDE = 11


def test_updates_and_retreats_survive_cuts_at_the_blocks_of_the_real_file_systems():
    if not hasattr(os, "VfsLfs2"):
        return
    seen = []
    for name, healthy, (ops, n) in fs_blocks.everywhere(STRIDE):
        assert ops > 50 and n > ops // STRIDE, (name, healthy, ops, n)
        seen.append(name)
    assert seen == ["VfsLfs2"] * 2 + ["VfsFat"] * 2


def test_a_board_that_a_cut_broke_would_be_seen():
    if not hasattr(os, "VfsLfs2"):
        return
    story = fs_blocks.Story("VfsLfs2")
    fs_blocks.put("ota/1/app.py", b"VERSION = 3")
    story.plain.power_on()
    try:
        story.seen()
    except AssertionError:
        return story.disk.off()
    raise RuntimeError("a changed file was not seen")
