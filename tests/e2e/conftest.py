"""Fixtures for the tests of the whole; see `e2e_helpers.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_helpers import JobFiles, Peer, StartPeer, end_all, start_one


@pytest.fixture
def start_peer(tmp_path: Path) -> Iterator[StartPeer]:
    """`start_peer(name, *options)`: a peer of its own for this test."""
    peers: list[Peer] = []

    def start(name: str, *options: str, **where: object) -> Peer:
        peers.append(start_one(tmp_path / name, *options, **where))
        return peers[-1]

    yield start
    end_all(peers)


@pytest.fixture
def job(tmp_path: Path) -> JobFiles:
    """Room for one job."""
    (tmp_path / "job").mkdir()
    return JobFiles(tmp_path / "job")
