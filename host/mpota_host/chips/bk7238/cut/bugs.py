"""The seeded bugs of layout/bk7238: mistakes in its loader, its layout and its journal."""

from __future__ import annotations

from mpota_host.cut.bugs import CONTRACT, Mutant

HOME = "mpota.layout.bk7238."
LOADER, COPIER, LAYOUT, SETTLE = (HOME + name for name in ("loader", "loader.copier", "layout", "settle"))
LOG = "mpota.store.log"
CHECKS = HOME + "checks"
CODED, BARE = HOME + "store.coded", HOME + "bare"
LOADS, LAYS = "tests.chips.bk7238.test_bk7238_loader:test_", "tests.chips.bk7238.test_bk7238_layout:test_"
FOREIGN = HOME + "store.foreign"
MAPS = "tests.chips.bk7238.test_bk7238_maps:test_"
CODEC, KEEPS = "tests.chips.bk7238.test_bk7238_codec:test_", "tests.core.test_log:test_"
SEAL = "if code == DONE: code = _seal(...)\nif code == DONE:\n    _forget(download)\n    ..."
ARMED = 'self.journal.put("armed", self.fresh(package, 1).encode())\n'
COMMIT = "self.commit()\n"
FILL = "for tag in records: at = self._prog(at, encode(tag, records[tag], number))\n"
HEAD = 'data = pack("<4sI", MAGIC, number)\nself._prog(start, data + pack("<I", crc32(data)))\n'

