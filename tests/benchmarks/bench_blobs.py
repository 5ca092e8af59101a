"""Fetching a blob: our blob protocol from one and from four holders, against plain TCP with TLS, over loopback.

    python tests/benchmarks/bench_blobs.py [--mib 256] [--holders 4] [--runs 3] [--folder DIR]

Holders and fetcher are processes of their own, as they would be on other machines, but on one machine they share its
cores: what two holders gain here is less than between machines. TLS is Python's `ssl` with its defaults over trio's
sockets, and writes what it reads to a file; it checks no digests. All start from the page cache. RSS is the highest
of the process during the transfer, less what it was before it.
"""

import argparse
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random, SystemRandom

sys.path.insert(0, str(Path(__file__).parents[2]))

import trio

from peer.blob_store import BlobStore
from peer.blobs import Blobs
from peer.seam import Seam
from protocol.blobs import BlobId
from protocol.ids import PeerId
from protocol.limits import MIB
from protocol.signing import Envelope, Identity

LISTEN = "/ip4/127.0.0.1/tcp/0"
READ_BYTES = 256 * 1024


class NoDht:
    """Holders are given by hand."""

    async def store(self, key: bytes, envelope: Envelope) -> int:
        return 0

    async def find_records(self, key: bytes, wanted: int) -> tuple[list[Envelope], int]:
        return [], 0


@asynccontextmanager
async def peer(folder: Path) -> AsyncIterator[tuple[Blobs, Seam]]:
    from peer.libp2p_host import open_libp2p_host

    identity = Identity(SystemRandom().randbytes(32))
    async with open_libp2p_host(identity, [LISTEN]) as host, trio.open_nursery() as nursery:
        seam = Seam(identity, host, time.time, Random(1), None, folder)  # type: ignore[arg-type]
        blobs = Blobs(seam, NoDht(), BlobStore(folder, bytes_max=1 << 40))  # type: ignore[arg-type]
        await nursery.start(blobs.run)
        yield blobs, seam
        nursery.cancel_scope.cancel()


async def hold(folder: Path, source: Path) -> None:
    """Until the end of the input; then says how much memory it took."""
    async with peer(folder) as (blobs, seam):
        blob = await blobs.store.put(source)
        before = peak_mib()
        say({"id": blob.id, "peer": seam.identity.peer_id, "addresses": list(seam.host.addresses())})
        await trio.to_thread.run_sync(sys.stdin.read)
        say({"rss": peak_mib() - before})


async def fetch(folder: Path, holders: list[dict]) -> None:
    async with peer(folder) as (blobs, seam):
        for holder in holders:
            seam.host.add_addresses(PeerId(holder["peer"]), holder["addresses"])
        before = peak_mib()
        began = time.perf_counter()
        await blobs.fetch(BlobId(holders[0]["id"]), hints=[PeerId(holder["peer"]) for holder in holders])
        say({"seconds": time.perf_counter() - began, "rss": peak_mib() - before})


async def serve_tls(source: Path, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.SSLStream) -> None:
        with source.open("rb", buffering=0) as file:
            while data := file.read(READ_BYTES):
                await stream.send_all(data)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_ssl_over_tcp, handle, 0, context)
        say({"port": listeners[0].transport_listener.socket.getsockname()[1]})
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def fetch_tls(target: Path, port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = peak_mib()
    began = time.perf_counter()
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context, https_compatible=True)
    with target.open("wb", buffering=0) as file:
        while data := await stream.receive_some(READ_BYTES):
            file.write(data)
        os.fsync(file.fileno())
    say({"seconds": time.perf_counter() - began, "rss": peak_mib() - before})


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(what: dict) -> None:
    print(json.dumps(what), flush=True)


class Child:
    """This script in a process of its own, in one of its parts."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--part", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> dict:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def certificate_in(folder: Path) -> Path:
    """A key and a certificate signed by itself."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1)).sign(
        key, hashes.SHA256()
    )
    plain = serialization.NoEncryption()
    path = folder / "tls.pem"
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(encoded + made.public_bytes(serialization.Encoding.PEM))
    return path


def measure_tls(folder: Path, source: Path, times: int) -> list[dict]:
    server = Child("serve_tls", source, certificate_in(folder))
    port = server.said()["port"]
    runs = []
    for number in range(times):
        child = Child("fetch_tls", folder / f"tls-{number}", port)
        runs.append(child.said())
        child.end()
        (folder / f"tls-{number}").unlink()
    server.end()
    return runs


def measure_ours(folder: Path, source: Path, number: int, times: int) -> tuple[list[dict], float]:
    holders = [Child("hold", folder / f"holder-{number}-{one}", source) for one in range(number)]
    told = [holder.said() for holder in holders]
    runs = []
    for run in range(times):
        target = folder / f"fetcher-{number}-{run}"
        child = Child("fetch", target, json.dumps(told))
        runs.append(child.said())
        child.end()
        for path in target.iterdir():
            path.unlink()
    for holder in holders:
        assert holder.process.stdin is not None
        holder.process.stdin.close()
    rss = max(holder.said()["rss"] for holder in holders)
    for holder in holders:
        holder.end()
    return runs, rss


def show(name: str, mib: int, runs: list[dict], holder_rss: float | None = None) -> float:
    rates = sorted(mib / run["seconds"] for run in runs)
    memory = f"fetcher +{max(run['rss'] for run in runs):.0f} MiB"
    if holder_rss is not None:
        memory += f", holder +{holder_rss:.0f} MiB"
    spread = f"({rates[0]:.0f} to {rates[-1]:.0f})"
    print(f"{name:24}{rates[len(rates) // 2]:8.0f} MiB/s {spread:16} {memory}", flush=True)
    return rates[len(rates) // 2]


def main(mib: int, holders: int, times: int, place: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        source = folder / "source.bin"
        with source.open("wb") as file:
            for number in range(mib):
                file.write(Random(number).randbytes(MIB))
        print(f"{mib} MiB, {times} runs each, median (least to most), {os.cpu_count()} cores, in {folder.parent}")
        tls = show("TCP with TLS", mib, measure_tls(folder, source, times))
        one = show("blob, one holder", mib, *measure_ours(folder, source, 1, times))
        print(f"one holder against TLS: x {one / tls:.2f}")
        if holders > 1:
            many = show(f"blob, {holders} holders", mib, *measure_ours(folder, source, holders, times))
            print(f"{holders} holders against one: x {many / one:.2f}")


PARTS = {"hold": hold, "fetch": fetch, "serve_tls": serve_tls, "fetch_tls": fetch_tls}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        part, first, second = sys.argv[2:]
        given = json.loads(second) if part in ("fetch", "fetch_tls") else Path(second)
        trio.run(PARTS[part], Path(first), given)
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--mib", type=int, default=256)
        parser.add_argument("--holders", type=int, default=4)
        parser.add_argument("--runs", type=int, default=3)
        parser.add_argument("--folder", type=Path, default=None)
        options = parser.parse_args()
        main(options.mib, options.holders, options.runs, options.folder)
