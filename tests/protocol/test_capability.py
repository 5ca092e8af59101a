"""Capability records: what is expired, too large, forged, replayed for another peer or too long-lived is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from protocol import encoding
from protocol.capability import Capability, RuntimeOffer, open_capability
from protocol.errors import BadFrame, BadRecord, BadSignature
from protocol.limits import RECORD_CLOCK_SKEW_S, RECORD_LIFETIME_S, RECORD_SIZE_BYTES_MAX
from protocol.messages.base import to_plain
from protocol.signing import Envelope, Identity

NOW = 1_800_000_000.0
ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
RECORD = Capability(
    peer=ALICE.peer_id,
    sequence=1,
    expires_at_unix_s=NOW + RECORD_LIFETIME_S,
    addresses=("/ip4/192.0.2.1/tcp/4001",),
    runtimes=(RuntimeOffer(name="python", version="3.11.7", sandbox="bubblewrap"),),
    slots=2,
)


def test_a_good_record() -> None:
    assert open_capability(ALICE.sign(RECORD), NOW) == RECORD
    assert open_capability(ALICE.sign(RECORD), NOW, ALICE.peer_id) == RECORD
    assert RECORD.offers("python") and not RECORD.offers("blender")


@pytest.mark.parametrize("late_s", [0.0, 0.001, 86400.0])
def test_expired(late_s: float) -> None:
    with pytest.raises(BadRecord, match="expired"):
        open_capability(ALICE.sign(RECORD), NOW + RECORD_LIFETIME_S + late_s)


def test_valid_until_its_last_moment() -> None:
    assert open_capability(ALICE.sign(RECORD), NOW + RECORD_LIFETIME_S - 0.001)


def test_clocks_may_differ_a_little() -> None:
    assert open_capability(ALICE.sign(RECORD), NOW - RECORD_CLOCK_SKEW_S)
    with pytest.raises(BadRecord, match="longer"):
        open_capability(ALICE.sign(RECORD), NOW - RECORD_CLOCK_SKEW_S - 1)


def test_a_record_for_ever() -> None:
    with pytest.raises(BadRecord, match="longer"):
        open_capability(ALICE.sign(replace(RECORD, expires_at_unix_s=1e18)), NOW)


def test_oversized() -> None:
    addresses = tuple(f"/ip4/192.0.2.1/tcp/{number}/{'x' * 230}" for number in range(16))
    offers = tuple(RuntimeOffer(name="n" * 200, version=str(number), sandbox="s") for number in range(16))
    envelope = ALICE.sign(replace(RECORD, addresses=addresses, runtimes=offers))
    assert len(envelope.body) > RECORD_SIZE_BYTES_MAX
    with pytest.raises(BadRecord, match="bytes"):
        open_capability(envelope, NOW)


def test_size_is_looked_at_before_the_signature() -> None:
    envelope = Envelope(signer=ALICE.peer_id, body=b"x" * (RECORD_SIZE_BYTES_MAX + 1), signature=b"x" * 64)
    with pytest.raises(BadRecord):
        open_capability(envelope, NOW)


def test_about_another_peer() -> None:
    with pytest.raises(BadSignature, match="signed by"):
        open_capability(BOB.sign(RECORD), NOW)


def test_forged() -> None:
    with pytest.raises(BadSignature):
        open_capability(replace(BOB.sign(RECORD), signer=ALICE.peer_id), NOW)


def test_of_another_peer_than_asked_for() -> None:
    with pytest.raises(BadSignature, match="expected"):
        open_capability(ALICE.sign(RECORD), NOW, BOB.peer_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [("price", float("nan")), ("speed", 0), ("slots", -1), ("expires_at_unix_s", "soon"), ("addresses", ["a"] * 17)],
)
def test_signed_nonsense(field: str, value: object) -> None:
    plain = to_plain(RECORD)
    assert isinstance(plain, dict)
    body = encoding.encode(plain | {field: value})
    signature = Ed25519PrivateKey.from_private_bytes(ALICE.seed).sign(b"parallel-peer/capability/1\0" + body)
    with pytest.raises(BadFrame, match=field):
        open_capability(Envelope(signer=ALICE.peer_id, body=body, signature=signature), NOW)
