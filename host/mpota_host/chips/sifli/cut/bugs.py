"""The seeded bugs of a SiFli chip: mistakes in what the manager, the log, the flash table and the session do."""

from __future__ import annotations

from mpota_host.cut.bugs import Mutant

HOME = "mpota.layout.sifli"
AREAS, CHIP, GATE, UPGRADE, BEGUN = (f"{HOME}.{name}" for name in ("layout", "port", "policy", "upgrade", "begun"))
LOADER, INSTALL, FINISH = f"{HOME}.loader", f"{HOME}.loader.install", f"{HOME}.loader.finish"
TABLE, CONTROL, PAGE, PACKETS = (f"{HOME}.store.{name}" for name in ("table", "control", "progress", "packets"))
COM, WIRE, SIGNED = (f"{HOME}.pipe.{name}" for name in ("com", "wire", "signed"))
SESSION = f"{HOME}.link.session"
INSTALLER, WRITER = "mpota.installer", "mpota.store.writer"
LOG = "mpota.store.log"
PHONE = "tests.chips.sifli.test_sifli_session:test_"
LAYS = "tests.chips.sifli.test_sifli_layout:test_"
SMALL = "tests.chips.sifli.test_sifli_lcpu:test_"
READS = "tests.chips.sifli.test_sifli_reads:test_"
KEEPS = "tests.core.test_log:test_"
# What a record's length and seal say, and what is then returned.
RECORD = "if {}: return None\nreturn bytes(data[at + 2 : mid]).decode({}), bytes(data[mid:end]), end + 4"
TORN = 'unpack("<I", data[end : end + 4])[0] != crc32(data[at:end], crc32(pack("<I", number)))'
NUMBERED = "number = _numbered(data)\n...\n"
WALK = "self.at = self._up(last) + self._up(LONGEST)"
ENDS = (
    "ends = [found[2] for found in [decode(data, n, number) for n in range(last)] if found]\n"
    "self.at = self._up(max([HEAD_SIZE, *ends]))"
)
MOVE = "self.at = self._up(at + len(record))\n"
WRITE = "self._prog(self.number % 2 * self.size + at, record)\n"
BEGIN = "if self.before: self._begin_image()\n"
PUT = "put(self.target(image), off, self.block, n)\n"

