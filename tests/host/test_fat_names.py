"""Names that FAT takes for one another, held to MicroPython's own FAT; and names that no screen shows."""

import itertools
import json
import random
import subprocess

import pytest

from mpota_boot.errors import Refused
from mpota_host.bench.line.serial import micropython
from mpota_host.package.content import app, fat

# Prints, for each pair of names, whether the second one is found where only the first one is.
PROGRAM = """
import json, os, sys, vfs
class Disk:
    def __init__(self, n):
        self.n, self.data = n, bytearray(n * 512)
    def readblocks(self, i, buf, off=0):
        at = i * 512 + off
        buf[:] = self.data[at : at + len(buf)]
    def writeblocks(self, i, buf, off=0):
        at = i * 512 + off
        self.data[at : at + len(buf)] = buf
    def ioctl(self, op, _):
        return {4: self.n, 5: 512}.get(op, 0)
disk, found = Disk(20000), []
for i, (one, other) in enumerate(json.loads(sys.stdin.read())):
    if i % 200 == 0:
        if i:
            vfs.umount("/f")
        vfs.VfsFat.mkfs(disk)
        vfs.mount(vfs.VfsFat(disk), "/f")
    folder = "/f/%d" % i
    os.mkdir(folder)
    open(folder + "/" + one, "x").close()
    try:
        os.stat(folder + "/" + other)
        found.append(1)
    except OSError:
        found.append(0)
print(json.dumps(found))
"""


