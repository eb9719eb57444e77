"""The seeded bugs of a SiFli chip: mistakes in what the manager, the log, the flash table and the session do."""

from __future__ import annotations

from mpota_host.cut.bugs import Mutant

HOME = "mpota.layout.sifli"
AREAS, CHIP, GATE, UPGRADE = (f"{HOME}.{name}" for name in ("layout", "port", "policy", "upgrade"))
LOADER, INSTALL, FINISH = f"{HOME}.loader", f"{HOME}.loader.install", f"{HOME}.loader.finish"
TABLE, CONTROL, PAGE = (f"{HOME}.store.{name}" for name in ("table", "control", "progress"))
COM, WIRE, SIGNED = (f"{HOME}.pipe.{name}" for name in ("com", "wire", "signed"))
TRANSFER, SESSION = f"{HOME}.link.transfer", f"{HOME}.link.session"
INSTALLER, WRITER = "mpota.installer", "mpota.store.writer"
LOG = "mpota.store.log"
PHONE = "tests.chips.sifli.test_sifli_session:test_"
LAYS = "tests.chips.sifli.test_sifli_layout:test_"
KEEPS = "tests.core.test_log:test_"
SEAL = ' or unpack("<I", data[end : end + 4])[0] != crc32(data[at:end], crc32(pack("<I", number)))'
TAG = ":\n        return None\n    return bytes(data[at + 2 : mid])"
WALK = (
    "        # Where a cut tore the last record, cells as far as one reaches may be torn though they read blank.\n"
    "        self.at = self._up(last) + self._up(LONGEST)\n"
)

MUTANTS = [
    # The manager.
    Mutant(
        "believe that the program is there",
        LOADER,
        "user and digest(chip.user, user.size, buf, chip.feed) == user.digest",
        "user",
        LAYS + "bits_that_turned_in_the_program_are_healed_from_its_area",
    ),
    Mutant(
        "erase before the staged image is proven", INSTALL, "digest(area, size, buf, chip.feed) != sha", "sha is None"
    ),
    Mutant(
        "do not read the place back", INSTALL, "digest(chip.user, com.total, buf, chip.feed) != want", "want is None"
    ),
    Mutant("count no boot", LOADER, "            record.trials -= 1\n            _keep", "            _keep"),
    Mutant("give nothing up", LOADER, '    _keep(journal, "failed", record.encode())\n', "    pass\n"),
    Mutant("stay in the manager after a trial", LOADER, "    return _stay(chip, user, buf)", "    return False"),
    Mutant("install over the trial that runs", LOADER, "if record and user and user.sha == record.sha:", "if False:"),
    # The areas.
    Mutant("stage where the retreat lies", CHIP, "return 1 - slot if", "return slot if"),
    Mutant("confirm nothing", AREAS, "            self.kept(record)", "            pass"),
    # The log.
    Mutant(
        "forget all but the last in a fresh log",
        LOG,
        "_noted(dict(self.records), tag, data)",
        "_noted({}, tag, data)",
    ),
    Mutant(
        "program a unit twice",
        LOG,
        WALK,
        "        ends = [found[2] for found in [decode(data, n, number) for n in range(last)] if found]\n"
        "        self.at = self._up(max([HEAD_SIZE, *ends]))\n",
        KEEPS + "behind_a_torn_record_nothing_is_programmed_a_second_time",
    ),
    Mutant(
        "program cells that read blank behind a torn record",
        LOG,
        "self.at = self._up(last) + self._up(LONGEST)",
        "self.at = self._up(last)",
        KEEPS + "behind_a_torn_record_nothing_is_programmed_a_second_time",
    ),
    Mutant(
        "program again where a put failed",
        LOG,
        "        self.at = self._up(at + len(record))\n        self._prog(self.number % 2 * self.size + at, record)\n",
        "        self._prog(self.number % 2 * self.size + at, record)\n        self.at = self._up(at + len(record))\n",
        KEEPS + "where_a_put_failed_nothing_is_programmed_a_second_time",
    ),
    Mutant(
        "believe any record of the log",
        LOG,
        SEAL + TAG + ".decode()",
        TAG + ".decode('latin-1')",
        KEEPS + "no_length_of_a_record_is_believed",
    ),
    Mutant(
        "erase a stranger's sector",
        LOG,
        "        if wrong:\n            raise FlashError",
        "        if False:\n            raise FlashError",
        KEEPS + "a_strangers_sector_is_never_erased_and_the_error_says_where_and_what",
    ),
    Mutant("take the older log", LOG, "number <= self.number", "self.number and number >= self.number"),
    # The flash table.
    Mutant(
        "erase the sector that the chip starts by", TABLE, "if off != at and not _blank", "if not at and not _blank"
    ),
    Mutant(
        "erase a header that another one lies beside",
        TABLE,
        "    if not writable(flash, id):\n        return False\n",
        "",
    ),
    # What a phone may send.
    Mutant(
        "compare eight bytes of a hash",
        WIRE,
        "if seen != sha:",
        "if seen[:8] != sha[:8]:",
        PHONE + "a_packet_that_is_not_what_it_says_ends_the_download",
    ),
    Mutant(
        "write wherever the offset points",
        WIRE,
        "if at != off:",
        "if at is None:",
        PHONE + "a_packet_that_is_not_what_it_says_ends_the_download",
    ),
    Mutant(
        "believe every image",
        UPGRADE,
        "return signed.verify(chip.public(), image.sig, sha)",
        "return True",
        PHONE + "an_image_that_was_not_signed_is_refused_at_its_end_and_may_come_again",
    ),
    Mutant(
        "believe the table's key",
        CHIP,
        "if signed.key_hash(der) != self.nonce:",
        "if der is None:",
        PHONE + "a_package_of_the_tables_own_key_is_refused_where_the_efuses_name_another",
    ),
    Mutant(
        "take development keys",
        CHIP,
        "if self.efuse[24] != SECURE:",
        "if self.efuse[24] is None:",
        PHONE + "each_efuse_that_is_missing_or_wrong_refuses",
    ),
    Mutant(
        "leave the manager though a resource is half written",
        UPGRADE,
        "stays = self.now.force != 0",
        "stays = False",
        PHONE + "resources_that_do_not_come_keep_the_manager_until_they_do",
    ),
    Mutant(
        "write in place before that is kept",
        UPGRADE,
        "            if self.before:\n                self._begin_image()\n"
        "            put(self.target(image), off, self.block, n)\n",
        "            put(self.target(image), off, self.block, n)\n"
        "            if self.before:\n                self._begin_image()\n",
        PHONE + "the_first_byte_in_place_keeps_the_manager_though_the_power_goes_right_before_it",
    ),
    Mutant(
        "take the version that runs",
        GATE,
        "return seen > low or",
        "return seen >= low or",
        PHONE + "the_version_that_runs_is_refused_and_one_that_is_newer_resumes",
    ),
    Mutant(
        "go on with another package",
        UPGRADE,
        "found.same() == self.now.same",
        "found is not None",
        PHONE + "a_resume_of_another_package_is_refused",
    ),
    Mutant(
        "never give up a silent phone",
        TRANSFER,
        '        self._arm("check", QUIET_MS)\n',
        "",
        PHONE + "a_phone_that_falls_silent_is_asked_and_then_given_up",
    ),
]
