"""Packages of several components and deltas: what is chosen, what it is called, and that a board decodes it.

Whatever is packed here is judged by `verify`, which decodes it with the board's own code.
"""

import json
import random

import pytest

from mpota_boot.errors import Refused
from mpota_host.package import bases, choose, keys, pack, serve, verify
from mpota_host.package import format as fmt
from mpota_host.package import read as inspect
from mpota_host.package.choose import Content, EncodeOptions, decoders
from mpota_host.package.content import app
from mpota_host.package.encode import encrypt, lzma_chunk
from mpota_host.registry import prepare
from mpota_host.sim.board import VirtualBoard, create, native_arch, real_firmware
from tests.chips.esp32 import image_maker
from tests.host.command import call

WORDS = [b"update", b" of the ", b"board", b"\0\0\0\0", b"%d bytes", b"\x36\x41\0", b"\x1d\xf0", b"\xe5\x12"]


def prose(n, seed):
    """About `n` bytes that compress as firmware does, more or less."""
    rng = random.Random(seed)
    return b"".join(rng.choice(WORDS) + rng.randbytes(2) for _ in range(n // 6))


def noise(n, seed):
    return random.Random(seed).randbytes(n)


def changed(data, seed, every=3000):
    """The same with a few bytes changed and a few put in."""
    rng, out = random.Random(seed), bytearray(data)
    for at in range(len(data) - every, 0, -every):
        out[at : at + 2] = rng.randbytes(3)
    return bytes(out)[: len(out) // 4 * 4]


BODY = prose(48000, 1)
OLD, NEW = image_maker.image(body=BODY), image_maker.image(body=changed(BODY, 2))
MODEL = noise(30000, 3)
FILES = {"app.py": b"def step():\n    pass\n", "lib/table.bin": noise(40000, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Keys, two firmwares, two applications, two resources."""
    path = tmp_path_factory.mktemp("pack")
    keys.generate(path / "release.pem")
    for name in ("lamp", "fleet"):
        encrypt.generate(path / f"{name}.devkey")
    for name, image, files in (
        ("old", OLD, FILES),
        ("new", NEW, {**FILES, "app.py": b"import more\n", "more.py": b""}),
    ):
        (path / f"{name}.bin").write_bytes(image)
        (path / f"{name}.model").write_bytes(MODEL if name == "old" else changed(MODEL, 5))
        for file, data in files.items():
            (path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (path / name / file).write_bytes(data)
    return path


def packing(folder, version, out, *more):
    return ["pack", "--product", "lamp", "--version", version, "--key", folder / "release.pem", "-o", out, *more]


def whole(folder, name):
    """All that an application has: the options of `pack`."""
    return ["--firmware", folder / f"{name}.bin", "--app", folder / name, "--resource", f"m/1={folder / name}.model"]


@pytest.fixture(scope="module")
def old(folder):
    """The full package of version 1.0.0."""
    path = folder / "1.0.0.mpota"
    assert call(*packing(folder, "1.0.0", path, *whole(folder, "old"))) == 0
    return path


def judged(folder, path, *olds, device_keys=()):
    """The verdict of a board that runs one of `olds`."""
    held = [bases.load(one, "esp32", None, device_keys).contents for one in olds]
    trusted = [keys.load_public(folder / "release.pub")]
    return verify.judge(path.read_bytes(), verify.BoardFacts(trusted, "lamp", device_keys, held or None))


def good(*args, **more):
    report = judged(*args, **more)
    assert report.ok, report.text
    return report


def said(capsys, *args):
    capsys.readouterr()
    status = call(*args)
    return (status, *capsys.readouterr())


def refusal(capsys, words, *args):
    """One sentence that has `words`, and exit status 3."""
    status, _, err = said(capsys, *args)
    assert status == 3 and words in err and err.startswith("mpota: ") and err.count("\n") == 1, err


def contents(path):
    """Every component of a full package, decoded."""
    data = path.read_bytes()
    package = inspect.read_package(data)
    return {part.name: inspect.content(package, i, data) for i, part in enumerate(package.components)}


def stages(path):
    return {one["name"]: one["stages"] for one in inspect.package_facts(path.read_bytes())["components"]}


def test_firmware_files_and_resources_come_in_this_order(folder, tmp_path):
    out = tmp_path / "p.mpota"
    more = ["--resource", f"b={folder}/new.model", "--resource", f"a={folder}/old.model", "--app", folder / "new"]
    assert call(*packing(folder, "1.1.0", out, *more, folder / "new.bin")) == 0
    report = good(folder, out)
    facts = inspect.package_facts(out.read_bytes())
    assert [(c["kind"], c["name"]) for c in facts["components"]] == [
        ("firmware", "firmware"),
        ("files", "files"),
        ("resource", "a"),
        ("resource", "b"),
    ]
    got = contents(out)
    assert got["firmware"] == NEW and got["a"] == MODEL and got["b"] == (folder / "new.model").read_bytes()
    assert got["files"] == app.tree(folder / "new", {"a": got["a"], "b": got["b"]}).data
    assert ("files", "6 paths that a board takes") not in report.facts["checks"]
    assert ("files", "5 paths that a board takes") in report.facts["checks"]


def test_a_resource_alone_brings_its_list(folder, tmp_path):
    out = tmp_path / "p.mpota"
    assert call(*packing(folder, "1.1.0", out, "--resource", f"m={folder}/old.model")) == 0
    good(folder, out)
    assert app.rows(contents(out)["files"]) == [app.Row("m", len(MODEL), True)]


def test_each_component_travels_the_smallest_way(folder, old):
    assert stages(old) == {"firmware": ["inflate"], "files": [], "m/1": []}
    facts = inspect.package_facts(old.read_bytes())
    means = EncodeOptions()
    for part, content in zip(facts["components"], contents(old).values(), strict=True):
        ways = choose.whole(Content(fmt.FILES, part["name"], content), means)
        assert len(ways) == 2 and part["stored"] == min(way.stored() for way in ways)


def test_every_kind_of_base_gives_a_delta_that_a_board_decodes(folder, old, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    olds = [folder / "old.bin", folder / "old", old]
    given = [word for one in olds for word in ("--base", one)]
    status, text, err = said(capsys, *packing(folder, "1.1.0", out, *whole(folder, "new"), *given))
    assert status == 0 and "a folder as --base has no resources" in err
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == 4 and "p-from-1.0.0.mpota" in made
    full = good(folder, out)
    assert not [line for line in full.facts["checks"] if line[0] == "base"]
    fits = {}
    for path in sorted(tmp_path.glob("p-from-*")):
        assert path.stat().st_size < out.stat().st_size
        assert "travels" in text and path.name in text
        seen = {name for name, way in stages(path).items() if way[-1:] in (["delta"], ["xtensa"])}
        fits[frozenset(seen)] = [one for one in olds if judged(folder, path, one).ok]
        good(folder, path, *olds)
        assert {c["name"]: c["sha256"] for c in inspect.package_facts(path.read_bytes())["components"]} == {
            c["name"]: c["sha256"] for c in inspect.package_facts(out.read_bytes())["components"]
        }
    # The old package has the firmware of old.bin; its list of files names a resource too.
    assert fits == {
        frozenset({"firmware"}): [folder / "old.bin", old],
        frozenset({"files"}): [folder / "old"],
        frozenset({"firmware", "files", "m/1"}): [old],
    }
    assert (tmp_path / "p-from-1.0.0.mpota").stat().st_size < 0.1 * out.stat().st_size


def test_a_delta_without_its_base_is_proven_but_not_decoded(folder, old, tmp_path):
    out = tmp_path / "p.mpota"
    assert call(*packing(folder, "1.1.0", out, folder / "new.bin", "--base", old)) == 0
    path = tmp_path / "p-from-1.0.0.mpota"
    report = good(folder, path)
    assert "if it runs what the delta stands on" in report.text
    assert [word for word, _ in report.facts["checks"]][-2:] == ["base", "not decoded"]
    other = judged(folder, path, folder / "new.bin")
    assert not other.ok and other.facts["code"] == "other-base" and "a board says" not in other.text
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert judged(folder, path).facts["code"] == "chunk"


def test_a_delta_that_is_not_smaller_is_dropped_with_a_note(folder, tmp_path, capsys):
    for name, seed in (("other.bin", 9), ("noise.bin", 10)):
        (tmp_path / name).write_bytes(image_maker.image(body=noise(50000, seed)))
    out = tmp_path / "p.mpota"
    for base in (tmp_path / "other.bin", folder / "old"):
        status, _, err = said(capsys, *packing(folder, "1.1.0", out, tmp_path / "noise.bin", "--base", base))
        assert status == 0 and f"no package from {base}" in err
    assert not list(tmp_path.glob("p-from-*"))


def test_bases_that_hold_the_same_give_one_delta_and_equal_versions_two_names(folder, old, tmp_path):
    other = tmp_path / "other.mpota"
    (tmp_path / "other.bin").write_bytes(image_maker.image(body=changed(BODY, 3)))
    assert call(*packing(folder, "1.0.0", other, tmp_path / "other.bin")) == 0
    out = tmp_path / "p.mpota"
    # The old package has the very firmware of old.bin, and more that this package does not bring.
    given = [word for one in (old, other, old, folder / "old.bin") for word in ("--base", one)]
    assert call(*packing(folder, "1.1.0", out, folder / "new.bin", *given)) == 0
    made = sorted(path.name for path in tmp_path.glob("p-from-*"))
    assert len(made) == 2 and "p-from-1.0.0.mpota" in made


def test_a_base_that_cannot_be_read_is_refused(folder, old, tmp_path, capsys):
    out, delta, empty = tmp_path / "p.mpota", tmp_path / "p-from-1.0.0.mpota", tmp_path / "none"
    assert call(*packing(folder, "1.1.0", out, folder / "new.bin", "--base", old)) == 0
    empty.mkdir()
    (tmp_path / "cut").write_bytes(old.read_bytes()[:-5])
    (tmp_path / "text").write_bytes(b"words\n" * 99)
    files = ["--app", folder / "new", "--layout", "files"]
    for more, base, words in (
        ([folder / "new.bin"], delta, "it is a delta itself; give the full package of version 1.1.0"),
        ([folder / "new.bin"], empty, "no file in"),
        ([folder / "new.bin"], tmp_path / "text", "text file"),
        (files, old, "layout 'esp32', this package is for 'files'"),
    ):
        refusal(capsys, words, *packing(folder, "1.2.0", out, *more, "--base", base))
    status, _, err = said(capsys, *packing(folder, "1.2.0", out, folder / "new.bin", "--base", tmp_path / "cut"))
    assert status == 5 and "last 5 bytes are missing" in err


def test_an_encrypted_base_needs_its_key(folder, tmp_path, capsys):
    base, out = tmp_path / "base.mpota", tmp_path / "p.mpota"
    lamp, fleet = folder / "lamp.devkey", folder / "fleet.devkey"
    assert call(*packing(folder, "1.0.0", base, folder / "old.bin", "--encrypt-for", lamp)) == 0
    new = packing(folder, "1.1.0", out, folder / "new.bin", "--base", base)
    refusal(capsys, "it is encrypted; --device-key FILE", *new)
    refusal(capsys, "none is here", *new, "--device-key", fleet)
    assert call(*new, "--device-key", lamp) == 0
    good(folder, tmp_path / "p-from-1.0.0.mpota", base, device_keys=[encrypt.load(lamp)])


def test_all_packages_of_a_call_are_encrypted_each_under_a_key_of_its_own(folder, old, tmp_path):
    out, lamp = tmp_path / "p.mpota", folder / "lamp.devkey"
    given = [*whole(folder, "new"), "--base", old, "--encrypt-for", lamp]
    assert call(*packing(folder, "1.1.0", out, *given)) == 0
    secret = [encrypt.load(lamp)]
    both = [out, tmp_path / "p-from-1.0.0.mpota"]
    for path in both:
        assert all(way[0] == "decrypt" for way in stages(path).values())
        assert not judged(folder, path, old).ok
        good(folder, path, old, device_keys=secret)
    keys_of = {path.read_bytes()[72 + 3 * fmt.COMPONENT_SIZE :][:48] for path in both}
    assert len(keys_of) == 2


def test_every_chunk_has_the_room_that_a_board_has_for_it(folder, tmp_path):
    """What shares nothing with the base, encrypted: the form that adds most to what nothing makes smaller."""
    old, new = noise(40000, 21), noise(16384, 22) + noise(40000, 21)
    content = Content(fmt.RESOURCE, "m", new)
    for room in fmt.ROOMS:
        means = EncodeOptions(room=room, encrypted=True, decodes=frozenset(fmt.STAGES.values()))
        ways = choose.whole(content, means) + choose.based(content, means, old)
        best, tried = choose.smallest(ways, means)
        assert len(tried) == 5 and all(one.fits for one in tried) and best.base
        assert all(len(piece.data) <= means.most() for way in ways for piece in way.pieces)
        assert all(sum(piece.output for piece in way.pieces) == len(new) for way in ways)


def test_a_way_whose_chunks_do_not_fit_is_not_kept():
    means = EncodeOptions()
    content = Content(fmt.RESOURCE, "m", b"m" * 9000)
    ways = choose.whole(content, means)
    ways[1].pieces[0] = ways[1].pieces[0]._replace(data=bytes(means.most() + 1))
    best, tried = choose.smallest(ways, means)
    assert [one.fits for one in tried] == [True, False] and best is ways[0]


def test_lzma_is_tried_where_boards_decode_it_with_no_larger_window_than_useful(folder, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    status, _, err = said(capsys, *packing(folder, "1.1.0", out, folder / "new.bin", "--decodes", "+lzma"))
    assert status == 0 and "flash --lzma" in err and stages(out) == {"firmware": ["lzma"]}
    (part,) = inspect.read_package(out.read_bytes()).components
    assert part.makers == [lzma_chunk.stage] and lzma_chunk.decoder.stage is not lzma_chunk.stage
    good(folder, out)
    content = Content(fmt.FIRMWARE, "firmware", NEW)
    for wbits, took in ((9, 12), (12, 12), (14, 14), (15, 15)):
        (way,) = choose.whole(content, EncodeOptions(compress="lzma", wbits=wbits, room=16384))
        assert way.wbits == took
    for way in choose.based(content, EncodeOptions(compress="lzma", wbits=15), OLD):
        assert way.wbits == 12, "the window is that of the short streams"
    assert (
        call(*packing(folder, "1.1.0", out, folder / "new.bin", "--compress", "lzma", "--base", folder / "old.bin"))
        == 0
    )
    for path in tmp_path.glob("*.mpota"):
        assert stages(path)["firmware"][0] == "lzma"
        good(folder, path, folder / "old.bin")


def test_one_compression_can_be_asked_for(folder, tmp_path):
    for name in ("none", "deflate"):
        out = tmp_path / f"{name}.mpota"
        assert call(*packing(folder, "1.1.0", out, *whole(folder, "new"), "--compress", name)) == 0
        assert {tuple(way) for way in stages(out).values()} == {choose.COMPRESSIONS[name]}
        good(folder, out)


def test_what_boards_decode_is_said_by_names_or_by_signs():
    every = frozenset(fmt.STAGES.values())
    assert choose.DECODES == decoders("inflate,decrypt,delta,xtensa") == every - {"lzma"}
    assert decoders("+lzma") == every and decoders("inflate") == {"inflate"}
    assert decoders("-xtensa, +lzma") == every - {"xtensa"}
    for text, words in (("zip", "'zip'"), ("", "nothing"), ("+lzma,inflate", "mixes")):
        with pytest.raises(Refused, match=words) as e:
            decoders(text)
        assert e.value.code == "decodes"


def test_nothing_is_used_that_boards_do_not_decode(folder, tmp_path):
    out = tmp_path / "p.mpota"
    given = [folder / "new.bin", "--base", folder / "old.bin", "--decodes"]
    assert call(*packing(folder, "1.1.0", out, *given, "inflate,delta")) == 0
    used = [one for path in tmp_path.glob("*.mpota") for way in stages(path).values() for one in way]
    assert set(used) == {"inflate", "delta"}
    assert call(*packing(folder, "1.1.0", out, folder / "new.bin", "--decodes", "delta")) == 0
    assert stages(out) == {"firmware": []}


def test_the_same_input_gives_the_same_packages(folder, old, tmp_path):
    given = [*whole(folder, "new"), "--base", old, "--decodes", "+lzma", "--mpy", "xtensawin"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert call(*packing(folder, "1.1.0", tmp_path / name / "p.mpota", *given)) == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert len(one) == 2 and one == two


def test_what_cannot_be_packed_is_one_sentence(folder, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    (tmp_path / "empty").write_bytes(b"")
    image, devkey = folder / "new.bin", folder / "lamp.devkey"
    for words, more in (
        ("nothing to pack", []),
        ("take no firmware", [image, "--layout", "files"]),
        ("'e' is empty", ["--resource", f"e={tmp_path / 'empty'}"]),
        ("wanted NAME=FILE", ["--resource", "logo.bin"]),
        ("given twice", ["--resource", f"a={image}", "--resource", f"a={image}"]),
        ("17 bytes, wanted 16", ["--resource", f"{'n' * 17}={image}"]),
        ("'main.py' cannot be", ["--resource", f"main.py={image}"]),
        ("no encrypted package", [image, "--encrypt-for", devkey, "--decodes", "-decrypt"]),
        ("decode no delta", [image, "--base", folder / "old.bin", "--decodes", "inflate"]),
        ("a delta travels compressed", [image, "--base", folder / "old.bin", "--compress", "none"]),
        ("'zip', known are inflate", [image, "--decodes", "+zip"]),
        ("'z80', known are none, x86", ["--app", folder / "new", "--mpy", "z80"]),
        ("at most 32 bytes", [image, "--channel", "c" * 33]),
        ("cannot need 1.1.0", [image, "--needs", "1.1.0"]),
        ("cannot need 1.2.0", [image, "--needs-firmware", "1.2.0"]),
        ("the version is 'old'", [image, "--needs", "old"]),
        ("wanted 1 to 65535", [image, "--needs-boot", "65536"]),
        ("mpy-cross writes 6.3", ["--app", folder / "new", "--mpy", "none", "--mpy-version", "9"]),
        ("do not fit in 4096", [word for n in range(27) for word in ("--resource", f"r{n}={image}")]),
    ):
        refusal(capsys, words, *packing(folder, "1.1.0", out, *more))
    status, _, err = said(capsys, *packing(folder, "1.1.0", out, "--resource", f"a={tmp_path / 'gone'}"))
    assert status == 1 and "gone: No such file" in err
    assert said(capsys, *packing(folder, "1.1.0", out, image, "--firmware", image))[0] == 2
    assert not out.exists()


@pytest.mark.parametrize(
    "change",
    [{"compress": "zip"}, {"room": 5000}, {"wbits": 8}, {"product": ""}, {"product": "p" * 33}, {"version": "v1"}],
)
def test_options_that_no_header_holds_are_refused(change):
    with pytest.raises(Refused):
        pack.pack(NEW, pack.Options(**{"product": "lamp", "version": "1.0.0", **change}), None)


def test_the_facts_say_all_that_was_tried(folder, old, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    status, text, _ = said(capsys, *packing(folder, "1.1.0", out, *whole(folder, "new"), "--base", old, "--json"))
    facts = json.loads(text)
    (delta,) = facts["deltas"]
    assert status == 0 and facts["from"] is None and delta["from"] == str(old)
    assert (
        delta["file"] == str(tmp_path / "p-from-1.0.0.mpota")
        and delta["size"] == (tmp_path / "p-from-1.0.0.mpota").stat().st_size
    )
    assert delta["id"] != facts["id"] and len(facts["components"]) == 3
    for made in (facts, delta):
        kept = [one for one in made["tried"] if one["kept"]]
        assert [(c["name"], c["stages"], c["stored"]) for c in made["components"]] == [
            (one["name"], one["stages"], one["stored"]) for one in kept
        ]
        assert all(c["base"] for c in made["components"]) == (made is delta)


def test_inspect_lists_files_and_bases(folder, old, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    assert call(*packing(folder, "1.1.0", out, *whole(folder, "new"), "--base", old)) == 0
    status, text, _ = said(capsys, "inspect", out, "--json")
    facts = json.loads(text)
    assert status == 0 and {"path": "m/1", "size": 30020, "apart": True} not in facts["files"]
    assert {row["path"] for row in facts["files"]} == {"app.py", "lib/table.bin", "m/1", "more.py"}
    assert "lib/table.bin" in said(capsys, "inspect", out)[1]
    text = said(capsys, "inspect", tmp_path / "p-from-1.0.0.mpota")[1]
    assert ("a delta" in text and "stands on" in text and "inflate xtensa" in text) or "inflate delta" in text
    held = ["verify", tmp_path / "p-from-1.0.0.mpota", "--key", folder / "release.pub"]
    assert said(capsys, *held, "--base", old)[0] == 0 and said(capsys, *held, "--base", folder / "new.bin")[0] == 3


def test_a_list_inside_that_no_board_takes_is_found(folder, tmp_path):
    data = app.tree(folder / "new", {}).data
    key = keys.load_private(folder / "release.pem")
    path = tmp_path / "bad.mpota"
    for bad, code in ((data.replace(b"app.py", b"../x.p"), "path"), (data[:-1], "files"), (b"X" + data[1:], "files")):
        given = pack.Contents([Content(fmt.FILES, "files", bad)])
        path.write_bytes(pack.packages(given, pack.Options("lamp", "1.0.0"), key)[0].data)
        assert judged(folder, path).facts["code"] == code
        assert inspect.explain(path.read_bytes()).ok
    lone = pack.Contents([Content(fmt.FILES, "files", data), Content(fmt.RESOURCE, "m", MODEL)])
    path.write_bytes(pack.packages(lone, pack.Options("lamp", "1.0.0"), key)[0].data)
    assert judged(folder, path).facts["code"] == "files"


def test_channel_and_needs_are_said_by_every_command(folder, tmp_path, capsys):
    out = tmp_path / "p.mpota"
    more = ("--channel", "canary", "--needs", "1.0.5", "--needs-firmware", "1.0.4", "--needs-boot", "1")
    status, text, _ = said(capsys, *packing(folder, "1.1.0", out, folder / "new.bin", *more, "--json"))
    facts = json.loads(text)
    seen = [facts[name] for name in ("channel", "needs", "needs_firmware", "needs_boot")]
    assert status == 0 and seen == ["canary", "1.0.5", "1.0.4", 1]
    facts = json.loads(said(capsys, "inspect", out, "--json")[1])
    assert facts["channel"] == "canary"
    assert facts["needs"] == {"version": "1.0.5", "firmware": "1.0.4", "mpota_boot": "1"}
    text = said(capsys, "inspect", out)[1]
    assert all(word in text for word in ("canary", "needs version", "needs firmware", "needs mpota_boot"))
    rows, _ = serve.offers(tmp_path)
    assert [row["channel"] for row in rows] == ["canary"]


def test_a_board_is_asked_what_it_loads(folder, tmp_path):
    flash = create(tmp_path / "board.bin", OLD)
    out = tmp_path / "p.mpota"
    with VirtualBoard(flash) as board:
        assert call(*packing(folder, "1.1.0", out, "--app", folder / "new", "--port", board.port)) == 0
    rows = {row.path for row in app.rows(contents(out)["files"])}
    assert rows == {"app.mpy", "lib/table.bin", "more.mpy"}
    assert native_arch()


@pytest.mark.parametrize("room,decodes,full,delta", [(8192, "-xtensa", 0.70, 0.235), (8192, "+lzma", 0.660, 0.1705)])
def test_the_real_pair_is_as_small_as_promised(room, decodes, full, delta):
    old, new = (real_firmware(name).read_bytes() for name in ("0608", "0831"))
    options = pack.Options("lamp", "1.1.0", room=room, decodes=decoders(decodes))
    base = bases.Base("old", "old", {(fmt.FIRMWARE, ""): prepare("esp32", old)[0]})
    made = pack.packages(pack.goods("esp32", new), options, None, [base])
    shares = [len(one.data) / one.facts["image"] for one in made]
    assert len(shares) == 2 and shares[0] <= full and shares[1] <= delta, shares