MUTANTS = [
    # The loader.
    Mutant("leave the old header", COPIER, "_clear", "dest.erase(dest.size - rbl.SIZE, rbl.SIZE)", ""),
    Mutant("start what was not read back", LOADER, "_seal", "not _matches(dest, head, feed)", "False",
           LOADS + "a_write_that_did_not_stay_is_found_on_the_read_back"),
    Mutant("install what does not hash", COPIER, "_pass", "fnv.value != self.head.hash", "0",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("leave out the first pass", COPIER, "Copier.copy",
           "self._pass(unpacker, self._look if custom else self._pass_over)", "DONE",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("start an application that rotted", LOADER, "_whole", "app.clean(feed)", "True",
           LOADS + "an_application_that_rotted_is_not_started"),
    Mutant("start a torn application", LOADER, "boot",
           "app is not None and not broken and ...", "app is not None and 1 or ...",
           LOADS + "a_flash_that_fails_once_is_tried_again_and_one_that_fails_for_good_starts_nothing"),
    Mutant("try an install once", LOADER, "", "TRIES = 3", "TRIES = 1"),
    Mutant("install the same again", LOADER, "_wants", "saved(dest)[0] == data", "not data",
           LOADS + "the_same_package_again_is_a_no_op_and_an_older_one_installs"),
    Mutant("leave the package there", LOADER, "_install", "_forget(download)", "",
           LOADS + "a_package_is_installed_its_header_saved_and_its_place_freed"),
    Mutant("free the place first", LOADER, "_install", SEAL, "_forget(download)\n" + SEAL,
           LOADS + "a_cut_anywhere_in_an_install_ends_with_the_new_image"),
    Mutant("start nothing before a worn cell", CODED, "_erased", "... > 32", "... > 33",
           CODEC + "a_worn_cell_behind_the_code_does_not_make_it_unclean"),
    # The layout.
    Mutant("write the header before the record", LAYOUT, "arm", ARMED + COMMIT, COMMIT + ARMED),
    Mutant("hold nothing back", LAYOUT, "prog", "off = rbl.SIZE\nbuf = memoryview(buf)[off:]", "",
           LAYS + "the_header_is_the_last_thing_written_and_one_program"),
    Mutant("take another chip's firmware", CHECKS, "early", "_chip(head)", '""',
           LAYS + "firmware_of_another_chip_of_the_family_is_refused_by_its_version"),
    Mutant("believe the first chip that a version names", CHECKS, "_chip", 'text.rfind(b"bk7")', 'text.find(b"bk7")',
           LAYS + "firmware_of_another_chip_of_the_family_is_refused_by_its_version"),
    Mutant("make no dry run", LAYOUT, "check", "checks.late(...)", "()",
           LAYS + "what_only_the_body_shows_is_found_before_the_restart"),
    Mutant("update in spite of another table", LAYOUT, "ready",
           "if text: raise Refused(code, text)", 'if text and code != "table": raise Refused(code, text)',
           LAYS + "tables_that_disagree_are_named_and_no_update_begins"),
    Mutant("erase a calibration inside download", LAYOUT, "occupied", "seen in foreign.WORDS", "False",
           MAPS + "calibration_and_key_values_inside_download_stop_an_update_that_would_reach_them"),
    Mutant("look at all of download, and be stopped by mpota's own bytes", LAYOUT, "occupied",
           "(rbl.SIZE + head.body + unit - 1) // unit * unit if head else 0", "0",
           MAPS + "sectors_that_mpota_wrote_itself_are_no_calibration"),
    Mutant("keep the journal inside a partition", LAYOUT, "misplaced",
           "off < high and off + 2 * unit > low", "False",
           MAPS + "a_journal_that_lies_in_a_partition_is_named_and_no_update_begins"),
    Mutant("find calibration where the wiring says, and nowhere else", FOREIGN, "kind",
           "if first in _CALIBRATION: return RF", "",
           MAPS + "a_second_calibration_and_settings_of_the_network_are_told_apart_by_their_items"),
    Mutant("take what nobody signed", BARE, "install", "not layout.port.bare", "False",
           "tests.chips.bk7238.test_bk7238_bare:test_a_board_whose_wiring_does_not_say_so_takes_none"),
    Mutant("keep a Wi-Fi that does not answer", HOME + "link.lines", "join",
           'raise LinkError("network", ...)', "break",
           "tests.chips.bk7238.test_bk7238_lines:test_a_wifi_that_does_not_answer_is_said_and_not_kept"),
    Mutant("write over a torn header", LAYOUT, "commit", "self._clear(flash)", "pass"),
    Mutant("forget which image was confirmed", LAYOUT, "confirm",
           'self.journal.put("header", self.header() + record.id)', "",
           LAYS + "an_update_is_fetched_judged_armed_installed_and_confirmed"),
    Mutant("never arm again", SETTLE, "_again", "layout.commit()\nreturn True", "return False"),
    Mutant("count no trial", CONTRACT, "spend", "record.trials -= 1", "",
           LAYS + "trials_are_counted_and_used_up_they_end_the_trial"),
    # The journal.
    Mutant("believe a torn sector", LOG, "_numbered", "crc != crc32(data[:8])", "crc is None",
           KEEPS + "a_bad_cell_costs_one_record_wherever_it_is"),
    Mutant("believe the sector that was read last", LOG, "_load",
           "not number or number <= self.number", "not number"),
    Mutant("erase what counts", LOG, "_begin", "number % 2 * self.size", "self.number % 2 * self.size",
           KEEPS + "a_cut_anywhere_in_a_put_leaves_the_old_or_the_new_value_and_all_others"),
    Mutant("write the head before the records", LOG, "_begin", FILL + HEAD, HEAD + FILL),
    Mutant("stop at a bad cell", LOG, "_load", "... if found else at + self.unit", "... if found else self.size",
           KEEPS + "a_bad_cell_costs_one_record_wherever_it_is"),
    Mutant("erase the other sector without a mark", LOG, "_begin", "self._claim(self.number % 2)", "",
           KEEPS + "a_cut_anywhere_in_a_put_leaves_the_old_or_the_new_value_and_all_others"),
    Mutant("begin over a sector that reads well again", LOG, "_newer", "_numbered(head) > self.number", "False",
           KEEPS + "a_sector_that_reads_well_again_is_not_begun_over"),
    Mutant("ask for bytes of the journal once", LOG, "Log._fill",
           "except (OSError, FlashError): ...", "except (OSError, FlashError): raise"),
    Mutant("leave no other sector", LOG, "put", "(self.grows, not self.grows)", "(self.grows,)"),
    Mutant("grow what another one wrote", LOG, "_read", "self.grows = False", "self.grows = True",
           KEEPS + "a_power_on_needs_nothing_that_another_one_wrote_once_it_has_put"),
    Mutant("do not read a record back", LOG, "_prog", "seen != data", "not data",
           KEEPS + "a_sector_of_its_own_that_wears_out_leaves_the_other_one"),
]  # fmt: skip
