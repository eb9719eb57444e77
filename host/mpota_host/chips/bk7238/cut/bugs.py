"""The seeded bugs of layout/bk7238: mistakes in its loader, its layout and its journal."""

from __future__ import annotations

from mpota_host.cut.bugs import CONTRACT, Mutant

HOME = "mpota.layout.bk7238."
LOADER, COPIER, LAYOUT, SETTLE = (HOME + name for name in ("loader", "loader.copier", "layout", "settle"))
LOG = "mpota.store.log"
CODED, BARE = HOME + "store.coded", HOME + "bare"
LOADS, LAYS = "tests.chips.bk7238.test_bk7238_loader:test_", "tests.chips.bk7238.test_bk7238_layout:test_"
CODEC, KEEPS = "tests.chips.bk7238.test_bk7238_codec:test_", "tests.core.test_log:test_"
ARMED = '        self.journal.put("armed", self.fresh(package, 1).encode())\n'
COMMIT = "        self.commit()\n"
FILL = """        for tag in records:
            at = self._prog(at, encode(tag, records[tag], number))
"""
HEAD = """        data = pack("<4sI", MAGIC, number)
        self._prog(start, data + pack("<I", crc32(data)))
"""

MUTANTS = [
    # The loader.
    Mutant("leave the old header", COPIER, "            dest.erase(dest.size - rbl.SIZE, rbl.SIZE)\n", ""),
    Mutant("start what was not read back", LOADER, "    if not _matches(dest, head, feed):", "    if False:",
           LOADS + "a_write_that_did_not_stay_is_found_on_the_read_back"),
    Mutant("install what does not hash", COPIER, "fnv.value != self.head.hash", "0",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("leave out the first pass", COPIER, "self._pass(unpacker, self._look if custom else self._pass_over)",
           "DONE",
           LOADS + "a_wrong_hash_key_or_iv_is_refused_in_the_first_pass"),
    Mutant("start an application that rotted", LOADER, "    return app.clean(feed)\n", "    return True\n",
           LOADS + "an_application_that_rotted_is_not_started"),
    Mutant("start a torn application", LOADER, "app is not None and not broken and", "app is not None and 1 or",
           LOADS + "a_flash_that_fails_once_is_tried_again_and_one_that_fails_for_good_starts_nothing"),
    Mutant("try an install once", LOADER, "TRIES = 3", "TRIES = 1"),
    Mutant("install the same again", LOADER, "if saved(dest)[0] == data:", "if not data:",
           LOADS + "the_same_package_again_is_a_no_op_and_an_older_one_installs"),
    Mutant("leave the package there", LOADER, "        if code == DONE:\n            _forget(download)\n",
           "        if code == DONE:\n",
           LOADS + "a_package_is_installed_its_header_saved_and_its_place_freed"),
    Mutant("free the place first", LOADER, "        if code == DONE:\n            code = _seal(",
           "        _forget(download)\n        if code == DONE:\n            code = _seal(",
           LOADS + "a_cut_anywhere_in_an_install_ends_with_the_new_image"),
    Mutant("start nothing before a worn cell", CODED, "> 32", "> 33",
           CODEC + "a_worn_cell_behind_the_code_does_not_make_it_unclean"),
    # The layout.
    Mutant("write the header before the record", LAYOUT, ARMED + COMMIT, COMMIT + ARMED),
    Mutant("hold nothing back", LAYOUT, "            off = rbl.SIZE\n            buf = memoryview(buf)[off:]\n", "",
           LAYS + "the_header_is_the_last_thing_written_and_one_program"),
    Mutant("make no dry run", LAYOUT, "in checks.late(flash, rbl.Header.decode(data), self.where(), self.port.feed):",
           "in ():", LAYS + "what_only_the_body_shows_is_found_before_the_restart"),
    Mutant("update in spite of another table", LAYOUT, "        if wrong:\n            raise Refused(\"table\", wrong)",
           "        if False:\n            pass", LAYS + "tables_that_disagree_are_named_and_no_update_begins"),
    Mutant("take what nobody signed", BARE, "    if not layout.port.bare:", "    if False:",
           "tests.chips.bk7238.test_bk7238_bare:test_a_board_whose_wiring_does_not_say_so_takes_none"),
    Mutant("write over a torn header", LAYOUT, "                    self._clear(flash)\n",
           "                    pass\n"),
    Mutant("forget which image was confirmed", LAYOUT,
           '            self.journal.put("header", self.header() + record.id)\n', "",
           LAYS + "an_update_is_fetched_judged_armed_installed_and_confirmed"),
    Mutant("never arm again", SETTLE, "    layout.commit()\n    return True\n", "    return False\n"),
    Mutant("count no trial", CONTRACT, "        record.trials -= 1\n", "",
           LAYS + "trials_are_counted_and_used_up_they_end_the_trial"),
    # The journal.
    Mutant("believe a torn sector", LOG, "crc != crc32(data[:8])", "crc is None",
           KEEPS + "a_bad_cell_costs_one_record_wherever_it_is"),
    Mutant("believe the sector that was read last", LOG, " or number <= self.number:", ":"),
    Mutant("erase what counts", LOG, "start = at = number % 2 * self.size", "start = at = self.number % 2 * self.size",
           KEEPS + "a_cut_anywhere_in_a_put_leaves_the_old_or_the_new_value_and_all_others"),
    Mutant("write the head before the records", LOG, FILL + HEAD, HEAD + FILL),
    Mutant("stop at a bad cell", LOG, "if found else at + self.unit", "if found else self.size",
           KEEPS + "a_bad_cell_costs_one_record_wherever_it_is"),
    Mutant("erase the other sector without a mark", LOG, "        self._claim(self.number % 2)\n", "",
           KEEPS + "a_cut_anywhere_in_a_put_leaves_the_old_or_the_new_value_and_all_others"),
    Mutant("begin over a sector that reads well again", LOG, "return _numbered(head) > self.number", "return False",
           KEEPS + "a_sector_that_reads_well_again_is_not_begun_over"),
    Mutant("leave no other sector", LOG, "for grow in (self.grows, not self.grows):", "for grow in (self.grows,):"),
    Mutant("grow what another one wrote", LOG, "            self._load(i, view)\n        self.grows = False\n",
           "            self._load(i, view)\n        self.grows = True\n",
           KEEPS + "a_power_on_needs_nothing_that_another_one_wrote_once_it_has_put"),
    Mutant("do not read a record back", LOG, "if seen != data:", "if not data:",
           KEEPS + "a_sector_of_its_own_that_wears_out_leaves_the_other_one"),
]  # fmt: skip
