"""What a worker shows of what it keeps for others."""

import msgspec


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """Results that it keeps for a coordinator that vanished, for a day at most."""

    coordinator: str
    results: int
    size_bytes: int
