"""`mpota flash --root`: roots, threshold and the first record on a board, which judges the record itself."""

import json

import pytest

from mpota_boot.errors import Refused
from mpota_host.board import flash, repl, roots, status
from mpota_host.board.flash import FlashOptions
from mpota_host.board.roots import Roots
from tests import signer
from tests.host.command import call
from tests.host.test_cli import said
from tests.host.test_flash import Folder, actions

PUBLIC = {"a": signer.A.public, "b": signer.B.public}
ONE = signer.record(1, [signer.RELEASES[0]], (signer.A, signer.B))
TWO = signer.record(2, [signer.RELEASES[1]], (signer.A, signer.B))


def run(board, given, keys=None):
    """`flash` as the command line does it; the plan."""
    settings = {"product": "demo", "layout": "files", **given.settings()}
    plan = flash.make_plan(board, FlashOptions(settings, keys or {}, "files", roots=given))
    flash.apply(board, plan)
    board.restart()
    if roots.COMES in [change.path for change in plan.todo()]:
        roots.give(board, plan.facts.at(roots.COMES))
    return plan


def test_a_board_gets_roots_threshold_and_record_and_says_so(tmp_path):
    board = Folder(tmp_path)
    run(board, Roots(PUBLIC, 2, ONE))
    folder = board.home / "keys/roots"
    assert (folder / "record.a").read_bytes() == (folder / "record.b").read_bytes() == ONE
    assert sorted(path.name for path in folder.iterdir()) == ["a.pub", "b.pub", "record.a", "record.b"]
    assert json.loads((board.home / "mpota.json").read_bytes())["threshold"] == 2
    facts = repl.ask(board, status.STATUS)
    assert facts["keys"]["serial"] == facts["keys"]["seen"] == 1
    assert facts["keys"]["release"] == [signer.RELEASES[0].id.hex()]
    lines = dict(status.as_report(facts).tables[0].rows)
    assert lines["keys"] == f"keys record 1, release {signer.RELEASES[0].id.hex()}; 2 of 2 roots must sign"
    again = run(board, Roots(PUBLIC, 2, ONE))
    assert not again.todo()
    # A newer one by cable, and no way back.
    run(board, Roots(record=TWO))
    assert (folder / "record.a").read_bytes() == TWO
    with pytest.raises(Refused, match="keys record 1, 2 was seen here"):
        run(board, Roots(record=ONE))
    assert (folder / "record.a").read_bytes() == TWO and not (folder / "comes.record").exists()


def test_a_board_with_roots_and_no_record_says_that_it_trusts_nothing(tmp_path):
    board = Folder(tmp_path)
    run(board, Roots(PUBLIC))
    lines = dict(status.as_report(repl.ask(board, status.STATUS)).tables[0].rows)
    assert lines["keys"] == "no keys record yet, so no package is trusted; 2 of 2 roots must sign"


def test_release_keys_in_files_are_told_to_count_no_more(tmp_path):
    board = Folder(tmp_path)
    run(board, Roots(), {"old": bytes(range(256)) + bytes(128)})
    plan = run(board, Roots(PUBLIC, 0, ONE))
    assert actions(plan)["/keys/old.pub"] == "keep"
    plan = run(board, Roots(), {"new": bytes(384)})
    assert actions(plan)["/keys/new.pub"] == "keep" and not (board.home / "keys/new.pub").exists()
    other = run(board, Roots({"a": signer.C.public}))
    assert actions(other)["/keys/roots/a.pub"] == "keep"


def test_a_record_for_a_board_without_roots_is_refused_before_anything_is_written(tmp_path):
    board = Folder(tmp_path)
    with pytest.raises(Refused, match="no roots"):
        run(board, Roots(record=ONE))
    assert not (board.home / "keys").exists()


def test_what_the_roots_at_hand_have_not_signed_is_refused_by_the_host():
    for given, words in (
        (Roots({"c": signer.C.public}, 0, ONE), "0 roots of this board"),
        (Roots(PUBLIC, 3), "3 roots must sign and 2 are given"),
    ):
        with pytest.raises(Refused, match=words):
            roots.want(given, "demo")
    with pytest.raises(Refused, match="for product 'demo'"):
        roots.want(Roots(PUBLIC, 2, ONE), "lamp")


def test_the_command_says_what_does_not_go_together(capsys, tmp_path):
    for name, data in (("a.pub", signer.A.public), ("k.pub", bytes(384)), ("one.record", ONE), ("text", b"words")):
        (tmp_path / name).write_bytes(data)
    line = ("flash", "--port", tmp_path / "none")
    root = ("--root", tmp_path / "a.pub")
    for more, status_, words in (
        ((*root, "--key", tmp_path / "k.pub"), 2, "leave --key off"),
        (("--threshold", "2"), 2, "--threshold says"),
        ((*root, "--keys-record", tmp_path / "text"), 3, "is no keys record"),
        ((*root, "--threshold", "2", "--keys-record", tmp_path / "one.record"), 3, "2 roots must sign"),
    ):
        code, _, err = said(capsys, *line, *more)
        assert code == status_ and words in err, err
    assert call(*line, *root, "--keys-record", tmp_path / "one.record", "--product", "demo") not in (0, 2, 3)
