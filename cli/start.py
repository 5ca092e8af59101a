"""`peer start`: build the real seam, run the peer, tell its owner what happens."""

import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil
import trio

from cli.console import clean, print_json, say
from cli.exits import DONE, FAILED, WrongUse
from cli.text import availability_line, count, fault_mark, short_peer
from peer.addresses import parse_address, parse_bootstrap
from peer.config_file import ConfigFile
from peer.core import AvailabilityChanged, BootstrapTried, ComplaintHeard, JobsResumed, Joined, NodeEvent, NodeSettings
from peer.data_folder import DataFolder
from peer.execution.executor import SandboxedExecutor
from peer.execution.polite import PoliteExecutor
from peer.execution.reference import measure_speed
from peer.faults import Fault, FaultyExecutor, parse_fault
from peer.gpus import find_gpus
from peer.identity_store import load_or_create_identity
from peer.job_blobs import JobBlobs
from peer.journal import Journal
from peer.libp2p_host import open_libp2p_host
from peer.node import Node
from peer.own_machine import free_disk_bytes
from peer.owner_settings import OwnerSettings, settings_from
from peer.owner_side import OwnerSide, in_words, rules_of
from peer.presence import MachineSenses
from peer.runtimes.registry import all_runtimes
from peer.seam import Executor, Seam
from peer.views import StatusView
from protocol.errors import LocalError, ParallelPeerError
from protocol.ids import PeerId
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.network import Host
from protocol.worker_policy import WorkerPolicy

READ_SIZE_BYTES = 4096
STOP_TIMEOUT_S = 8.0
MEMORY_SHARE = 0.75
SPEED_TIMEOUT_S = 10.0
PORT_NAME = "listen.port"

