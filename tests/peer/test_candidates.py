"""Results in the balance: their keys, what agrees with our own, and where they are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer import candidates as module
from peer.candidates import Candidates
from protocol import encoding
from protocol.comparators import Look, parse_comparator
from protocol.errors import LocalError
from protocol.ids import ChunkId, PeerId
from protocol.limits import MIB

CHUNK, OTHER = ChunkId(1), ChunkId(2)
A, B, C = map(PeerId, "ABC")


def result(value: object) -> bytes:
    return encoding.encode([[True, value]])


@pytest.fixture
def close(tmp_path: Path) -> Iterator[Candidates]:
    """Candidates that agree within a tenth."""
    with Candidates(parse_comparator("tolerance:0.1"), tmp_path) as found:
        yield found


def test_a_result_takes_the_key_of_the_first_it_agrees_with(close: Candidates) -> None:
    first = close.add(CHUNK, A, result(1.0), 0.1)
    assert close.add(CHUNK, B, result(1.05), 0.2) == first
    assert close.add(CHUNK, C, result(2.0), 0.3) != first
    assert close.add(OTHER, C, result(1.05), 0.3) != first
    candidate, data = close.get(CHUNK, first)
    assert (candidate.worker, candidate.compute_s, data) == (A, 0.1, result(1.0))
    assert close.given_by(CHUNK, B) == result(1.05) and close.given_by(OTHER, A) == b""
    assert close.pairs == 1 and close.difference == pytest.approx(0.05 / 1.05)


def test_our_own_result_says_of_each_whether_it_agrees(close: Candidates) -> None:
    """B agrees with A, and we with B but not with A: keys alone would take B for a liar, or A for honest."""
    first = close.add(CHUNK, A, result(1.0), 0.1)
    assert close.add(CHUNK, B, result(1.1), 0.1) == first
    close.settled(CHUNK)
    key, agreement = close.add_own(CHUNK, result(1.2), 0.1)
    assert agreement is not None and agreement.peers == {B} and agreement.keys == frozenset() and key != first
    assert close.add_own(CHUNK, result(1.21), 0.1)[0] == key
    assert close.add(CHUNK, C, result(1.3), 0.1) == key


def test_what_counts_stands_when_its_first_result_agrees(close: Candidates) -> None:
    first = close.add(CHUNK, A, result(1.0), 0.1)
    _, agreement = close.add_own(CHUNK, result(1.01), 0.1)
    assert agreement is not None and agreement.keys == {first} and agreement.peers == {A}


def test_where_keys_say_it_all_nothing_is_kept_for_longer_than_needed() -> None:
    with Candidates(parse_comparator("canonical")) as found:
        first = found.add(CHUNK, A, result(1), 0.1)
        assert found.add(CHUNK, B, result(1.0), 0.1) == first
        assert found.add_own(CHUNK, result(1.0), 0.1) == (first, None)
        found.settled(CHUNK)
        assert found.given_by(CHUNK, A) == b""


def test_what_a_check_refuses_agrees_with_nothing() -> None:
    with Candidates(parse_comparator("verify")) as found:
        right = found.add(CHUNK, A, result(1), 0.1)
        assert found.add(CHUNK, B, result(2), 0.1) == right
        refused = [found.add(CHUNK, peer, result(3), 0.1, refused=True) for peer in (B, C)]
        assert len({right, *refused}) == 3


def test_many_results_go_to_the_disk_and_come_back(close: Candidates, tmp_path: Path) -> None:
    large = [encoding.encode([[True, bytes([n]) * (8 * MIB)]]) for n in range(6)]
    keys = [close.add(ChunkId(n), A, data, 0.1) for n, data in enumerate(large)]
    assert all(close.get(ChunkId(n), key)[1] == large[n] for n, key in enumerate(keys))
    close.clear()
    assert close.given_by(ChunkId(0), A) == b""
    key = close.add(CHUNK, A, result(1.0), 0.1)
    assert close.get(CHUNK, key)[1] == result(1.0)


def test_too_many_results_end_the_job_with_the_way_out(close: Candidates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPOOL_BYTES_MAX", 20)
    close.add(CHUNK, A, result("0123456789"), 0.1)
    with pytest.raises(LocalError, match="split the job, or use --compare canonical"):
        close.add(CHUNK, B, result("0123456789"), 0.1)


def test_frames_of_other_machines_agree_by_their_pictures_and_those_of_one_kind_by_their_bytes() -> None:
    dark, nearly, bright = (encoding.encode([[2, 2, 3, False, bytes([level]) * 12]]) for level in (10, 10, 200))
    here, there = b"this kind", b"another kind"
    one, two, three = (encoding.encode([[True, text]]) for text in ("a", "b", "c"))
    with Candidates(parse_comparator("render:50")) as found:
        key = found.add(CHUNK, PeerId("alice"), one, 1.0, look=Look(here, dark))
        assert found.add(CHUNK, PeerId("bob"), two, 1.0, look=Look(there, nearly)) == key
        assert found.add(CHUNK, PeerId("carol"), two, 1.0, look=Look(here, nearly)) != key, "one kind gives one file"
        assert found.add(CHUNK, PeerId("dave"), three, 1.0, look=Look(there, bright)) != key
        _, agreement = found.add_own(CHUNK, one, 1.0, look=Look(here, dark))
        assert agreement is not None and agreement.peers == {"alice", "bob"}
