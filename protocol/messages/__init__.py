"""Messages on the wire: frozen, typed, validated where they enter.

A message is a CBOR map with its name under "type". Unknown fields are ignored, so that a later
minor version may add some; an unknown type is an error.
"""

from protocol.messages.base import Message, MessageCodec

__all__ = ["Message", "MessageCodec"]
