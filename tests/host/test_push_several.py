"""Several packages of one version pushed together: the smallest that the board takes."""

import random

import pytest

from mpota_boot.errors import Corrupt, Refused
from mpota_host.board import several
from mpota_host.board.push import Report
from mpota_host.package import format as fmt
from mpota_host.package import pack
from mpota_host.package.bases import Base
from tests.chips.esp32 import image_maker

BODY = random.Random(1).randbytes(40000)
NEW = image_maker.image(body=BODY)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The full package of a version and two deltas, largest first."""
    folder = tmp_path_factory.mktemp("several")
    olds = [Base(str(n), str(n), {(fmt.FIRMWARE, ""): BODY[:n]}) for n in (15000, 30000)]
    made = pack.packages(pack.goods("esp32", NEW), pack.Options("lamp", "1.2.0"), None, olds)
    for i, one in enumerate(made):
        (folder / f"{i}.mpota").write_bytes(one.data)
    return sorted(folder.iterdir(), key=lambda path: -path.stat().st_size)


def pushed(files, answers):
    """What was sent to a board that answers so, what was noted, and the last report."""
    sent, notes = [], []

    def send(offer):
        sent.append(offer)
        return Report(answers[len(sent) - 1], "words")

    return sent, notes, several.push(files, send, notes.append)


def test_the_smallest_goes_first_and_is_enough(files):
    sent, notes, said = pushed(files, ["armed"])
    assert [one.file for one in sent] == files[-1:] and not notes
    assert (said.code, said.file) == ("armed", files[-1]) and sent[0].installed == len(NEW)


@pytest.mark.parametrize("code", several.NEXT)
def test_what_another_package_may_not_have_is_gone_on_from(files, code):
    sent, notes, said = pushed(files, [code, code, "armed"])
    assert [one.file for one in sent] == files[::-1] and said.file == files[0] and said.code == "armed"
    assert len(notes) == 2 and files[1].name in notes[0]
    assert pushed(files, [code] * 3)[2].code == code


@pytest.mark.parametrize("code", ["current", "product", "floor", "chunk", "link", "size"])
def test_what_no_other_package_changes_ends_it(files, code):
    sent, notes, said = pushed(files, [code])
    assert len(sent) == 1 and not notes and said.code == code


def test_one_file_given_twice_is_sent_once(files):
    assert len(pushed([files[0], files[0]], ["base"])[0]) == 1


def test_packages_of_two_versions_and_broken_ones_are_refused(files, tmp_path):
    other, cut = tmp_path / "other.mpota", tmp_path / "cut.mpota"
    other.write_bytes(pack.pack(NEW, pack.Options("lamp", "1.3.0"), None).data)
    with pytest.raises(Refused, match=r"lamp 1\.3\.0 for esp32"):
        several.read([files[0], other])
    cut.write_bytes(files[0].read_bytes()[:-3])
    with pytest.raises(Corrupt, match="last 3 bytes are missing"):
        several.read([files[0], cut])