Bootstrap = Sequence[tuple[PeerId, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What the owner said on the command line."""

    listen: Sequence[str]
    bootstrap: Sequence[str]
    folder: DataFolder
    settings: Mapping[str, str]
    """The owner's settings, as they were typed."""
    fault: str | None
    end_with_input: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options once they are understood."""

    settings: OwnerSettings
    bootstrap: Bootstrap
    fault: Fault | None


def run_peer(options: StartOptions) -> int:
    """Run a peer until it is told to stop; returns the exit code, raises `ParallelPeerError`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        fault = parse_fault(options.fault) if options.fault else None
        bootstrap = [parse_bootstrap(address) for address in options.bootstrap]
        for address in options.listen:
            parse_address(address)
        settings = settings_from(ConfigFile(options.folder.path).read(), options.settings)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    trio.run(_main, options, Wanted(settings, bootstrap, fault))
    return DONE


async def _main(options: StartOptions, wanted: Wanted) -> None:
    try:
        async with trio.open_nursery() as nursery:
            ending = Ending(nursery.cancel_scope.cancel)
            nursery.start_soon(ending.on_signals)
            if options.end_with_input:
                nursery.start_soon(ending.on_end_of_input)
            options.folder.create()
            with options.folder.locked():
                await _run(options, wanted, ending)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _the_cause(group) from group


class Ending:
    """How a running peer is told to end: signals, the end of the input; by force when it does not."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end

    async def on_signals(self) -> None:
        """The first signal ends the peer politely, a second one at once."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for _ in signals:
                break
            say("stopping (again to end at once)")
            self.end()
            with trio.move_on_after(STOP_TIMEOUT_S):
                async for _ in signals:
                    break
        say("ended by force")
        os._exit(FAILED)

    async def on_end_of_input(self) -> None:
        """End with the process that started this one."""
        while True:
            await trio.lowlevel.wait_readable(sys.stdin.fileno())
            if not os.read(sys.stdin.fileno(), READ_SIZE_BYTES):
                self.end()
                return


async def _run(options: StartOptions, wanted: Wanted, ending: Ending) -> None:
    entropy = random.SystemRandom()
    identity = load_or_create_identity(options.folder.key, entropy)
    voice = Voice(as_json=options.as_json, given=len(wanted.bootstrap))
    with closing(Journal.open(options.folder.journal)) as journal:
        executor = SandboxedExecutor(all_runtimes(wanted.settings.programs), sandbox=wanted.settings.sandbox)
        polite = PoliteExecutor(executor, niceness=wanted.settings.nice, max_cpu=wanted.settings.max_cpu)
        async with open_libp2p_host(identity, options.listen or [_usual_place(options.folder)]) as host:
            _remember_port(options.folder, host)
            faulty = _with_fault(executor, executor, wanted.fault, entropy)
            seam = Seam(identity, host, time.time, entropy, faulty, options.folder.path)
            settings = _settings(options, wanted, await _speed(polite))
            owner = _owner(wanted.settings, _with_fault(polite, executor, wanted.fault, entropy), polite)
            node = Node(seam, settings, options.folder, journal, voice.tell, owner)
            executor.blobs = JobBlobs(node.blobs)
            executor.prepared_in = options.folder.runtimes
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                ending.end = node.stop
                voice.announce(node.status(), executor.sandbox_report().text)


def _owner(settings: OwnerSettings, executor: Executor, polite: PoliteExecutor) -> OwnerSide:
    # Without a priority of their own, runners could not be told from the owner's programs.
    senses = MachineSenses(watch_use=settings.when_idle, watch_load=settings.nice > 0)
    return OwnerSide(
        executor=executor,
        hold_back=polite.run,
        senses=senses,
        rules=rules_of(settings),
        accept=settings.accept,
        in_words=in_words(settings),
    )


class Voice:
    """What the owner is told: lines for people, or one JSON document per line for programs; flushed at once."""

    def __init__(self, *, as_json: bool, given: int) -> None:
        self._as_json = as_json
        self._given = given
        self._announced = False

    def announce(self, status: StatusView, sandbox: str) -> None:
        """The peer runs."""
        self._announced = True
        if self._as_json:
            ready = {"event": "ready", "peer": status.peer, "bootstrap": status.bootstrap, "sandbox": status.sandbox}
            self._event({**ready, "fault": status.fault, "pid": status.pid, "data": status.data_folder})
            return
        self._say(f"peer {status.peer}")
        if status.fault:
            self._say(f"  {fault_mark(status.fault)}")
        self._say(f"  data     {status.data_folder}")
        without = f"none, so nobody else's code runs here: {sandbox}"
        self._say(f"  sandbox  {sandbox if status.sandbox else without}")
        self._say(f"  offers   {count(status.slots, 'core')} at {status.price:g} credits per reference-second")
        self._say(f"  allowed  {status.limits}")
        if status.availability.why_not is not None:
            self._say(f"  now      {availability_line(status.availability)}")
        self._say("  another peer joins with")
        for address in status.bootstrap:
            self._say(f"    --bootstrap {address}{_reach(address)}")

    def tell(self, event: NodeEvent) -> None:
        """How joining goes, and what others find wrong."""
        match event:
            case BootstrapTried(address, reason):
                if self._as_json:
                    self._event({"event": "bootstrap", "address": address, "error": reason})
                elif reason:
                    say(f"peer: cannot join by {address}: {reason}")
            case Joined(contacts):
                if self._as_json:
                    self._event({"event": "joined", "contacts": contacts})
                else:
                    self._say(self._standing(contacts))
            case AvailabilityChanged() if not self._announced:
                pass  # The announcement says it.
            case AvailabilityChanged(why_not):
                if self._as_json:
                    self._event({"event": "availability", "why_not": why_not})
                else:
                    self._say(f"resting: {why_not}" if why_not else "working for others again")
            case JobsResumed(jobs):
                if self._as_json:
                    self._event({"event": "resumed", "jobs": jobs})
                else:
                    self._say(f"{count(jobs, 'unfinished job')} {'goes' if jobs == 1 else 'go'} on: `peer job list`")
            case ComplaintHeard(coordinator, text):
                if self._as_json:
                    self._event({"event": "complaint", "coordinator": coordinator, "text": text})
                else:
                    who = short_peer(coordinator)
                    self._say(f"a coordinator found a result of this machine wrong: {text} ({who} says so)")

    def _standing(self, contacts: int) -> str:
        if contacts:
            return f"joined: {count(contacts, 'peer')} known"
        if self._given:
            return "none of the given peers answers: standing alone for now, trying them again as long as it runs"
        return "standing alone until another peer joins"

    def _event(self, event: dict[str, object]) -> None:
        with _deaf_to_broken_pipes():
            print_json(event)

    def _say(self, text: str) -> None:
        with _deaf_to_broken_pipes():
            print(clean(text), flush=True)  # noqa: T201 - the answer of this command, line by line


@contextmanager
def _deaf_to_broken_pipes() -> Iterator[None]:
    """Whoever read our output may be gone; the peer goes on and says no more."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _settings(options: StartOptions, wanted: Wanted, speed: float) -> NodeSettings:
    allowed = wanted.settings
    cores = max(1, (os.cpu_count() or 1) - 1) if allowed.cores is None else allowed.cores
    memory = int(psutil.virtual_memory().total * MEMORY_SHARE) if allowed.memory is None else allowed.memory
    policy = WorkerPolicy(
        slots=min(cores, CHUNKS_PER_BATCH_MAX),
        memory_bytes=memory,
        price=allowed.price,
        # What is stopped for half of the time takes twice as long, as seen from outside.
        speed=speed * allowed.max_cpu,
        runtimes=allowed.runtimes,
        disk_bytes=free_disk_bytes(options.folder.path),
        gpus=find_gpus(),
    )
    return NodeSettings(policy=policy, bootstrap=wanted.bootstrap, fault=options.fault, version=_version())


def _with_fault(
    executor: Executor, sandboxed: SandboxedExecutor, fault: Fault | None, entropy: random.Random
) -> Executor:
    return FaultyExecutor(executor, fault, entropy, files=lambda: sandboxed.blobs) if fault else executor


async def _speed(executor: Executor) -> float:
    """Measured before anybody is served; 1.0, the reference machine's, where it cannot be."""
    if not executor.offers():
        return 1.0
    reason = f"the benchmark took more than {SPEED_TIMEOUT_S:.0f} s"
    try:
        with trio.move_on_after(SPEED_TIMEOUT_S):
            return await measure_speed(executor)
    except LocalError as error:
        reason = str(error)
    logging.getLogger(__name__).warning("the speed of this machine is not known: %s", reason)
    return 1.0


def _usual_place(folder: DataFolder) -> str:
    """All interfaces, at the port of last time where it is free: the line that others were given stays right."""
    try:
        port = int((folder.path / PORT_NAME).read_text())
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("", port))
    except (OSError, ValueError, OverflowError):
        port = 0
    return f"/ip4/0.0.0.0/tcp/{port}"


def _remember_port(folder: DataFolder, host: Host) -> None:
    if addresses := host.addresses():
        (folder.path / PORT_NAME).write_text(f"{parse_address(addresses[0]).port}\n")


def _reach(address: str) -> str:
    return "   (from this machine alone)" if "/ip4/127." in address or "/ip6/::1/" in address else ""


def _the_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of our own errors in the group, or the first of all: one sentence for the owner."""
    ours = group.subgroup(ParallelPeerError)
    error: BaseException = ours or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _version() -> str:
    try:
        return version("parallel-peer")
    except PackageNotFoundError:
        return "unknown"
