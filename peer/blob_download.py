"""One download of one blob from several holders at once; the piece plan decides, here are the tasks.

Holders are looked for again and again until the blob is complete; with nobody left for a while the download gives up,
and what has come stays for the next one.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from peer.blob_file import BlobFile
from peer.blob_holder import HolderLink
from peer.blob_store import BlobStore
from protocol.blobs import BlobDescriptor, BlobId
from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.ids import PeerId, short
from protocol.network import BLOB_PROTOCOL, Host
from protocol.piece_plan import PiecePlan

HOLDERS_MAX = 8
"""At once."""
HOLDERS_TRIED_MAX = 256
PIECES_ASKED_MAX = 4
"""Of one holder, before it has answered."""
SEARCH_INTERVAL_S = 5.0
GIVE_UP_S = 20.0
"""Without any holder."""
NEWS_INTERVAL_S = 2.0
"""How often a holder of a partial blob is asked what it has got since."""
BLAMED_WORDS_MAX = 4

log = logging.getLogger(__name__)

FindHolders = Callable[[BlobId], Awaitable[Sequence[PeerId]]]
"""Those who say that they have a blob; raises `Unavailable` when nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a download is; `total` is unknown, None, until the first holder has answered."""

    done: int
    total: int | None
    holders: int


class LargerThanSaid(LocalError):
    """The blob is larger than whoever named it has said."""


class BlobDownload:
    """See the module. `hints` are tried before anybody is looked for."""

    def __init__(
        self,
        host: Host,
        store: BlobStore,
        find: FindHolders,
        blob: BlobId,
        *,
        hints: Sequence[PeerId] = (),
        bounded: bool = True,
        size_bytes_max: int | None = None,
        progress: Callable[[Fetched], None] = lambda fetched: None,
    ) -> None:
        self._host = host
        self._store = store
        self._find = find
        self._blob = blob
        self._hints = hints
        self._bounded = bounded
        self._size_bytes_max = size_bytes_max
        self._progress = progress
        self._file: BlobFile | None = None
        self._plan: PiecePlan[PeerId] | None = None
        self._changed = trio.Event()
        self._talking: set[PeerId] = set()
        self._joined: set[PeerId] = set()
        """Those of them who have pieces."""
        self._left: dict[PeerId, str] = {}
        """Why holders were left."""
        self._heard_at = trio.current_time()
        self._failure: LocalError | Unavailable | None = None
        self._scope = trio.CancelScope()
        self._using = ExitStack()

    async def run(self) -> BlobFile:
        """The whole blob; raises `Unavailable` when nobody has it now, `LocalError` when it cannot be kept."""
        with ExitStack() as self._using:
            return await self._run()

    async def _run(self) -> BlobFile:
        if (known := self._store.find(self._blob)) is not None:
            await self._begin(known.descriptor, known.digests)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._search, nursery)
                await self._until_done()
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        assert self._file is not None
        await self._store.finish(self._file)
        return self._file

    async def _until_done(self) -> None:
        while self._plan is None or not self._plan.done:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        done = self._file.held_bytes if self._file else 0
        self._progress(Fetched(done, self._file.size_bytes if self._file else None, len(self._joined)))

    def _fail(self, failure: LocalError | Unavailable) -> None:
        self._failure = self._failure or failure
        self._scope.cancel()

    # Finding holders.

    async def _search(self, nursery: trio.Nursery) -> None:
        self._meet(self._hints, nursery)
        while True:
            problem = "nobody is known to have it"
            try:
                self._meet(await self._find(self._blob), nursery)
            except Unavailable as error:
                problem = str(error)
            if self._joined:
                self._heard_at = trio.current_time()
            elif trio.current_time() >= self._heard_at + GIVE_UP_S:
                self._fail(Unavailable(f"blob {self._blob[:16]} cannot be had now: {self._reasons() or problem}"))
            await trio.sleep(SEARCH_INTERVAL_S)

    def _meet(self, holders: Sequence[PeerId], nursery: trio.Nursery) -> None:
        for holder in holders:
            if len(self._talking) >= HOLDERS_MAX or len(self._left) >= HOLDERS_TRIED_MAX:
                return
            banned = self._plan is not None and self._plan.is_banned(holder)
            if holder not in self._talking and holder != self._host.peer_id and not banned:
                self._talking.add(holder)
                nursery.start_soon(self._talk, holder)

    def _reasons(self) -> str:
        some = list(self._left.items())[-BLAMED_WORDS_MAX:]
        return "; ".join(f"{short(holder)}: {reason}" for holder, reason in some)

    # One holder.

    async def _talk(self, holder: PeerId) -> None:
        """From its first word to its last; whatever it does ends here, and only our own faults end the download."""
        try:
            await self._ask_for_pieces(holder)
        except Unavailable as error:
            self._left[holder] = str(error)
        except RemoteError as error:
            log.warning("blob %s: %s broke the protocol: %s", self._blob[:16], holder, error)
            self._left[holder] = f"broke the protocol: {error}"
            if self._plan is not None:
                self._plan.ban(holder)
        except LocalError as error:
            self._fail(error)
        finally:
            if self._plan is not None:
                self._plan.leave(holder)
            self._talking.discard(holder)
            self._joined.discard(holder)
            self._tell()

    async def _ask_for_pieces(self, holder: PeerId) -> None:
        stream = await self._host.open_stream(holder, BLOB_PROTOCOL)
        try:
            link = HolderLink(stream, self._blob)
            descriptor, held = await link.ask()
            plan, file = await self._known(link, descriptor)
            plan.join(holder, held)
            self._joined.add(holder)
            self._tell()
            await self._take_pieces(link, plan, file)
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def _known(self, link: HolderLink, descriptor: BlobDescriptor) -> tuple[PiecePlan[PeerId], BlobFile]:
        if self._plan is None:
            if self._size_bytes_max is not None and descriptor.size_bytes > self._size_bytes_max:
                raise LargerThanSaid(f"blob {self._blob[:16]} has {descriptor.size_bytes} bytes, more than was said")
            await self._begin(descriptor, await link.digests(descriptor))
        assert self._plan is not None and self._file is not None
        return self._plan, self._file

    async def _begin(self, descriptor: BlobDescriptor, digests: tuple[bytes, ...]) -> None:
        file = await self._store.begin(descriptor, digests, bounded=self._bounded)
        if self._plan is None:
            self._using.enter_context(self._store.using(file))
            self._file = file
            self._plan = PiecePlan(descriptor.pieces, file.everything & ~file.held)

    async def _take_pieces(self, link: HolderLink, plan: PiecePlan[PeerId], file: BlobFile) -> None:
        asked: list[int] = []
        while not plan.done:
            while len(asked) < PIECES_ASKED_MAX:
                piece = plan.next_piece(link.peer, trio.current_time())
                if piece is None:
                    break
                asked.append(piece)
                await link.want(piece)
            if asked:
                await self._take(link, plan, file, asked.pop(0))
            else:
                await self._wait_for_more(link, plan)

    async def _take(self, link: HolderLink, plan: PiecePlan[PeerId], file: BlobFile, piece: int) -> None:
        data = await link.piece(piece, file.descriptor.extent(piece)[1])
        if data is None:
            plan.lost(link.peer, piece)
            return
        try:
            file.write(piece, data)
        except RemoteError:
            plan.spoiled(link.peer, piece)
            raise
        plan.arrived(link.peer, piece, trio.current_time())
        self._heard_at = trio.current_time()
        self._tell()
        await trio.lowlevel.checkpoint()

    async def _wait_for_more(self, link: HolderLink, plan: PiecePlan[PeerId]) -> None:
        """Until this holder may be asked for something: others left, it has more, or what they owe is overdue."""
        news_at = trio.current_time() + NEWS_INTERVAL_S
        with trio.move_on_at(min(news_at, plan.next_hedge_at(link.peer))):
            await self._changed.wait()
        if trio.current_time() >= news_at:
            _, held = await link.ask()
            plan.join(link.peer, held)
