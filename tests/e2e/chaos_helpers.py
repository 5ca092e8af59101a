"""Networks that can be broken: peers in network namespaces of their own, links that go down, a disk that is full.

Everything lives in namespaces of processes that a test starts, and ends with them: the machine's own network and
mounts are never touched.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e_helpers import COMMAND, EVENT_TIMEOUT_S, Peer, environment

LATENCY = str(Path(__file__).parent / "slow_link.py")


def why_no_namespaces() -> str:
    """Why namespaces cannot be made here; empty where they can."""
    with contextlib.suppress(OSError):
        tried = subprocess.run(
            ["unshare", "--net", "--mount", "ip", "link", "set", "lo", "up"],
            capture_output=True,
            text=True,
            check=False,
        )
        return f"no network namespaces here: {tried.stderr.strip()}" if tried.returncode else ""
    return "no network namespaces here: unshare or ip is not installed"


class Place:
    """A network namespace, held by a process of its own, with one link to the middle."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.address = f"10.77.{number}.2"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.pid = self._holder.pid
        wait_until(lambda: _namespace(self.pid) != _namespace("self"))
        self.run("ip link set lo up")

    @property
    def within(self) -> list[str]:
        """What to put in front of a command to run it here."""
        return ["nsenter", "--target", str(self.pid), "--net"]

    def run(self, script: str) -> None:
        subprocess.run([*self.within, "sh", "-ec", script], check=True, capture_output=True)

    @property
    def listen(self) -> str:
        return f"/ip4/{self.address}/tcp/0"

    def round_trip_s(self, address: str) -> float:
        """How long a machine takes to say that nothing listens there; packets that are lost are sent again."""
        script = (
            "import socket, sys, time; begun = time.monotonic(); "
            "code = socket.socket().connect_ex((sys.argv[1], 9)); print(time.monotonic() - begun)"
        )
        words = [*self.within, sys.executable, "-W", "ignore", "-c", script, address]
        return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    def cut(self) -> None:
        """The link is gone without a word: no FIN, no RST reaches anybody."""
        self.run("ip link set up0 down")

    def mend(self) -> None:
        """The link is there again; what was sent meanwhile is lost, but for what TCP sends again."""
        self.run(f"ip link set up0 up; ip route add default via 10.77.{self.number}.1")

    def end(self) -> None:
        self._holder.kill()
        self._holder.wait()


@contextlib.contextmanager
def places(number: int, *, slow: dict[int, tuple[float, float]] | None = None) -> Iterator[list[Place]]:
    """So many namespaces, each with a link to the first one, which passes packets on.

    `slow`: for the link of that namespace, its round trip in seconds and the share of packets that it loses.
    """
    made = [Place(n) for n in range(number)]
    links = []
    try:
        middle = made[0]
        middle.run("ip addr add 10.77.0.2/32 dev lo; echo 1 > /proc/sys/net/ipv4/ip_forward")
        for place in made[1:]:
            if place.number in (slow or {}):
                links.append(_slow_link(middle, place, *slow[place.number]))
            else:
                _veth(middle, place)
            n = place.number
            middle.run(f"ip addr add 10.77.{n}.1/24 dev to{n}; ip link set to{n} up")
            place.run(
                f"ip addr add {place.address}/24 dev up0; ip link set up0 up; ip route add default via 10.77.{n}.1"
            )
        yield made
    finally:
        for link in links:
            link.kill()
            link.communicate()
        for place in made:
            place.end()


def _veth(middle: Place, place: Place) -> None:
    middle.run(f"ip link add name to{place.number} type veth peer name up0 netns {place.pid}")


def _slow_link(middle: Place, place: Place, round_trip_s: float, loss: float) -> subprocess.Popen[bytes]:
    """Two TUN devices, with a process between them that delays and drops: `tc netem` is not in every kernel."""
    words = [f"to{place.number}", str(middle.pid), "up0", str(place.pid), str(round_trip_s / 2), str(loss)]
    link = subprocess.Popen(["unshare", "--net", sys.executable, LATENCY, *words], stdout=subprocess.PIPE)
    assert link.stdout is not None and link.stdout.readline() == b"ready\n"
    return link


def wait_until(holds) -> None:
    """Poll: the other side is another process."""
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _namespace(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator["SmallDisk"]:
    """A file system of its own at `folder`, in a mount namespace: `within` it a process finds it full soon."""
    folder.mkdir(parents=True)
    script = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo ready && exec sleep infinity'
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script, "sh", folder, size], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
        yield SmallDisk(folder, holder.pid)
    finally:
        holder.kill()
        holder.communicate()


class SmallDisk:
    """A folder that only processes `within` see."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.within = ["nsenter", "--target", str(pid), "--mount"]
        self._filler = Path(f"/proc/{pid}/root") / folder.relative_to("/") / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """As it was."""
        self._filler.unlink()


class RunningJob:
    """A job of a peer, submitted by `peer submit --detach`."""

    def __init__(self, peer: Peer, words: list[str], *options: str, within: Sequence[str] = ()) -> None:
        self._within = within
        self._data = ["--data", str(peer.folder)]
        submitted = self.command(*words, *options, "--detach")
        assert submitted.returncode == 0, submitted.stderr
        self.id = json.loads(submitted.stdout)["job"]
        self._started = time.monotonic()

    def view(self) -> dict:
        return json.loads(self.command("job", "show", self.id, "--json").stdout)

    def command(self, *words: str, timeout_s: float = EVENT_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """A command about this job's peer, run where its data folder is seen."""
        everything = [*self._within, *COMMAND, *words, *self._data]
        return subprocess.run(
            everything, capture_output=True, text=True, timeout=timeout_s, env=environment(), check=False
        )

    def wait_for_progress(self, items: int) -> dict:
        """The view once so many items are done."""
        while (view := self.view())["items_done"] < items:
            assert view["state"] in ("calling", "running"), view
            assert time.monotonic() < self._started + EVENT_TIMEOUT_S, view
        return view

    def wait_end(self, timeout_s: float) -> dict:
        """The last view."""
        followed = self.command("job", "logs", self.id, "--follow", timeout_s=timeout_s)
        assert followed.returncode == 0, followed.stderr
        return self.view()

    def results(self) -> list[object]:
        lines = self.command("job", "results", self.id).stdout.splitlines()
        return [line["result"] for line in map(json.loads, lines) if line["ok"]]


@contextlib.contextmanager
def stopped(peer: Peer) -> Iterator[None]:
    """The peer's process does nothing meanwhile, with its connections open."""
    peer.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        peer.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def dripping_worker(bootstrap: str, point: str) -> Iterator[str]:
    """A worker that goes by the book up to a point and then sends a byte a second; its peer id."""
    script = str(Path(__file__).parent / "dripping_worker.py")
    process = subprocess.Popen(
        [sys.executable, script, bootstrap, point], stdout=subprocess.PIPE, env=environment(), text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