def on_fat(pairs):
    """Of each pair: is one of the two found by the other one's name?"""
    both = [[a, b] for a, b in pairs] + [[b, a] for a, b in pairs]
    command = [micropython(), "-X", "heapsize=64M", "-c", PROGRAM]
    done = subprocess.run(command, input=json.dumps(both), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    n = len(pairs)
    return [bool(found[i] or found[n + i]) for i in range(n)]


CASES = [
    *(("longfilename.txt", "longfi~1.txt"), ("longfilename.txt", "LONGFI~1.TXT"), (".mpota", "~1.mpo")),
    *(("a b.txt", "ab~1.txt"), ("a.b.txt", "ab~1.txt"), ("a+b.txt", "a_b~1.txt"), ("index.html", "index~1.htm")),
    *(
        ("ä.txt", "å.txt"),
        ("чай.txt", "рай.txt"),
        ("мю.txt", "мф.txt"),
        ("中.txt", "席.txt"),
        ("\u0443.txt", "\u0445.txt"),
    ),
    *(("Readme", "readme"), ("ãb.txt", "\u00d7b.txt")),
]
APART = [
    *(("longfilename.txt", "longfi~1.bin"), ("longfilename.txt", "longfil~1.txt"), ("short.txt", "short~1.txt")),
    *(
        ("a.txt", "à.txt"),
        ("u.txt", "ü.txt"),
        ("\u0131.txt", "i.txt"),
        ("\u212a.txt", "k.txt"),
        ("straße.txt", "strasse.txt"),
    ),
    *((".mpota", "mpota~1"), ("longfilename.txt", "longfilename~1.txt"), ("ab.txt", "abc.txt")),
]


@pytest.mark.parametrize("expected,pairs", [(True, CASES), (False, APART)])
def test_the_rule_and_micropythons_fat_agree_on_these(expected, pairs):
    assert on_fat(pairs) == [expected] * len(pairs)
    assert [bool(fat.clash(pair)) for pair in pairs] == [expected] * len(pairs)
    assert [bool(fat.clash(pair[::-1])) for pair in pairs] == [expected] * len(pairs)


def test_the_rule_and_micropythons_fat_agree_on_letters_of_every_alphabet():
    chance = random.Random(11)
    letters = [
        chr(n) for n in (*range(0xA1, 0x180), *range(0x370, 0x500), *range(0x2500, 0x2600)) if chr(n).isprintable()
    ]
    # The last byte of a letter in UTF-8 is what differs between letters that are near.
    pairs = [(a + ".x", b + ".x") for a, b in itertools.pairwise(letters)]
    for _ in range(6000):
        a = chance.choice(letters)
        row = [c for c in letters if c.encode()[:-1] == a.encode()[:-1]]
        pairs.append((a + ".x", chance.choice(row) + ".x"))
    pairs = [(a, b) for a, b in pairs if a != b]
    assert [pair for pair, same in zip(pairs, on_fat(pairs), strict=True) if same != bool(fat.clash(pair))] == []


def test_the_rule_and_micropythons_fat_agree_on_names_made_by_chance():
    chance = random.Random(12)

    def name():
        made = "".join(chance.choice("aAbé+ .~") for _ in range(chance.randrange(1, 9))) + chance.choice(
            ("", "~1", "~2a")
        )
        return made + chance.choice(("", ".t", ".txt", ".text"))

    pairs = [(name(), name()) for _ in range(3000)]
    # What is like the short name of another one.
    for _ in range(3000):
        one = name()
        body, extension, _ = fat.short(one)
        tail = chance.choice(("~1", "~1", "~2"))
        pairs.append((one, body[: chance.randrange(4, 8)] + tail + ("." + extension if extension else "")))
    pairs = [(a, b) for a, b in pairs if a != b and all(n.strip(". ") and n[-1] not in ". " for n in (a, b))]
    got = on_fat(pairs)
    assert 50 < sum(got) < len(pairs) - 50
    wrong = [pair for pair, same in zip(pairs, got, strict=True) if same and not fat.clash(pair)]
    assert wrong == []


def put(folder, *names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % i)
    return folder


@pytest.mark.parametrize(
    "names,words",
    [
        (("longfilename.txt", "longfi~1.txt"), ("longfilename.txt", "longfi~1.txt", "FAT")),
        (("lib/longfilename.txt", "lib/longfi~1.txt"), ("lib/longfi~1.txt",)),
        (("longfolder1/a", "longfo~1/b"), ("longfolder1", "longfo~1")),
        (("longfolder1/a", "longfo~1"), ("longfolder1", "longfo~1")),
        (("~1.mpo",), (".mpota", "~1.mpo")),
        (("ä.txt", "å.txt"), ("ä.txt", "å.txt")),
    ],
)
def test_names_that_are_one_on_fat_are_refused(tmp_path, names, words):
    with pytest.raises(Refused) as e:
        app.tree(put(tmp_path, "app.py", *names), {})
    assert e.value.code == "path" and all(word in str(e.value) for word in words), str(e.value)


def test_a_resource_is_one_name_with_the_folders_file_too(tmp_path):
    with pytest.raises(Refused, match="one name"):
        app.tree(put(tmp_path, "app.py", "longfilename.txt"), {"longfi~1.txt": b"x"})


def test_the_same_name_in_two_folders_is_no_clash(tmp_path):
    names = ("a/longfilename.txt", "b/longfi~1.txt", "longfi~1.txt", "lib/x~1.py", "mpota~1", "灯.txt", "ä.txt")
    tree = app.tree(put(tmp_path, "app.py", *names), {})
    assert len(tree.rows) == len(names) + 1


@pytest.mark.parametrize("bad", ["\x7f", "\x01", "\x1b", "\n", "\x85", "\x9b", "\u202e", "\u2066", "\u2028", "\u200f"])
def test_a_name_that_no_screen_shows_is_refused_and_shown(tmp_path, bad):
    with pytest.raises(Refused) as e:
        app.tree(put(tmp_path, "app.py", f"lib/a{bad}b"), {})
    assert repr(bad)[1:-1] in str(e.value) and str(e.value).isprintable()


def test_a_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "app.py").touch()
    with open(bytes(tmp_path) + b"/a\xff", "wb"):
        pass
    with pytest.raises(Refused, match="udcff"):
        app.tree(tmp_path, {})
