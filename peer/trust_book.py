"""Trust from job to job, kept in the journal: what each peer has earned, the evidence behind it, and the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from peer.journal import Journal
from peer.trust_views import EvidenceView, LedgerView, TrustView
from protocol.bodies import Receipt
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.signing import Envelope, open_envelope
from protocol.trust import (
    COOL_DOWN_S,
    DAY_S,
    TrustRecord,
    after_ban,
    after_clean,
    after_wrong,
    consequence_in_words,
    looks_faulty,
)

TRUST_PEERS_MAX = 20_000
"""Rows; those with the fewest clean results that were seen longest ago go first, banned and paired ones last."""
EVIDENCE_PER_PEER_MAX = 50
INTRODUCER_CLEAN_MIN = 200.0
INTRODUCTION_CREDITS_MIN = 10.0
PAIRED_CLEAN = 1e9
"""What a paired peer counts as having: audits at the lowest rate."""

_COLUMNS = "peer, clean, audits, offences, first_unix_s, seen_unix_s, banned_until_unix_s, reason, paired"


class TrustBook:
    """One per journal. Raises `LocalError` as the journal does."""

    def __init__(self, journal: Journal, wall_clock: Callable[[], float]) -> None:
        self._journal = journal
        self._now = wall_clock

    # What jobs ask and tell.

    def clean_of(self, peer: str) -> float:
        """Its clean results, with those from long ago counting less."""
        record = self._record(peer)
        return PAIRED_CLEAN if record.paired else record.clean_at(self._now())

    def is_paired(self, peer: str) -> bool:
        """Whether its owner is known here."""
        return self._record(peer).paired

    def is_introduced(self, peer: PeerId, receipts: Sequence[Envelope]) -> bool:
        """Whether somebody whom we know has paid this peer for work; raises `RemoteError` for a forged receipt.

        That somebody must be paired or have done more for us than it takes to seem reliable, and must not be banned.
        """
        opened = [(one.signer, open_envelope(one, Receipt)) for one in receipts]
        banned = self.banned() if opened else {}
        return any(
            receipt.worker == peer != issuer
            and receipt.credits >= INTRODUCTION_CREDITS_MIN
            and issuer not in banned
            and self.clean_of(issuer) >= INTRODUCER_CLEAN_MIN
            for issuer, receipt in opened
        )

    def banned(self) -> dict[str, str]:
        """Who gets no work at this moment, and why."""
        rows = self._journal.read("SELECT peer, reason FROM trust WHERE banned_until_unix_s > ?", self._now())
        return dict(rows)

    def add_clean(self, peer: str, job: str, clean: float, audits: int) -> None:
        """What it has earned in a job."""
        self._save(after_clean(self._record(peer), clean, audits, self._now()))
        if audits:
            self._add_evidence(peer, "clean", job, f"{clean:g} results stand; {audits} were executed again here")

    def caught(self, peer: str, job: str, what: str, proof: str = "") -> str:
        """A result of its was found wrong; `proof` says where the proof is. What follows, for its owner.

        What counts on its word alone is in doubt from then on.
        """
        record, now = self._record(peer), self._now()
        kind = "fault" if looks_faulty(record, now) else "lie"
        # All or nothing: else its ban could outlive a crash, and the results that it makes doubtful stand.
        with self._journal.transaction(durable=True):
            self._save(after_wrong(record, what, now))
            self._add_evidence(peer, kind, job, f"{what}; {proof}" if proof else what)
            self._journal.doubt(peer)
        return consequence_in_words(record, now)

    def rest(self, peer: str, kind: str, what: str, job: str = "", *, doubted: bool = False) -> str:
        """No work for it for `COOL_DOWN_S`: there is something against it, but no lie to us. What follows, in words.

        `doubted`: what counts on its word alone is in doubt all the same.
        """
        record = self._record(peer)
        with self._journal.transaction(durable=True):
            self._save(replace(after_ban(record, what, self._now() + COOL_DOWN_S), paired=record.paired))
            self._add_evidence(peer, kind, job, what)
            if doubted:
                self._journal.doubt(peer)
        return f"no more work from this coordinator for {COOL_DOWN_S / DAY_S:.0f} day"

    # What the owner asks and says.

    def trust(self) -> list[TrustView]:
        """All peers, those banned first, then by clean results."""
        now = self._now()
        views = [_view(_from_row(row), now) for row in self._journal.read(f"SELECT {_COLUMNS} FROM trust")]
        return sorted(views, key=lambda one: (one.banned_for_s <= 0, not one.paired, -one.clean, one.peer))

    def evidence(self, peer: str) -> list[EvidenceView]:
        """What is behind its numbers, the newest first."""
        rows = self._journal.read(
            "SELECT at_unix_s, kind, job, text FROM evidence WHERE peer = ? ORDER BY id DESC", peer
        )
        return [EvidenceView(at_unix_s=at, kind=kind, job=job, text=text) for at, kind, job, text in rows]

    def ban(self, peer: str, seconds: float, reason: str) -> None:
        """No work for it for so long."""
        with self._journal.transaction(durable=True):
            self._save(after_ban(self._record(peer), reason, self._now() + seconds))
            self._add_evidence(peer, "ban", "", f"banned by the owner: {reason}")

    def pair(self, peer: str) -> None:
        """Its owner is known: its results are audited at the lowest rate from now on, and a ban is over."""
        self._save(replace(self._record(peer), paired=True, banned_until_unix_s=0.0, reason=""))
        self._add_evidence(peer, "pair", "", "paired by the owner")

    def forget(self, peer: str) -> None:
        """As if it had never been met: ban, clean results and evidence are gone."""
        with self._journal.transaction() as connection:
            connection.execute("DELETE FROM trust WHERE peer = ?", (peer,))
            connection.execute("DELETE FROM evidence WHERE peer = ?", (peer,))

    def resolve(self, wanted: str) -> str:
        """The one peer whose id begins or ends so; a whole id may be of a peer not met yet. Raises `LocalError`."""
        known: list[str] = [
            row[0] for row in self._journal.read("SELECT peer FROM trust UNION SELECT peer FROM receipts")
        ]
        if wanted in known or looks_whole(wanted):
            return wanted
        found = sorted(peer for peer in known if peer.startswith(wanted) or peer.endswith(wanted))
        if not found:
            raise LocalError(f"no peer {wanted!r} is known here: `peer trust list` shows those that are")
        if len(found) > 1:
            raise LocalError(f"{len(found)} peers begin or end with {wanted!r}; give more of the id")
        return found[0]

    def ledger(self) -> list[LedgerView]:
        """Credits by peer: what its receipts say we earned, what ours say it earned, the balance."""
        rows = self._journal.read(
            "SELECT peer, SUM(CASE WHEN given THEN 0 ELSE credits END), SUM(CASE WHEN given THEN credits ELSE 0 END), "
            "COUNT(*) FROM receipts GROUP BY peer ORDER BY peer"
        )
        return [LedgerView(peer=peer, earned=got, spent=gave, receipts=count) for peer, got, gave, count in rows]

    # Rows.

    def _record(self, peer: str) -> TrustRecord:
        rows = self._journal.read(f"SELECT {_COLUMNS} FROM trust WHERE peer = ?", peer)
        return _from_row(rows[0]) if rows else TrustRecord(peer)

    def _save(self, one: TrustRecord) -> None:
        values = (one.peer, one.clean, one.audits, one.offences, one.first_unix_s, one.seen_unix_s)
        more = (one.banned_until_unix_s, one.reason, one.paired)
        with self._journal.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO trust VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, *more))
            connection.execute(
                "DELETE FROM trust WHERE peer IN (SELECT peer FROM trust "
                "ORDER BY paired DESC, banned_until_unix_s > ? DESC, clean > 1 DESC, seen_unix_s DESC "
                "LIMIT -1 OFFSET ?)",
                (self._now(), TRUST_PEERS_MAX),
            )

    def _add_evidence(self, peer: str, kind: str, job: str, text: str) -> None:
        self._journal.add_evidence(peer, kind, job, text, self._now(), EVIDENCE_PER_PEER_MAX)


def looks_whole(text: str) -> bool:
    """Whether it has the form of a peer id."""
    return text.startswith("12D3KooW") and len(text) == PEER_ID_CHARS


PEER_ID_CHARS = 52


def pick(views: Sequence[TrustView], peer: str) -> TrustView:
    """The view of this peer; an empty one for a peer not met yet."""
    return next((one for one in views if one.peer == peer), TrustView(peer=peer))


def _from_row(row: tuple) -> TrustRecord:  # type: ignore[type-arg]
    return replace(TrustRecord(*row), paired=bool(row[-1]))


def _view(record: TrustRecord, now: float) -> TrustView:
    return TrustView(
        peer=record.peer,
        clean=record.clean_at(now),
        audits=record.audits,
        offences=record.offences,
        paired=record.paired,
        banned_for_s=max(0.0, record.banned_until_unix_s - now),
        reason=record.reason,
        seen_unix_s=record.seen_unix_s,
    )