MUTANTS = [
    # The manager.
    Mutant("believe that the program is there", LOADER, "whole", "user and holds(...)", "user",
           LAYS + "bits_that_turned_in_the_program_are_healed_from_its_area"),
    Mutant("erase before the staged image is proven", INSTALL, "staged", "not holds(...)", "False"),
    Mutant("give a program up for one wrong read", INSTALL, "holds", "digest(...) == sha or digest(...) == sha",
           "digest(...) == sha", READS + "no_single_wrong_read_at_a_start_changes_what_starts_or_what_is_kept"),
    Mutant("give a trial up for one wrong read", LOADER, "_try", "(0, 1)", "(0,)",
           READS + "no_single_wrong_read_at_a_start_changes_what_starts_or_what_is_kept"),
    Mutant("wait for a phone for one wrong read", FINISH, "finish", "except (OtaError, OSError): _install(chip, buf)",
           "except (OtaError, OSError): raise",
           READS + "no_single_wrong_read_at_a_start_changes_what_starts_or_what_is_kept"),
    Mutant("begin a download anew for one wrong read", PACKETS, "load", "(0, 1)", "(0,)",
           READS + "a_kept_control_packet_that_is_read_wrongly_once_costs_no_resume"),
    Mutant("refuse an image for one wrong read", BEGUN, "sound", "(0, 1)", "(0,)",
           READS + "an_image_that_is_read_wrongly_once_at_its_end_is_taken"),
    Mutant("do not read the place back", INSTALL, "install", "digest(...) != want", "want is None"),
    Mutant("count no boot", LOADER, "settle", "record.trials -= 1", ""),
    Mutant("give nothing up", LOADER, "give_up", '_keep(journal, "failed", record.encode())', "pass"),
    Mutant("stay in the manager after a trial", LOADER, "settle", "_stay(chip, user, buf)", "False"),
    Mutant("install over the trial that runs", LOADER, "settle", "record and user and user.sha == record.sha", "False"),
    # The areas.
    Mutant("take a map whose places overlap", CHIP, "Chip.__init__", "row[0] < last[0] + last[1]", "False",
           LAYS + "a_map_whose_places_overlap_is_refused_at_once_and_names_both"),
    Mutant("stage where the retreat lies", CHIP, "free", "1 - slot", "slot"),
    Mutant("confirm nothing", AREAS, "confirm", "self.kept(record)", "pass"),
    # The log.
    Mutant("forget all but the last in a fresh log", LOG, "put", "dict(self.records)", "{}"),
    Mutant("program a unit twice", LOG, "_load", NUMBERED + WALK, NUMBERED + ENDS,
           KEEPS + "behind_a_torn_record_nothing_is_programmed_a_second_time"),
    Mutant("program cells that read blank behind a torn record", LOG, "_load", WALK, "self.at = self._up(last)",
           KEEPS + "behind_a_torn_record_nothing_is_programmed_a_second_time"),
    Mutant("program again where a put failed", LOG, "_grow", MOVE + WRITE, WRITE + MOVE,
           KEEPS + "where_a_put_failed_nothing_is_programmed_a_second_time"),
    Mutant("believe any record of the log", LOG, "decode",
           RECORD.format("... or " + TORN, ""), RECORD.format("...", "'latin-1'"),
           KEEPS + "no_length_of_a_record_is_believed"),
    Mutant("erase a stranger's sector", LOG, "_begin",
           'if wrong: raise FlashError("journal", wrong)', 'if False: raise FlashError("journal", wrong)',
           KEEPS + "a_strangers_sector_is_never_erased_and_the_error_says_where_and_what"),
    Mutant("take the older log", LOG, "_load", "number <= self.number", "self.number and number >= self.number"),
    # The flash table.
    Mutant("erase the sector that the chip starts by", TABLE, "writable", "off != at", "not at"),
    Mutant("erase a header that another one lies beside", TABLE, "put_header",
           "if not writable(flash, id): return False", ""),
    # What a phone may send.
    Mutant("compare eight bytes of a hash", WIRE, "check(record, off)", "seen != sha", "seen[:8] != sha[:8]",
           PHONE + "a_packet_that_is_not_what_it_says_ends_the_download"),
    Mutant("write wherever the offset points", WIRE, "check(record, off)", "at != off", "at is None",
           PHONE + "a_packet_that_is_not_what_it_says_ends_the_download"),
    Mutant("believe every image", BEGUN, "sound", "signed.verify(...)", "True",
           PHONE + "an_image_that_was_not_signed_is_refused_at_its_end_and_may_come_again"),
    Mutant("believe the table's key", CHIP, "public", "signed.key_hash(der) != self.nonce", "der is None",
           PHONE + "a_package_of_the_tables_own_key_is_refused_where_the_efuses_name_another"),
    Mutant("take development keys", CHIP, "public", "self.efuse[24] != SECURE", "self.efuse[24] is None",
           PHONE + "each_efuse_that_is_missing_or_wrong_refuses"),
    Mutant("leave the manager though a resource is half written", UPGRADE, "fail", "self.now.force != 0", "False",
           PHONE + "resources_that_do_not_come_keep_the_manager_until_they_do"),
    Mutant("write in place before that is kept", UPGRADE, "write", BEGIN + PUT, PUT + BEGIN,
           PHONE + "the_first_byte_in_place_keeps_the_manager_though_the_power_goes_right_before_it"),
    Mutant("take an image of the small core that nothing decrypts", GATE, "_room",
           "image.id in (...) and image.flags & control.ENC", "False",
           SMALL + "an_encrypted_image_of_the_small_core_is_refused_since_nothing_would_decrypt_it"),
    Mutant("write an image of the small core before all has come", CONTROL, "staged",
           "self.flags & COMPRESS or self.id in (...)", "self.flags & COMPRESS",
           SMALL + "an_image_of_the_small_core_goes_where_the_map_says"),
    Mutant("keep nothing before the first byte in place", UPGRADE, "_begin_image", "self.keep(progress.TRAN_START)",
           "pass", "phone"),
    Mutant("take the version that runs", GATE, "admits", "seen > low", "seen >= low",
           PHONE + "the_version_that_runs_is_refused_and_one_that_is_newer_resumes"),
    Mutant("go on with another package", UPGRADE, "matches", "found.same() == self.now.same", "found is not None",
           PHONE + "a_resume_of_another_package_is_refused"),
    Mutant("never give up a silent phone", SESSION, "_ask", 'self._arm("check", QUIET_MS)', "",
           PHONE + "a_phone_that_falls_silent_is_asked_and_then_given_up"),
]  # fmt: skip
