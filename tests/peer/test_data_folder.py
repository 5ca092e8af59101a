"""The data folder and the key file: one peer per folder, one key for ever, no path too long for a socket."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from peer.data_folder import SOCKET_PATH_BYTES_MAX, DataFolder, default_data_folder
from peer.identity_store import load_or_create_identity
from protocol.errors import LocalError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.create()
    return made


def test_the_variable_names_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PEER_DATA", str(tmp_path / "x"))
    assert default_data_folder() == tmp_path / "x"
    monkeypatch.delenv("PEER_DATA")
    assert default_data_folder().name == "parallel-peer"


def test_the_folder_is_for_its_owner_alone(folder):
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalError, match=r"cannot use the data folder .*file.*--data DIR"):
        DataFolder(tmp_path / "file").create()


def test_a_second_process_is_refused_with_the_pid_of_the_first(folder):
    script = f"""
import sys
from pathlib import Path
from peer.data_folder import DataFolder
with DataFolder(Path({str(folder.path)!r})).locked():
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert folder.owner() == holder.pid
    with pytest.raises(LocalError, match=rf"already runs on .*\(process {holder.pid}\).*peer stop"), folder.locked():
        pass
    holder.kill()
    holder.communicate()
    assert folder.owner() is None
    with folder.locked():
        assert folder.owner() == os.getpid()


def test_the_socket_lies_in_the_folder_where_it_fits(folder):
    with folder.socket_to_bind() as path:
        assert path == folder.socket() == folder.path / "control.sock"


def test_a_long_folder_gets_a_short_socket_path_that_clients_find(tmp_path):
    folder = DataFolder(tmp_path / ("deep" * 30))
    folder.create()
    with folder.socket_to_bind() as path:
        assert len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
        assert folder.socket() == path
    assert not path.parent.exists()
    assert folder.socket() == folder.path / "control.sock"


def test_the_key_is_made_once_and_kept(folder):
    first = load_or_create_identity(folder.key, Random(1))
    again = load_or_create_identity(folder.key, Random(2))
    assert first.peer_id == again.peer_id
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


def test_a_key_open_to_others_is_closed(folder):
    load_or_create_identity(folder.key, Random(1))
    folder.key.chmod(0o644)
    load_or_create_identity(folder.key, Random(1))
    assert stat.S_IMODE(folder.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [0, 5, 33])
def test_a_damaged_key_is_an_error_and_is_not_replaced(folder, size):
    folder.key.write_bytes(b"x" * size)
    with pytest.raises(LocalError, match=rf"identity\.key is damaged: {size} bytes instead of 32"):
        load_or_create_identity(folder.key, Random(1))
    assert folder.key.read_bytes() == b"x" * size


def test_what_a_crash_left_beside_the_key_does_no_harm(folder):
    folder.key.with_suffix(".new").write_bytes(b"half")
    load_or_create_identity(folder.key, Random(1))
    assert len(folder.key.read_bytes()) == 32
