"""Seeded bugs of a layout, hunted by name: every one has to be found."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from mpota_host.cut import mutants
from mpota_host.cut.hostile import make_pems


def found(layout: str, names: Collection[str]) -> None:
    """Hunt the bugs with these names, two at a time; AssertionError for one that survives or cannot be tried."""
    pems = make_pems()
    wanted = [m for m in mutants.bugs_of(layout).MUTANTS if m.name in names]
    assert len(wanted) == len(names)
    with ThreadPoolExecutor(2) as pool:
        for verdict in pool.map(lambda m: mutants.try_one(m, layout, pems), wanted):
            assert verdict.found and not verdict.broken, verdict
