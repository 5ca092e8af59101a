"""Real `peer` processes for the tests of the whole: started as a user would, ended by their own ids."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = [sys.executable, "-m", "cli"]
LISTEN = "/ip4/127.0.0.1/tcp/0"
EVENT_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 120.0


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change the command's answers."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PEER_DATA", "PEER_DEBUG", "COLUMNS")}
    return {**kept, **more}


@dataclass
class Peer:
    """One `peer start --json` process and the events that it printed."""

    folder: Path
    process: subprocess.Popen[bytes]
    log: Path
    events: list[dict] = field(default_factory=list)

    def wait_for(self, wanted: str) -> dict:
        """The first event of that name, waiting for it."""
        seen = next((event for event in self.events if event["event"] == wanted), None)
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        while seen is None:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {wanted} in time: {self.log.read_text()}"
            line = self.process.stdout.readline()
            assert line, f"ended with {self.process.wait()} instead of {wanted}: {self.log.read_text()}"
            self.events.append(json.loads(line))
            seen = self.events[-1] if self.events[-1]["event"] == wanted else None
        return seen

    @property
    def id(self) -> str:
        return self.wait_for("ready")["peer"]

    @property
    def bootstrap(self) -> str:
        return self.wait_for("ready")["bootstrap"][0]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


def start_one(
    folder: Path,
    *options: str,
    within: Sequence[str] = (),
    listen: str = LISTEN,
    more: Mapping[str, str] | None = None,
) -> Peer:
    """Start a peer; its stdout is read unbuffered, so that `select` tells the truth.

    `within`: a command that runs another one in its own place, such as `nsenter`; `more`: of its environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "stderr.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *within,
                *COMMAND,
                "start",
                "--json",
                "--data",
                str(folder),
                "--listen",
                listen,
                "--cores",
                "1",
                "--nice",
                "0",
                "--on-battery",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env=environment(**(more or {})),
            bufsize=0,
        )
    return Peer(folder, process, log)


def end_all(peers: list[Peer]) -> None:
    """End by their ids whatever is left."""
    for peer in peers:
        if peer.process.poll() is None:
            peer.process.send_signal(signal.SIGTERM)
    for peer in peers:
        try:
            peer.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            peer.process.kill()
            peer.process.wait()
        peer.process.stdout.close()


StartPeer = Callable[..., Peer]


def known_peers(peer: Peer) -> int:
    """How many others this peer's directory knows."""
    answer = run_command("peers", "--json", "--data", str(peer.folder))
    assert answer.returncode == 0, answer.stderr
    return len(json.loads(answer.stdout))


def wait_until_known(peer: Peer, number: int) -> None:
    """Until this peer finds so many others in the directory."""
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while known_peers(peer) < number:
        assert time.monotonic() < deadline, peer.log.read_text()


def make_network(start: StartPeer, *faults: str) -> list[Peer]:
    """A peer and one more for each of `faults` ("" for an honest one), who all know one another."""
    first = start("first")
    line = first.bootstrap
    others = [
        start(f"other{n}", "--bootstrap", line, *(["--fault", fault] if fault else []))
        for n, fault in enumerate(faults)
    ]
    for other in others:
        other.wait_for("joined")
    wait_until_known(first, len(others))
    return [first, *others]


def run_command(*words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """One `peer` command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        env=environment(**more),
        cwd=cwd,
        check=False,
    )


@dataclass
class JobFiles:
    """A job file, inputs, a folder for the results."""

    folder: Path

    def write(self, code: str, items: list[object]) -> list[str]:
        """The words of `peer submit` for this job."""
        (self.folder / "job.py").write_text(code)
        (self.folder / "in.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        return ["submit", "python", str(self.folder / "job.py"), "--map", str(self.folder / "in.jsonl"), "--out",
                str(self.out), "--json"]  # fmt: skip

    @property
    def out(self) -> Path:
        return self.folder / "results"

    def results(self) -> list[dict]:
        """The lines of results.jsonl."""
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]

    def report(self) -> dict:
        """report.json."""
        return json.loads((self.out / "report.json").read_text())
