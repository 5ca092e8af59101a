"""The key file: 32 bytes, for its owner alone, written once and never replaced."""

import os
from pathlib import Path
from random import Random

from protocol.errors import LocalError
from protocol.signing import KEY_SEED_BYTES, Identity

_OPEN_TO_OTHERS = 0o077


def load_or_create_identity(path: Path, random: Random) -> Identity:
    """The identity in the file, or a new one from `random` where there is no file.

    The caller holds the folder's lock. Raises `LocalError` when the file cannot be read or is not a
    key: it is never overwritten, since the peer's name and credits hang on it.
    """
    try:
        seed = path.read_bytes()
    except FileNotFoundError:
        return _create(path, random.randbytes(KEY_SEED_BYTES))
    except OSError as error:
        raise LocalError(f"cannot read the key file {path}: {error.strerror}") from error
    if len(seed) != KEY_SEED_BYTES:
        raise LocalError(
            f"the key file {path} is damaged: {len(seed)} bytes instead of {KEY_SEED_BYTES}; "
            "restore it from a copy, or move it away to start with a new peer id"
        )
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        path.chmod(0o600)
    return Identity(seed)


def _create(path: Path, seed: bytes) -> Identity:
    # Written beside and then renamed, so that a crash leaves no half of a key under the real name.
    beside = path.with_suffix(".new")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(descriptor)
        beside.rename(path)
    except OSError as error:
        raise LocalError(f"cannot write the key file {path}: {error.strerror}") from error
    return Identity(seed)
