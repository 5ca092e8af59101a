"""What a coordinator remembers of a peer from job to job, and what follows from it (DESIGN section 8).

Trust is local: it rests on this coordinator's own checks and on what its owner says. Clean results fade with age,
since machines are sold and keys stolen. A lie costs all of them and a ban that doubles with each offence. A single
wrong result after very many right ones looks like a faulty machine: that is cooled down for a day and begins anew.
"""

import math
from dataclasses import dataclass, replace

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
CLEAN_HALF_LIFE_S = 30 * DAY_S
"""After so long without news half of the clean results still count."""
BAN_S = 30 * DAY_S
BAN_S_MAX = 2 * 365 * DAY_S
COOL_DOWN_S = DAY_S
FAULTY_CLEAN_MIN = 2000.0
"""Clean results before a first wrong one from which it counts as a fault of the machine. By then a sleeper has done
ten times the default dues of honest work for the one lie, which is taken back like any other."""


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """One peer. Times are Unix seconds."""

    peer: str
    clean: float = 0.0
    """Clean results as of `seen_unix_s`; see `clean_at`."""
    audits: int = 0
    """Its results that our own executions confirmed, ever."""
    offences: int = 0
    first_unix_s: float = 0.0
    seen_unix_s: float = 0.0
    banned_until_unix_s: float = 0.0
    reason: str = ""
    """Why it is or was banned last."""
    paired: bool = False
    """Its owner is known to ours: it is checked as one that has long paid its dues."""

    def clean_at(self, now: float) -> float:
        """Clean results that still count."""
        age_s = max(0.0, now - self.seen_unix_s)
        return self.clean * math.pow(0.5, age_s / CLEAN_HALF_LIFE_S)

    def is_banned(self, now: float) -> bool:
        """Whether it gets no work now."""
        return now < self.banned_until_unix_s


def after_clean(record: TrustRecord, clean: float, audits: int, now: float) -> TrustRecord:
    """So many more of its results stand, and so many of our executions confirmed one."""
    return replace(_seen(record, now), clean=record.clean_at(now) + clean, audits=record.audits + audits)


def looks_faulty(record: TrustRecord, now: float) -> bool:
    """Whether a wrong result now is to be taken for a fault of the machine."""
    return record.offences == 0 and record.clean_at(now) >= FAULTY_CLEAN_MIN


def consequence_in_words(record: TrustRecord, now: float) -> str:
    """For the owner of the peer: what a wrong result now leads to, and what may be behind it."""
    if looks_faulty(record, now):
        return (
            "after very many right ones, so this is probably a fault of the machine, most often of its memory; "
            "it may come back in a day"
        )
    return f"no more work from this coordinator for {_ban_s(record, now) / DAY_S:.0f} days"


def after_wrong(record: TrustRecord, reason: str, now: float) -> TrustRecord:
    """A result of its was found wrong: its clean results are gone and it is banned, for longer each time."""
    until = now + _ban_s(record, now)
    return after_ban(replace(_seen(record, now), clean=0.0, offences=record.offences + 1), reason, until)


def after_ban(record: TrustRecord, reason: str, until: float) -> TrustRecord:
    """Banned until then, at least; the owner's word, or what follows from a lie."""
    return replace(record, banned_until_unix_s=max(record.banned_until_unix_s, until), reason=reason, paired=False)


def _ban_s(record: TrustRecord, now: float) -> float:
    return COOL_DOWN_S if looks_faulty(record, now) else min(BAN_S_MAX, BAN_S * 2.0 ** min(record.offences, 32))


def _seen(record: TrustRecord, now: float) -> TrustRecord:
    return replace(record, seen_unix_s=max(now, record.seen_unix_s), first_unix_s=record.first_unix_s or now)
