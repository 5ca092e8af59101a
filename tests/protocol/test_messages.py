"""Every message: round trip, and what a hostile or a newer peer may send in its place."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_strategies import codecs, message_types, plain_of, plain_values, signed_types, values_of

from protocol import encoding
from protocol.errors import BadFrame, UnknownMessage
from protocol.limits import CONTACTS_PER_REPLY_MAX, PEER_ID_LENGTH_MAX
from protocol.messages.base import Message, MessageCodec, from_plain, to_plain
from protocol.messages.dht import DHT_CODEC, Contact, FindNode, Nodes, Ping
from protocol.messages.job import JOB_CODEC, Bid, Call, Heartbeat, Ready
from protocol.signing import SignedBody

BID = Bid(call_id=7, bid="b", price=1.5, slots=2, speed=1.0, ready_s=0.0, expires_s=15.0)  # type: ignore[arg-type]


def codec_of(message_type: type[Message]) -> MessageCodec[Any]:
    """The codec that knows the type; every message must have one."""
    found = [codec for codec in codecs() if message_type in codec.types]
    assert len(found) == 1, f"{message_type.__name__} is in {len(found)} codecs"
    return found[0]


@pytest.mark.parametrize("message_type", message_types(), ids=lambda found: found.__name__)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_round_trip(message_type: type[Message], data: st.DataObject) -> None:
    message = data.draw(values_of(message_type))
    codec = codec_of(message_type)
    encoded = codec.encode(message)
    assert codec.decode(encoded) == message
    assert codec.encode(codec.decode(encoded)) == encoded


@pytest.mark.parametrize("body_type", signed_types(), ids=lambda found: found.__name__)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_signed_bodies_round_trip(body_type: type[SignedBody], data: st.DataObject) -> None:
    body = data.draw(values_of(body_type))
    assert from_plain(encoding.decode_canonical(encoding.encode(to_plain(body))), body_type) == body


@pytest.mark.parametrize("message_type", message_types(), ids=lambda found: found.__name__)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_unknown_fields_are_ignored(message_type: type[Message], data: st.DataObject) -> None:
    message = data.draw(values_of(message_type))
    plain = plain_of(message) | {"zzz_of_a_later_version": data.draw(plain_values)}
    assert codec_of(message_type).decode(encoding.encode(plain)) == message


@pytest.mark.parametrize("message_type", message_types(), ids=lambda found: found.__name__)
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_missing_field_is_refused(message_type: type[Message], data: st.DataObject) -> None:
    codec = codec_of(message_type)
    required = [field.name for field in msgspec.structs.fields(message_type) if field.required]
    plain = plain_of(data.draw(values_of(message_type)))
    for name in required:
        with pytest.raises(BadFrame, match=name):
            codec.decode(encoding.encode({key: value for key, value in plain.items() if key != name}))


@pytest.mark.parametrize("codec", codecs(), ids=lambda codec: codec.types[0].__name__)
@given(value=plain_values | st.dictionaries(st.sampled_from(["type", "lease", "request_id"]), plain_values))
def test_any_value_gives_a_message_or_bad_frame(codec: MessageCodec[Any], value: object) -> None:
    try:
        message = codec.decode(encoding.encode(value))
    except BadFrame:
        return
    assert isinstance(message, Message)


@pytest.mark.parametrize(
    "name",
    ["call2", "", "ping", None, 1.5, b"bid", [], {}, [[]], 2**100_000, "x" * 100_000, True],
    ids=lambda name: type(name).__name__,
)
def test_unknown_types_are_an_error(name: object) -> None:
    with pytest.raises(UnknownMessage) as caught:
        JOB_CODEC.decode(encoding.encode({"type": name}))
    assert len(str(caught.value)) < 200


def test_a_message_without_a_type() -> None:
    with pytest.raises(UnknownMessage):
        JOB_CODEC.decode(encoding.encode({"lease": "a"}))


@pytest.mark.parametrize("value", [None, 1, "bid", b"", [], [1, 2], ["bid"], True])
def test_what_is_no_map_is_no_message(value: object) -> None:
    with pytest.raises(BadFrame):
        JOB_CODEC.decode(encoding.encode(value))


def test_messages_of_another_protocol_are_unknown() -> None:
    with pytest.raises(UnknownMessage, match="ping"):
        JOB_CODEC.decode(DHT_CODEC.encode(Ping(request_id=1)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", float("nan")),
        ("price", float("inf")),
        ("price", -1.0),
        ("price", 2**70),
        ("price", True),
        ("price", "1.0"),
        ("speed", 0),
        ("speed", -0.0),
        ("slots", 0),
        ("slots", 5000),
        ("slots", 1.0),
        ("slots", True),
        ("call_id", -1),
        ("call_id", 2**53 + 1),
        ("call_id", 2**100_000),
        ("bid", "b" * 65),
        ("bid", b"b"),
        ("bid", None),
        ("ready_s", None),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_fields(field: str, value: object) -> None:
    with pytest.raises(BadFrame, match=field) as caught:
        JOB_CODEC.decode(encoding.encode(plain_of(BID) | {field: value}))
    assert len(str(caught.value)) < 300


def test_limits_on_lists_and_bytes() -> None:
    contact = Contact(peer="p", addresses=())  # type: ignore[arg-type]
    many = Nodes(request_id=1, contacts=(contact,) * (CONTACTS_PER_REPLY_MAX + 1))
    for message in (
        many,
        FindNode(request_id=1, target=b"x" * 19),
        FindNode(request_id=1, target=b"x" * 21),
        Ping(request_id=1, sender=Contact(peer="p" * (PEER_ID_LENGTH_MAX + 1))),  # type: ignore[arg-type]
        Ping(request_id=1, sender=Contact(peer="p", addresses=("a" * 257,))),  # type: ignore[arg-type]
        Ping(request_id=1, sender=Contact(peer="p", addresses=("a",) * 17)),  # type: ignore[arg-type]
    ):
        with pytest.raises(BadFrame):
            DHT_CODEC.decode(DHT_CODEC.encode(message))


def test_messages_are_frozen() -> None:
    with pytest.raises(AttributeError):
        BID.price = 3.0  # type: ignore[misc]


def test_whole_numbers_do_for_floats() -> None:
    """Canonical encoders of other languages may write 2.0 as 2."""
    decoded = JOB_CODEC.decode(encoding.encode(plain_of(BID) | {"price": 2}))
    assert isinstance(decoded, Bid) and decoded.price == 2.0


def test_ids_that_match_across_a_session() -> None:
    call = Call(call_id=1, job="j", runtime="python", slots_wanted=2, price_max=3.0)  # type: ignore[arg-type]
    ready = Ready(lease="l", chunk_credit=1, environment=b"e" * 32)  # type: ignore[arg-type]
    heartbeat = Heartbeat(lease="l", running=(1, 2))  # type: ignore[arg-type]
    for message in (call, ready, heartbeat):
        assert JOB_CODEC.decode(JOB_CODEC.encode(message)) == message
