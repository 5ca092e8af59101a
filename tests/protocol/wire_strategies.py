"""Hypothesis strategies for every wire type, read off the types themselves."""

import importlib
import pkgutil
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

import protocol
from protocol.messages.base import Message, MessageCodec, to_plain
from protocol.messages.dht import Contact
from protocol.signing import SignedBody

_SHORT = 6
"""Longest text, bytes or sequence that is generated: the limits are tried on their own."""

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def import_all_of_protocol() -> None:
    """Every module, so that the subclasses below are complete."""
    for module in pkgutil.walk_packages(protocol.__path__, "protocol."):
        importlib.import_module(module.name)


def message_types() -> list[type[Message]]:
    """Every message; their bases, which only collect fields, are none."""
    import_all_of_protocol()
    leaves = (found for found in _below(Message) if not found.__subclasses__())
    return sorted(leaves, key=lambda found: found.__name__)


def signed_types() -> list[type[SignedBody]]:
    """Everything that gets signed."""
    import_all_of_protocol()
    return sorted((found for found in _below(SignedBody) if hasattr(found, "DOMAIN")), key=lambda found: found.__name__)


def codecs() -> list[MessageCodec[Any]]:
    """Every codec that a module of the protocol offers."""
    import_all_of_protocol()
    modules = [importlib.import_module(one.name) for one in pkgutil.walk_packages(protocol.__path__, "protocol.")]
    found = {
        id(value): value for module in modules for value in vars(module).values() if isinstance(value, MessageCodec)
    }
    return list(found.values())


def _below(base: type) -> set[type[Any]]:
    return {found for child in base.__subclasses__() for found in {child, *_below(child)}}


def values_of(wanted: type[Any]) -> st.SearchStrategy[Any]:
    """Values of a struct type, within its limits."""
    return _strategy(inspect.type_info(wanted))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            fields = {field.name: _strategy(field.type) for field in info.fields}
            return st.builds(info.cls, **fields)
        case inspect.IntType():
            return st.integers(_or(info.ge, 0), _or(info.le, 2**53))
        case inspect.FloatType():
            return st.floats(_or(info.ge, _or(info.gt, 0.0)), _or(info.le, 1e18), exclude_min=info.gt is not None)
        case inspect.StrType(pattern=str() as pattern):
            return st.from_regex(pattern)
        case inspect.StrType():
            return st.text(max_size=min(_or(info.max_length, _SHORT), _SHORT))
        case inspect.BytesType():
            low = _or(info.min_length, 0)
            return st.binary(min_size=low, max_size=max(low, min(_or(info.max_length, _SHORT), _SHORT)))
        case inspect.VarTupleType():
            low = _or(info.min_length, 0)
            return st.lists(_strategy(info.item_type), min_size=low, max_size=max(low, 3)).map(tuple)
        case inspect.UnionType():
            return st.one_of([_strategy(one) for one in info.types])
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.CustomType():
            assert info.cls is Contact
            addresses = st.lists(st.text(max_size=_SHORT), max_size=3).map(tuple)
            return st.builds(Contact, peer=st.text(max_size=_SHORT), addresses=addresses)
    raise NotImplementedError(f"no strategy for {info}; add it here")


def _or(value: Any, instead: Any) -> Any:
    return instead if value is None else value


def plain_of(message: msgspec.Struct) -> dict[str, Any]:
    """The map that goes over the wire, to be spoilt by a test."""
    plain = to_plain(message)
    assert isinstance(plain, dict)
    return plain
