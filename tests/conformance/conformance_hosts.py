"""The hosts that the suite runs over: two in memory, and libp2p over loopback TCP."""

import socket
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Protocol

import trio

from peer.libp2p_host import open_libp2p_host
from protocol.network import Host
from protocol.signing import Identity
from simulations.memory_host import MemoryNetwork, open_memory_network
from simulations.posting_host import PostingNetwork

DIAL_TIMEOUT_S = 1.0


class Network(Protocol):
    """Makes hosts that can dial each other."""

    async def host(self) -> Host: ...

    async def silent_address(self) -> str: ...


async def keep_open(opening: AbstractAsyncContextManager[object], task_status: trio.TaskStatus[object]) -> None:
    """Each host has a task of its own: a test and its fixture run in different ones."""
    async with opening as opened:
        task_status.started(opened)
        await trio.sleep_forever()


class MemoryHosts:
    kind = MemoryNetwork

    def __init__(self, nursery: trio.Nursery, stack: ExitStack) -> None:
        self.nursery = nursery
        self.network: MemoryNetwork | None = None
        self.made = 0

    async def host(self) -> Host:
        self.network = self.network or await self.nursery.start(keep_open, open_memory_network(self.kind))
        self.made += 1
        return self.network.host(identity(self.made))

    async def silent_address(self) -> str:
        """Where packets vanish."""
        assert self.network is not None
        return self.network.host(identity(99), reachable=False).own_address


class PostingHosts(MemoryHosts):
    kind = PostingNetwork


class Libp2pHosts:
    def __init__(self, nursery: trio.Nursery, stack: ExitStack) -> None:
        self.nursery = nursery
        self.stack = stack
        self.made = 0

    async def host(self) -> Host:
        self.made += 1
        opening = open_libp2p_host(identity(self.made), ["/ip4/127.0.0.1/tcp/0"])
        return await self.nursery.start(keep_open, opening)

    async def silent_address(self) -> str:
        """A listener whose queue is full: Linux drops further connection requests."""
        listener = self.stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            filler = self.stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        return f"/ip4/127.0.0.1/tcp/{listener.getsockname()[1]}"


def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32, "big"))
