"""What a campaign tells: lines for a person, one object of JSON. The page is page.py's."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from mpota_host.cut.campaign import Result
from mpota_host.cut.explore import CATEGORIES, OUTCOMES, Failure, Tally
from mpota_host.cut.hostile import Hostile
from mpota_host.cut.mutants import Verdict
from mpota_host.cut.processes import Killed

# Characters of what found a seeded bug.
SHOWN = 90


@dataclass
class Report:
    """Everything that one run of `mpota cut` found.

    `ident`: of the one state that was played again. `options`: what a replay has to be given too.
    """

    layout: str
    result: Result = field(default_factory=Result)
    hostile: Hostile = field(default_factory=Hostile)
    killed: Killed | None = None
    verdicts: Sequence[Verdict] = ()
    seconds: float = 0.0
    ident: str = ""
    options: str = ""

    @property
    def bad(self) -> list[Failure]:
        """All of it, the shortest way first."""
        found = self.result.tally.bad + self.result.faults.bad + self.hostile.bad
        found += self.killed.bad if self.killed else []
        return sorted(found, key=lambda b: (b.path.count("+"), len(b.path)))

    @property
    def survivors(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.broken or not v.found]

    @property
    def good(self) -> bool:
        return not self.bad and not self.survivors

    def facts(self) -> dict[str, object]:
        """For --json."""
        tally, faults = self.result.tally, self.result.faults
        return {
            "layout": self.layout,
            "states": len(tally.marks),
            "cuts": tally.cuts,
            "nested": tally.nested,
            "torn": tally.torn,
            "bad": len(self.bad),
            "mutants": len(self.verdicts),
            "killed": killed(self),
            "seconds": round(self.seconds, 1),
            "phases": {name: tally.categories()[name] for name in CATEGORIES},
            "outcomes": {name: tally.ends()[name] for name in OUTCOMES},
            "depths": {str(k): n for k, n in sorted(tally.depths.items())},
            "faults": dict(faults.lives),
            "hostile": sum(self.hostile.offered.values()),
            "found_by": {v.name: v.found for v in self.verdicts},
            "kills": self.killed.kills if self.killed else {},
            "updates": self.killed.updates if self.killed else {},
            "failures": [{"id": b.ident, "rule": b.rule, "text": b.text} for b in self.bad],
        }


def lines(report: Report) -> list[str]:
    """For a person."""
    if report.killed:
        return _of_processes(report, report.killed)
    if report.ident:
        return _of_one(report)
    out = _of_cuts(report) if report.result.tally.outcomes else []
    faults = report.result.faults.lives
    if faults:
        out.append("  faults    " + ", ".join(f"{kind} {n:,}" for kind, n in faults.items()))
    if report.hostile.offered:
        out.append(f"  hostile   {sum(report.hostile.offered.values())} releases that no board may start")
    out.append(f"  bad       {len(report.bad)}")
    if report.verdicts:
        out.append(f"  seeded    {killed(report)} of {len(report.verdicts)} bugs found")
        out += [f"    {v.name:40} {_word(v)}" for v in report.verdicts]
    for bad in report.bad[:5]:
        again = f"mpota cut --layout {report.layout}{report.options} --replay '{bad.ident}'"
        out += [f"BAD {bad.text}", f"    again: {again}", *(f"    {line}" for line in bad.map)]
    return out


def killed(report: Report) -> int:
    """Seeded bugs that were found."""
    return len(report.verdicts) - len(report.survivors)


def _of_cuts(report: Report) -> list[str]:
    tally, ends = report.result.tally, report.result.tally.ends()
    return [
        f"power campaign, layout {report.layout}: {len(tally.marks):,} states tried in {report.seconds:.0f} s",
        f"  cuts      {tally.cuts:,} seen, {tally.nested:,} of them in a life after a cut, {tally.torn:,} torn",
        "  depth     " + ", ".join(f"{depth}: {n:,}" for depth, n in sorted(tally.depths.items())),
        "  where     " + _shares(tally),
        "  outcomes  " + ", ".join(f"{name} {ends[name]:,}" for name in OUTCOMES),
    ]


def _of_one(report: Report) -> list[str]:
    """One state that was played again."""
    ends = [f", {outcome}, cut in: {where}" for where, outcome in report.result.tally.outcomes]
    word = f"{len(report.bad)} bad" if report.bad else "good"
    return [f"{report.ident}: {word}{''.join(ends)}", *(f"BAD {bad.text}" for bad in report.bad)]


def _of_processes(report: Report, killed: Killed) -> list[str]:
    kills = ", ".join(f"{link} {n}" for link, n in killed.kills.items())
    done = ", ".join(f"{link} {n}" for link, n in killed.updates.items())
    return [
        f"a virtual board killed with SIGKILL in real updates: {kills}; in {report.seconds:.0f} s",
        f"  completed {done} updates; {killed.resumed} times in the middle of a package",
        f"  bad       {len(killed.bad)}",
        *(f"BAD {bad.ident} {bad.text}" for bad in killed.bad),
    ]


def _shares(tally: Tally) -> str:
    kinds, n = tally.categories(), max(1, len(tally.marks))
    return ", ".join(f"{name} {kinds[name] / n:.0%}" for name in CATEGORIES)


def _word(verdict: Verdict) -> str:
    if verdict.broken:
        return f"COULD NOT BE TRIED: {verdict.found}"
    return textwrap.shorten(verdict.found, SHOWN, placeholder=" ...") if verdict.found else "NOT FOUND"
