"""Signatures: whatever is changed, by whomever, does not verify; what verifies has one form."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol import encoding
from protocol.bodies import Manifest, Receipt
from protocol.errors import BadFrame, BadSignature, RemoteError
from protocol.ids import PeerId
from protocol.signing import Envelope, Identity, SignedBody, open_envelope

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
MANIFEST = Manifest(job="j", runtime="python", code=b"def run(x): return x")  # type: ignore[arg-type]
RAW_KEY = Ed25519PrivateKey.from_private_bytes(ALICE.seed)


def signed_as(domain: bytes, body: bytes) -> Envelope:
    """What Alice could sign with a program of her own."""
    return Envelope(signer=ALICE.peer_id, body=body, signature=RAW_KEY.sign(domain + body))


def test_what_is_signed_opens() -> None:
    envelope = ALICE.sign(MANIFEST)
    assert open_envelope(envelope, Manifest) == MANIFEST
    assert open_envelope(envelope, Manifest, ALICE.peer_id) == MANIFEST


def test_the_domain_is_what_the_design_says() -> None:
    body = ALICE.sign(MANIFEST).body
    assert open_envelope(signed_as(b"parallel-peer/manifest/1\0", body), Manifest) == MANIFEST


def test_signed_by_somebody_else_than_expected() -> None:
    with pytest.raises(BadSignature, match="expected"):
        open_envelope(ALICE.sign(MANIFEST), Manifest, BOB.peer_id)


def test_shown_as_the_word_of_somebody_else() -> None:
    with pytest.raises(BadSignature):
        open_envelope(replace(ALICE.sign(MANIFEST), signer=BOB.peer_id), Manifest, BOB.peer_id)


def test_shown_for_another_purpose() -> None:
    with pytest.raises(BadSignature):
        open_envelope(ALICE.sign(MANIFEST), Receipt)


@pytest.mark.parametrize("domain", [b"", b"parallel-peer/receipt/1\0", b"parallel-peer/manifest/2\0"])
def test_signed_in_another_domain(domain: bytes) -> None:
    with pytest.raises(BadSignature):
        open_envelope(signed_as(domain, ALICE.sign(MANIFEST).body), Manifest)


@given(st.integers(min_value=0), st.sampled_from(["body", "signature"]))
def test_any_bit_flipped(place: int, field: str) -> None:
    envelope = ALICE.sign(MANIFEST)
    data = bytearray(getattr(envelope, field))
    data[place // 8 % len(data)] ^= 1 << place % 8
    with pytest.raises(BadSignature):
        open_envelope(replace(envelope, **{field: bytes(data)}), Manifest)


def test_a_body_in_another_form() -> None:
    """The same manifest, signed by its own signer, with a length written the long way."""
    body = ALICE.sign(MANIFEST).body
    other = body.replace(b"\x61j", b"\x78\x01j")
    assert other != body and encoding.decode(other) == encoding.decode(body)
    with pytest.raises(BadFrame, match="canonical"):
        open_envelope(signed_as(b"parallel-peer/manifest/1\0", other), Manifest)


@pytest.mark.parametrize("body", [b"", b"\xff", encoding.encode([1]), encoding.encode({"job": "j"})])
def test_a_body_that_is_no_manifest(body: bytes) -> None:
    with pytest.raises(BadFrame, match=ALICE.peer_id):
        open_envelope(signed_as(b"parallel-peer/manifest/1\0", body), Manifest)


@pytest.mark.parametrize("signer", ["", "x", "0OIl", "é" * 30, "Qm" + "a" * 44, ALICE.peer_id + " "])
def test_a_signer_that_is_no_peer_id(signer: str) -> None:
    with pytest.raises(BadSignature):
        open_envelope(replace(ALICE.sign(MANIFEST), signer=PeerId(signer)), Manifest)


def test_a_field_of_a_later_version_is_ignored() -> None:
    """It stays inside of what was signed, so it cannot be added on the way."""
    plain = encoding.decode(ALICE.sign(MANIFEST).body)
    assert isinstance(plain, dict)
    body = encoding.encode(plain | {"later": 1})
    assert open_envelope(signed_as(b"parallel-peer/manifest/1\0", body), Manifest) == MANIFEST


def test_every_signed_body_has_a_domain_of_its_own() -> None:
    from wire_strategies import signed_types

    domains = [found.DOMAIN for found in signed_types()]
    assert len(set(domains)) == len(domains) >= 4


def test_an_identity_does_not_show_its_key() -> None:
    assert ALICE.seed.hex() not in repr(ALICE) and repr(ALICE.seed) not in repr(ALICE)
    assert ALICE.peer_id in repr(ALICE)


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=100), st.text(max_size=64))
def test_any_envelope_opens_or_is_the_fault_of_the_other_side(signature: bytes, body: bytes, signer: str) -> None:
    with pytest.raises(RemoteError):
        open_envelope(Envelope(signer=PeerId(signer), body=body, signature=signature), Manifest)


def test_bodies_are_compared_by_value() -> None:
    assert isinstance(MANIFEST, SignedBody) and ALICE.sign(MANIFEST) == ALICE.sign(replace(MANIFEST))
