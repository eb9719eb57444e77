"""The seeded bugs of the PIC32MZW1's loader, layout, database and service, see mpota_host/cut/bugs.py.

The campaign updates by packages, so the bugs of the vendor's service are found by its tests.
"""

from __future__ import annotations

from mpota_host.cut.bugs import Mutant

HOME = "mpota.layout.pic32"
CONTROL, DATABASE, FILES = (f"{HOME}.store.{part}" for part in ("control", "database", "files"))
LAYOUT, GOLDEN, LOADER, SETTLE, SERVICE = (
    f"{HOME}.{part}" for part in ("layout", "loader.programmer", "loader", "settle", "service")
)
ACCEPT, ERASE = f"{HOME}.accept", f"{HOME}.erase"
MANIFEST, MQTT = f"{HOME}.link.manifest", f"{HOME}.link.mqtt"
TESTS = "tests.chips.pic32.test_pic32"
LOADS, HEALS, SERVES, BROKER = (f"{TESTS}_{part}:test_" for part in ("loader", "heal", "service", "mqtt"))
FORMATS, LAYS, STRANGER, JSON = (f"{TESTS}_{part}:test_" for part in ("formats", "layout", "hostile", "json"))
PROVES, TURNS, SIGNS = (f"{TESTS}_{part}:test_" for part in ("proof", "turns", "signed"))
RECORD = 'self.journal.put("armed", record.encode())\n'
STAGE = "self.stage(record, n, name)\n"
ROWS = "for row in ... if page and rows else (): ...\n"
PUT, DROP = "files.put(NAME, text)\n", "files.remove(NEW)\n"
LOST = "\n    name = ...\n    ..."
FETCH = "\nyield from self._download(offer.url, target)"

