"""Whom a worker works for, as its owner says it."""

from enum import StrEnum


class Accept(StrEnum):
    """Whom the owner lets in. Paired peers may always come in."""

    ANYONE = "anyone"
    PAIRED = "paired"
    ASK = "ask"
