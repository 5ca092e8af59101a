"""The doctor looks at the files of the peer: data folder, disk, settings, database, key. It changes nothing."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from peer.config_file import ConfigFile
from peer.data_folder import DataFolder
from peer.doctor.check import Check, from_error, ok, problem, warning
from peer.journal_schema import MIGRATIONS
from peer.own_machine import free_disk_bytes
from peer.owner_settings import OwnerSettings, settings_from
from protocol.errors import LocalError
from protocol.limits import KIB, MIB
from protocol.requirements import size_in_words
from protocol.signing import KEY_SEED_BYTES

DISK_BYTES_NEEDED = 100 * MIB
DISK_BYTES_ENOUGH = 2048 * MIB
CHECKED_BYTES_MAX = 256 * MIB
"""A larger database is opened, but not read to its end: that takes seconds."""
_OPEN_TO_OTHERS = 0o077
_ANOTHER = "choose another folder with --data DIR"


def folder_checks(folder: DataFolder) -> Iterator[Check]:
    """All of them, in their order."""
    yield settings_check(folder)
    yield folder_check(folder)
    yield disk_check(folder)
    yield database_check(folder.journal)
    yield key_check(folder.key)


def settings_of(folder: DataFolder) -> OwnerSettings:
    """What the file says; the defaults where it is not valid."""
    try:
        return settings_from(ConfigFile(folder.path).read(), {})
    except LocalError:
        return OwnerSettings()


def settings_check(folder: DataFolder) -> Check:
    """Whether `peer start` can read its settings file."""
    file = ConfigFile(folder.path)
    try:
        found = file.read()
    except LocalError as error:
        return problem("settings", str(error), f"`peer config set` or `unset` of what is named, or edit {file.path}")
    text = ", ".join(f"{key} = {value}" for key, value in found.items())
    return ok("settings", text or "none, so the defaults hold")


def folder_check(folder: DataFolder) -> Check:
    """Whether the peer can keep its files, and whether one runs there."""
    path = folder.path
    if not path.exists():
        return _future_folder_check(path)
    if not path.is_dir():
        return problem("data folder", f"{path} is no folder", _ANOTHER)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return problem(
            "data folder", f"{path} cannot be written to", f"make it yours (chown, chmod u+rwx), or {_ANOTHER}"
        )
    owner = folder.owner()
    found = f"{path}, in use by the peer that runs (process {owner})" if owner else f"{path}, no peer runs on it"
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        return warning("data folder", f"{found}; other users may look into it", f"chmod 700 {path}")
    return ok("data folder", found)


def _future_folder_check(path: Path) -> Check:
    above = next(parent for parent in path.parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return problem("data folder", f"{path} is not there and cannot be made in {above}", _ANOTHER)
    return ok("data folder", f"{path}, to be made by the first `peer start`")


def disk_check(folder: DataFolder) -> Check:
    """Room for the database, blobs and what jobs write."""
    path = next(one for one in (folder.path, *folder.path.parents) if one.is_dir())
    free_bytes = free_disk_bytes(path)
    found = f"{size_in_words(free_bytes)} free"
    if free_bytes < DISK_BYTES_NEEDED:
        return problem("disk", found, f"free at least {size_in_words(DISK_BYTES_NEEDED)} on it, or {_ANOTHER}")
    if free_bytes < DISK_BYTES_ENOUGH:
        return warning("disk", found, "free some space, or `peer cache prune`: blobs and jobs need room")
    return ok("disk", found)


def database_check(path: Path) -> Check:
    """Whether the journal can be opened, is whole, and is not from a later version."""
    if not path.exists():
        return ok("database", "none yet, to be made by the first `peer start`")
    size_bytes = path.stat().st_size
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            jobs = connection.execute("SELECT COUNT(*) FROM jobs").fetchone()[0] if version else 0
            whole = size_bytes > CHECKED_BYTES_MAX or connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.Error as error:
        return problem("database", f"{path}: {error}", _move_away(path))
    if version > len(MIGRATIONS):
        return problem("database", f"{path} was written by a later version", "update this Parallel Peer")
    if not whole:
        return problem("database", f"{path} is damaged", _move_away(path))
    return ok("database", f"{size_bytes / KIB:,.0f} KiB, {jobs} job{'' if jobs == 1 else 's'}")


def _move_away(path: Path) -> str:
    return f"put a copy in its place, or move it away to start with an empty one: mv {path} {path}.broken"


def key_check(path: Path) -> Check:
    """Whether the key is one, and for its owner alone."""
    try:
        size_bytes, mode = len(path.read_bytes()), path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ok("key", "none yet, to be made by the first `peer start`")
    except OSError as error:
        return from_error("key", f"{path} cannot be read: {error.strerror}", f"make it yours: chmod 600 {path}")
    if size_bytes != KEY_SEED_BYTES:
        found = f"{path} is damaged: {size_bytes} bytes, not {KEY_SEED_BYTES}"
        return problem("key", found, "put a copy in its place, or move it away to start with a new peer id")
    if mode & _OPEN_TO_OTHERS:
        return warning("key", "others may read it, and so be this peer", f"chmod 600 {path}")
    return ok("key", "whole, for its owner alone")