MUTANTS = [
    # The loader.
    Mutant("count no boots", LOADER, "start", "self.again(lambda: control.count(self.flash, page))", "pass"),
    Mutant("a blank page is the factory's", LOADER, "_Loader.boot",
           ROWS + "return self.select(rows)", ROWS + "return self.select(rows if page else [])"),
    Mutant("the factory image before what waits", LOADER, "best",
           "row.status in (DOWNLOADED, VALID)", "row.status == VALID"),
    Mutant("rank what is disabled", LOADER, "best", "... and row.status in (DOWNLOADED, VALID) and ...", "... and ..."),
    Mutant("program a file that is not its row's", LOADER, "judge", "sha != row.digest or ...", "...",
           LOADS + "nothing_is_erased_for_a_file_that_is_not_what_its_row_says"),
    Mutant("program what does not fit", LOADER, "judge",
           "... or not PAGE < n <= self.flash.size or ...", "... or ...",
           LOADS + "an_image_that_does_not_fit_is_refused_before_anything_is_erased"),
    Mutant("delete the row of a bad image", LOADER, "select(self, rows)", "row.mark(DISABLED)", "rows.remove(row)"),
    Mutant("do not read a sector back", GOLDEN, "sector", "seen[:n] != buf[:n]", "n < 0"),
    Mutant("start what rotted", GOLDEN, "rotten", "self.code(page.size) != page.code", "False"),
    Mutant("give up at the first failure", GOLDEN, "again", "range(2)", "range(0)",
           HEALS + "a_flash_that_fails_once_or_twice_is_asked_again_and_then_another_image_runs"),
    Mutant("give the factory image no page", GOLDEN, "factory", "self.clear(VALID)", "pass",
           LOADS + "the_factory_image_is_restored_once"),
    Mutant("forget why the factory image runs", GOLDEN, "factory",
           "database.drop(self.store, rows)", "database.drop(self.store)"),
    Mutant("believe a page that was cut", CONTROL, "decode", "rest[4:8] != seal(buf)", "not rest",
           FORMATS + "every_bit_of_a_sealed_page_but_status_slot_and_order_is_sealed"),
    Mutant("believe a build's page that was cut", CONTROL, "decode",
           'rest.strip(b"\\0") and ...', "not rest and ...",
           FORMATS + "the_page_of_a_build_reads_and_one_set_bit_in_its_zeros_is_noticed"),
    # The database.
    Mutant("write the database in place", DATABASE, "save", "files.put(NEW, _head(text) + text)", ""),
    Mutant("believe half a database", DATABASE, "load", "new[:9] == _head(text)", "text",
           FORMATS + "a_database_is_the_old_one_or_the_new_one_wherever_the_power_goes"),
    Mutant("trust a database before it is there", DATABASE, "save", PUT + DROP, DROP + PUT),
    Mutant("a row without a digest is whole", DATABASE, "__init__", "... and _digest(fields[4]) is not None", "...",
           FORMATS + "rows_that_lack_a_column_or_have_one_too_long_are_not_whole_and_not_written"),
    Mutant("read a version as it is written", DATABASE, "coded", "int(str(n), 16)", "n",
           FORMATS + "a_number_is_written_and_read_as_the_same_number"),
    # The layout.
    Mutant("arm before the journal knows", LAYOUT, "put_armed", RECORD + STAGE, STAGE + RECORD),
    Mutant("tidy what is being fetched", LAYOUT, "ready", "self.tidy(self.free())", "self.tidy()"),
    Mutant("keep files that no row names", LAYOUT, "ready", "self.tidy(self.free())", "pass",
           LAYS + "the_store_keeps_its_number_of_rows_and_the_files_that_they_name"),
    Mutant("write over a file that a row names", LAYOUT, "free", '"image%d" % i in taken', '"image%d" % i is None',
           LAYS + "the_store_keeps_its_number_of_rows_and_the_files_that_they_name"),
    Mutant("compare names letter by letter", FILES, "fold", 'name.lower().rstrip(". ")', "name",
           STRANGER + "a_file_that_a_row_names_in_another_way_is_kept_and_one_that_none_names_goes"),
    Mutant("forget that FAT has short names", LAYOUT, "named", "there if hidden else ()", "()",
           STRANGER + "a_file_that_a_row_names_in_another_way_is_kept_and_one_that_none_names_goes"),
    Mutant("install what the bootloader will not start", LAYOUT, "_want_signature",
           "self.port.boot_key is not None and not self._signs", "not self",
           SIGNS + "a_package_without_a_signature_is_refused_before_it_is_stored"),
    Mutant("believe the signature of a package", LAYOUT, "check",
           "not p256.verify_text(self.port.boot_key, text, self._image)", "not text",
           SIGNS + "a_signature_of_another_image_or_key_is_refused_before_the_image_is_armed"),
    Mutant("number an image like the one before", LAYOUT, "following", "max(...) + 1", "max(...)"),
    Mutant("take another chip's image", LAYOUT, "admit", "judge(head, part.size, self.port.address)", "pass"),
    Mutant("drop the row of what runs", LAYOUT, "_worth", "return row is self.port.row([row]), ...", "return ...,",
           LAYS + "the_row_of_what_runs_is_never_the_one_that_goes"),
    # What a boot finishes.
    Mutant("do not finish what a cut parted", SETTLE, "_again",
           "if row is None:" + LOST, "if True:\n    return False" + LOST),
    Mutant("count no trial when arming again", SETTLE, "_again", "record.trials -= 1", "",
           LAYS + "an_image_that_the_loader_never_starts_is_given_up_after_its_trials"),
    Mutant("leave an image its row", SETTLE, "leave", "if row:\n    row.mark(DISABLED)\n    ...", ""),
    Mutant("note no reason", SETTLE, "retreat", "layout.note(record, why)", "",
           LAYS + "status_says_what_runs_what_is_there_and_why"),
    # The vendor's service.
    Mutant("believe the manifest's digest", SERVICE, "_verify", "sha != offer.digest", "not sha",
           SERVES + "a_digest_that_is_another_leaves_nothing"),
    Mutant("believe any signature", ACCEPT, "prove",
           "_signs(service.key, entry.signature, entry.digest)", "entry.signature",
           STRANGER + "a_signature_is_judged_before_the_download"),
    Mutant("believe any number", ACCEPT, "prove",
           "not bound or _signs(service.key, entry.proof, sha256(entry.signed()).digest())", "True",
           PROVES + "an_old_signed_image_does_nothing_under_another_number"),
    Mutant("ask for the vendor's signature alone", ACCEPT, "prove",
           "not bound and not service.vendor_manifest", "not service", PROVES + "both_signatures_are_asked_for"),
    Mutant("take another product's image", ACCEPT, "prove",
           "entry.product != service.board.product", "not service",
           PROVES + "an_image_of_another_product_is_passed_over_and_named_where_there_is_no_other"),
    Mutant("sign no EraseVer", MANIFEST, "signed", "(self.product, self.number, digest, self.erase)",
           "(self.product, self.number, digest, 0)",
           STRANGER + "a_manifest_of_a_stranger_erases_nothing"),
    Mutant("let a number jump", ACCEPT, "limits", "min(now + service.jump, NUMBERS) if now else NUMBERS", "NUMBERS",
           PROVES + "a_number_may_not_jump"),
    Mutant("look at one offer", MANIFEST, "_take", "del offers[OFFERS:]", "del offers[1:]",
           PROVES + "of_some_offers_the_first_that_counts_is_taken"),
    Mutant("take what nobody signed", ACCEPT, "prove", "service.key is None and service.bare", "service.key is None",
           STRANGER + "without_a_key_nothing_is_installed_or_even_fetched"),
    Mutant("withdraw the only image", SETTLE, "withdraw", "not others(layout, rows)", "not rows",
           PROVES + "what_is_withdrawn_stays_where_nothing_else_would_start"),
    Mutant("withdraw what a stranger names", ERASE, "_erase",
           "if not trusted: ...\nlayout.withdraw()", "layout.withdraw()",
           STRANGER + "a_manifest_of_the_vendors_erases_neither_what_runs_nor_the_last_way_back"),
    Mutant("forget what was withdrawn", ERASE, "_erase",
           "n > now and not [row for row in gone if row.status != DISABLED]", "n > 999",
           PROVES + "the_image_that_runs_is_withdrawn_with_its_reason"),
    Mutant("take what the manifest withdraws", SERVICE, "_check", "one.number not in gone", "one.number",
           PROVES + "an_offer_that_the_same_manifest_withdraws_is_left_out"),
    Mutant("leave the page its number", SETTLE, "renumber",
           "control.disable(layout.port.flash)", "pass",
           PROVES + "a_row_that_gets_the_number_of_the_page_is_not_taken_for_it"),
    Mutant("fetch what failed at every poll", SERVICE, "_admit", "mark == offer.mark and n >= TRIES", "not offer",
           STRANGER + "an_image_that_failed_by_itself_is_fetched_once"),
    Mutant("erase the last way back", ERASE, "_erase",
           "not trusted and _last(layout, rows, gone)", "not trusted and _last(layout, [], gone)",
           STRANGER + "a_manifest_of_the_vendors_erases_neither_what_runs_nor_the_last_way_back"),
    Mutant("take a name from the URL", SERVICE, "_bring", "target = self.layout.incoming()" + FETCH,
           "target = files.Stored(self.layout.port.files, offer.url.rpartition('/')[2], self.layout.port.flash.size)"
           + FETCH,
           STRANGER + "nothing_in_the_store_is_written_over_whatever_the_url_is_called"),
    Mutant("wait for a server that drips", SERVICE, "_fill", "waited + ms > SLOW_MS", "ms < 0",
           STRANGER + "a_server_that_drips_costs_the_application_no_turn_and_comes_to_an_end"),
    Mutant("believe that keys are text", MANIFEST, "_lower(entry)", "not isinstance(key, str)", "key is entry",
           JSON + "a_key_that_is_no_text_is_an_entry_that_is_wrong"),
    Mutant("die of a message", MQTT, "_told", "except Exception as e: ...", "except SyntaxError as e: ...",
           JSON + "no_message_of_a_broker_ends_the_trigger_or_its_service"),
    Mutant("wait for a broker", MQTT, "_begin", "yield from self.dial()", "self.wait(self.dial())\nyield",
           BROKER + "no_step_waits_for_a_broker_or_a_name_server_whatever_they_do"),
    Mutant("write again what a broken line has brought", FILES, "Stored.prog",
           "self.again and self._holds(off, buf)", "0",
           SERVES + "a_bad_line_writes_the_same_bytes_into_the_store_once"),
    Mutant("leave an older image's bytes behind a shorter one", FILES, "Stored.end", "have != n", "have < n",
           SERVES + "bytes_of_a_longer_image_behind_the_end_cost_one_more_download"),
    Mutant("take lower versions", MANIFEST, "_take", "n > self.low", "True",
           SERVES + "equal_and_lower_versions_are_not_taken"),
    Mutant("take again what was given up here", ACCEPT, "_judged",
           "row.digest == offer.digest and row.status == DISABLED", "not row",
           PROVES + "a_renumbered_image_keeps_its_version_and_what_was_given_up"),
    Mutant("confirm before the manifest answers", SERVICE, "opening",
           "yield from self.service.manifest()", "yield from ()",
           TURNS + "a_link_that_is_dead_or_brings_no_manifest_confirms_nothing"),
    Mutant("blame an image for what its application does without it", SERVICE, "failed", "self.ailing", "not self",
           TURNS + "an_application_that_died_before_too_says_nothing_of_the_image"),
    Mutant("excuse every image", SETTLE, "excuse", "... or said != repr(why.encode()[:64])[2:-1]", "... or not why",
           TURNS + "an_image_given_up_for_an_application_that_dies_without_it_too_is_tried_again"),
    Mutant("take the last entry", MANIFEST, "_take", "i and n > offers[i - 1].number", "i",
           FORMATS + "the_highest_version_of_a_manifest_wins_and_the_last_one_only_where_that_is_asked_for"),
]  # fmt: skip
