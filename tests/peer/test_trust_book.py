"""Trust in the journal: it survives restarts, stays bounded, and carries over what older journals knew."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import msgspec
import pytest
from dying_journal import DyingJournal, Killed
from receipts import receipt

from peer import trust_book as trust_book_module
from peer.journal import Journal
from peer.journal_schema import MIGRATIONS
from peer.trust_book import INTRODUCER_CLEAN_MIN, INTRODUCTION_CREDITS_MIN, TrustBook, pick
from peer.views import ResultLine
from peer.worker_memory import JournalMemory
from protocol import encoding
from protocol.bodies import Receipt
from protocol.errors import BadSignature, LocalError
from protocol.ids import JobId, LeaseId, PeerId
from protocol.messages.base import to_plain
from protocol.signing import Envelope, Identity, open_envelope
from protocol.trust import BAN_S, CLEAN_HALF_LIFE_S, FAULTY_CLEAN_MIN

WHOLE = "12D3KooWKHfpSojpfSb7mxiPFtaNHXsmGXw9grzCk4EbKB3BhGLJ"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> TrustBook:
    return TrustBook(Journal.open(None), clock)


def test_a_restart_forgets_nothing(tmp_path: Path, clock: Clock) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite")
    TrustBook(journal, clock).add_clean("good", "job", 12.0, 3)
    TrustBook(journal, clock).caught("bad", "job", "wrong about item 3")
    journal.close()
    book = TrustBook(Journal.open(tmp_path / "journal.sqlite"), clock)
    assert book.clean_of("good") == 12.0 and book.banned() == {"bad": "wrong about item 3"}
    assert [one.kind for one in book.evidence("bad")] == ["lie"]
    assert pick(book.trust(), "good").audits == 3


def test_what_follows_from_a_wrong_result_is_said_for_its_owner(book: TrustBook) -> None:
    assert book.caught("p", "job", "a lie") == "no more work from this coordinator for 30 days"
    assert book.caught("p", "job", "a lie") == "no more work from this coordinator for 60 days"
    book.add_clean("q", "job", FAULTY_CLEAN_MIN, 100)
    told = book.caught("q", "job", "a lie")
    assert "probably a fault of the machine, most often of its memory; it may come back in a day" in told
    assert pick(book.trust(), "q").banned_for_s == 24 * 3600.0


def test_bans_end_and_clean_results_fade(book: TrustBook, clock: Clock) -> None:
    book.add_clean("p", "job", 8.0, 1)
    book.caught("q", "job", "a lie")
    clock.now += CLEAN_HALF_LIFE_S
    assert book.clean_of("p") == pytest.approx(4.0)
    clock.now += BAN_S
    assert book.banned() == {}
    assert pick(book.trust(), "q").offences == 1


def test_the_owner_may_ban_pair_and_forget(book: TrustBook) -> None:
    book.ban("p", 60.0, "smells")
    assert book.banned() == {"p": "smells"}
    book.pair("p")
    assert book.banned() == {} and book.clean_of("p") > 1e6
    book.caught("p", "job", "a lie")
    assert book.banned() and book.clean_of("p") == 0, "a pair that lies is no pair any more"
    book.forget("p")
    assert book.banned() == {} and book.evidence("p") == [] and not pick(book.trust(), "p").offences


def test_a_peer_is_found_by_either_end_of_its_id(book: TrustBook) -> None:
    for peer in ("one-abc", "one-xyz"):
        book.add_clean(peer, "job", 1.0, 1)
    assert book.resolve("xyz") == "one-xyz" and book.resolve("one-a") == "one-abc"
    assert book.resolve(WHOLE) == WHOLE, "a whole id need not be known"
    with pytest.raises(LocalError, match="2 peers begin or end with 'one'"):
        book.resolve("one")
    with pytest.raises(LocalError, match="peer trust list"):
        book.resolve("nobody")


def test_the_ledger_sums_receipts_by_peer(book: TrustBook) -> None:
    for number, (given, credits) in enumerate([(True, 2.0), (True, 1.0), (False, 5.0)]):
        book._journal.add_receipt(b"", receipt(number, credits), given=given, peer="p")
    (entry,) = book.ledger()
    assert (entry.earned, entry.spent, entry.balance, entry.receipts) == (5.0, 3.0, 2.0, 3)


def test_rows_are_bounded_and_bans_and_pairs_go_last(book: TrustBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_book_module, "TRUST_PEERS_MAX", 3)
    monkeypatch.setattr(trust_book_module, "EVIDENCE_PER_PEER_MAX", 5)
    book.ban("banned", 60.0, "why")
    book.pair("paired")
    for number in range(10):
        book.add_clean(f"stranger-{number}", "job", 0.5, 1)
    kept = {one.peer for one in book.trust()}
    assert len(kept) == 3 and {"banned", "paired"} <= kept
    for _ in range(10):
        book.add_clean("paired", "job", 1.0, 1)
    assert len(book.evidence("paired")) == 5


def test_bans_of_an_older_journal_are_carried_over(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO bans VALUES ('old-liar', 'lied about item 1', ?)", (clock.now - 10,))
        connection.execute("INSERT INTO results VALUES ('j', 0, 1, x'01', NULL, NULL, 'w')")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    journal = Journal.open(path)
    book = TrustBook(journal, clock)
    assert book.banned() == {"old-liar": "lied about item 1"} and book.evidence("old-liar")
    assert journal.doubt("w") == {"j": 1}
    clock.now += BAN_S
    assert book.banned() == {}


# Introductions.

ISSUER, NEWCOMER, OTHER = (Identity(bytes([n]) * 32) for n in (1, 2, 3))


def signed(issuer: Identity = ISSUER, worker: Identity = NEWCOMER, credits: float = 20.0) -> Envelope:
    ids = {"job": JobId("job"), "lease": LeaseId("lease"), "worker": worker.peer_id}
    return issuer.sign(Receipt(**ids, sequence=0, chunks=(), credits=credits, price=1.0))


def test_whom_somebody_known_has_paid_is_introduced(book: TrustBook) -> None:
    assert not book.is_introduced(NEWCOMER.peer_id, [signed()]), "nobody knows its issuer"
    book.add_clean(ISSUER.peer_id, "job", INTRODUCER_CLEAN_MIN, 1)
    assert book.is_introduced(NEWCOMER.peer_id, [signed(OTHER), signed()])
    assert not book.is_introduced(NEWCOMER.peer_id, [])
    book.caught(ISSUER.peer_id, "job", "a lie")
    assert not book.is_introduced(NEWCOMER.peer_id, [signed()])


def test_a_pair_introduces_and_nobody_introduces_itself(book: TrustBook) -> None:
    book.pair(ISSUER.peer_id)
    assert book.is_introduced(NEWCOMER.peer_id, [signed()])
    assert not book.is_introduced(ISSUER.peer_id, [signed(worker=ISSUER)])


@pytest.mark.parametrize("shown", [signed(worker=OTHER), signed(credits=INTRODUCTION_CREDITS_MIN / 2)])
def test_receipts_of_others_and_small_ones_introduce_nobody(book: TrustBook, shown: Envelope) -> None:
    book.pair(ISSUER.peer_id)
    assert not book.is_introduced(NEWCOMER.peer_id, [shown])


def test_a_forged_receipt_is_a_breach(book: TrustBook) -> None:
    with pytest.raises(BadSignature):
        book.is_introduced(NEWCOMER.peer_id, [msgspec.structs.replace(signed(OTHER), signer=ISSUER.peer_id)])


def test_the_worker_shows_the_largest_receipt_of_each_coordinator_but_the_one_that_asks() -> None:
    journal = Journal.open(None)
    for number, (issuer, credits) in enumerate([(ISSUER, 5.0), (ISSUER, 50.0), (OTHER, 20.0)]):
        envelope = signed(issuer, credits=credits)
        body = msgspec.structs.replace(open_envelope(envelope, Receipt), sequence=number)
        journal.add_receipt(encoding.encode(to_plain(issuer.sign(body))), body, given=False, peer=issuer.peer_id)
    memory = JournalMemory(journal)
    shown = [open_envelope(one, Receipt).credits for one in memory.introductions(PeerId("somebody"))]
    assert shown == [50.0, 20.0]
    assert [one.signer for one in memory.introductions(ISSUER.peer_id)] == [OTHER.peer_id]
    assert memory.standing(ISSUER.peer_id) == -55.0
    journal.close()
    assert memory.standing(ISSUER.peer_id) == 0.0 and not memory.introductions(PeerId("somebody"))


CONVICT: dict[str, Callable[[TrustBook], object]] = {
    "caught": lambda book: book.caught("bad", "job", "wrong about item 3"),
    "proven by another": lambda book: book.rest("bad", "proof", "proven by another to have lied", doubted=True),
}


@pytest.mark.parametrize("how", CONVICT)
def test_a_ban_for_a_lie_outlives_a_kill_only_together_with_the_doubt_that_it_casts(how: str, tmp_path, clock) -> None:
    for write in count(1):
        path = tmp_path / f"{write}.sqlite"
        journal = DyingJournal.open_dying(path, write + 1)
        journal.record_results(JobId("job"), [ResultLine(item=3, ok=True, result=1, worker="bad", checked=False)])
        with suppress(Killed):
            CONVICT[how](TrustBook(journal, clock))
        journal.close()
        again = Journal.open(path)
        banned, in_doubt = TrustBook(again, clock).banned(), again.doubtful(JobId("job"))
        again.close()
        assert bool(banned) == bool(in_doubt), f"killed at write {write}"
        if journal.writes < write + 1:
            break
    assert banned == {"bad": banned["bad"]} and in_doubt == {3: "bad"} and write > 1


def test_who_rests_without_having_lied_casts_no_doubt(clock) -> None:
    journal = Journal.open(None)
    journal.record_results(JobId("job"), [ResultLine(item=3, ok=True, result=1, worker="bad", checked=False)])
    TrustBook(journal, clock).rest("bad", "outvoted", "outvoted about item 4")
    assert journal.in_doubt() == {}
    journal.close()
