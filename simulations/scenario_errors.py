"""What to say about a scenario file that does not fit: the key, what is allowed there, the nearest right key."""

import difflib
import re
from collections.abc import Sequence

from msgspec import inspect

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>.*?)`")
_MISSING = re.compile(r"missing required field `(?P<key>.*?)`")
_BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))


def explain(message: str, model: type) -> str:
    """A `msgspec.ValidationError` of `model`, in words of the file and with the way out."""
    at = _AT.search(message)
    path = at["path"] if at else ""
    if unknown := _UNKNOWN.search(message):
        return _explain_unknown(unknown["key"], path, model)
    if missing := _MISSING.search(message):
        return f"{_joined(path, missing['key'])}: is missing and has no default"
    what = message[: at.start()] if at else message
    return f"{path or 'the file'}: {what[:1].lower()}{what[1:]}; allowed: {allowed(model, path)}"


def keys(model: type) -> list[str]:
    """Every key of a scenario file that holds a value, dotted, in the order of the structs."""
    return list(_leaves(inspect.type_info(model), ""))


def allowed(model: type, path: str) -> str:
    """What may stand at a dotted key, in words."""
    return _describe(_at(inspect.type_info(model), path))


def near(key: str, right: Sequence[str]) -> str:
    """`did you mean ...?` or the list of what there is."""
    close = difflib.get_close_matches(key, right, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(right)}"


def _explain_unknown(key: str, path: str, model: type) -> str:
    full = _joined(path, key)
    here = _names(_at(inspect.type_info(model), path))
    close = difflib.get_close_matches(key, here, n=1, cutoff=0.6)
    if close:
        return f"{full}: no such key; did you mean {_joined(path, close[0])}?"
    elsewhere = [one for one in keys(model) if one.rpartition(".")[2] == key]
    if elsewhere:
        return f"{full}: no such key; did you mean {elsewhere[0]}?"
    return f"{full}: no such key; known here: {', '.join(here)}"


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _at(info: inspect.Type, path: str) -> inspect.Type:
    """The type at a dotted path such as `partitions[1].share`."""
    for name in re.split(r"[.\[\]]+", path):
        if isinstance(info, inspect.ListType):
            info = info.item_type
        elif isinstance(info, inspect.StructType):
            info = next((field.type for field in info.fields if field.name == name), info)
    return info


def _names(info: inspect.Type) -> list[str]:
    return [field.name for field in info.fields] if isinstance(info, inspect.StructType) else []


def _leaves(info: inspect.Type, path: str) -> list[str]:
    if not isinstance(info, inspect.StructType):
        return [path]
    return [leaf for field in info.fields for leaf in _leaves(field.type, _joined(path, field.name))]


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.LiteralType(values=values):
            return ", ".join(sorted(str(one) for one in values if one))
        case inspect.IntType() | inspect.FloatType():
            words = [f"{word} {limit:g}" for name, word in _BOUNDS if (limit := getattr(info, name)) is not None]
            kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            return f"{kind} of {' and '.join(words)}" if words else kind
        case inspect.BoolType():
            return "true or false"
        case inspect.StructType():
            return f"a table with {', '.join(_names(info))}"
        case inspect.ListType(item_type=item):
            return f"a list ([[...]]), each {_describe(item)}"
    return "text"
