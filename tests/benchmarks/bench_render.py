"""Frames per minute of one and of two peers against one Blender process, the loading of the scene included.

The scene is that of the demonstration, rendered by Cycles with one thread. The Blender process loads it and renders all
frames, as `blender -b -a` does; two of them, with half of the frames each, show what two cores of this machine give
when they share its memory. The peers are processes of their own with one slot each; results are not checked
(`--verify none`), so that only the cost of handing out, sandbox and transfer shows. Target: 0.9 of linear.
Usage: bench_render.py [FRAMES [SAMPLES]]
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from cli.child import ChildPeer
from cli.demo.render import make_scene
from cli.progress import follow
from cli.submit_blender import Typed, blender_job
from cli.submit_options import JobOptions
from peer.data_folder import DataFolder
from peer.runtimes.blender import find_blender
from peer.runtimes.inside import blender as inside
from peer.views import JobView

FRAMES = int(sys.argv[1]) if len(sys.argv) > 1 else 48
SAMPLES = int(sys.argv[2]) if len(sys.argv) > 2 else 24
WIDTH = 320
LISTEN = "/ip4/127.0.0.1/tcp/0"
ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import blender_scene
blender_scene.open_scene(sys.argv[2])
blender_scene.configure({"format": "png", "samples": int(sys.argv[4])}, 1)
for frame in range(int(sys.argv[6]), int(sys.argv[3]) + 1, int(sys.argv[7])):
    blender_scene.render(frame, f"{sys.argv[5]}/{frame:04d}.png", None)
import os
os._exit(0)
"""


def alone_s(scene: Path, out: Path, processes: int) -> float:
    """So many Blender processes that share the frames."""
    blender = find_blender()
    assert blender is not None and blender.packages is not None, "needs Blender as a module: ./run blender"
    words = [sys.executable, "-s", "-c", ALONE, str(Path(inside.__file__).parent), str(scene)]
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [*words, str(FRAMES), str(SAMPLES), str(out), str(first), str(processes)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(blender.packages), "OMP_WAIT_POLICY": "PASSIVE"},
        )
        for first in range(1, processes + 1)
    ]
    assert [process.wait() for process in running] == [0] * processes
    return time.perf_counter() - started


def with_peers_s(scene: Path, folder: Path, peers: int) -> tuple[float, JobView]:
    """So many workers, and a submitter that does not render."""
    with ExitStack() as stack:
        workers: list[str] = []
        for number in range(peers):
            options = ["--listen", LISTEN, "--cores", "1", *(["--bootstrap", workers[0]] if workers else [])]
            child = stack.enter_context(ChildPeer(DataFolder(folder / f"worker{number}"), *options))
            workers += child.wait_for("ready").bootstrap[:1]
        options = ["--listen", LISTEN, "--cores", "0", "--bootstrap", workers[0]]
        submitter = stack.enter_context(ChildPeer(DataFolder(folder / "submitter"), *options))
        submitter.wait_for("joined")
        while len(submitter.client.peers()) < peers:
            time.sleep(0.2)
        typed = Typed(
            frames="", step=1, engine="", samples=SAMPLES, resolution="", suffix="png", tiles="", video=None, fps=0.0
        )
        prepared = blender_job(scene, typed, JobOptions(local="off", verify="none", worker_wait=60.0))
        request = prepared.request(submitter.client)
        started = time.perf_counter()
        job = submitter.client.submit(request)
        view = follow(submitter.client, job, lambda _: None)
        assert view.items_done == FRAMES, view.message
        return time.perf_counter() - started, view


def main() -> None:
    """One Blender, one peer, two peers."""
    with tempfile.TemporaryDirectory(prefix="pp-render-") as name:
        folder = Path(name)
        scene, out = folder / "balls.blend", folder / "out"
        out.mkdir()
        make_scene(scene, FRAMES, WIDTH)
        base_s, two_s = alone_s(scene, out, 1), alone_s(scene, out, 2)
        print(f"{FRAMES} frames of {WIDTH} pixels, {SAMPLES} samples; scene {scene.stat().st_size // 1024} KiB")
        print(f"    one Blender process   {base_s:6.1f} s  {60 * FRAMES / base_s:6.1f} frames/min")
        print(f"    two Blender processes {two_s:6.1f} s  {60 * FRAMES / two_s:6.1f} frames/min")
        for peers, best_s in ((1, base_s), (2, two_s)):
            took_s, view = with_peers_s(scene, folder / f"with{peers}", peers)
            ratio = base_s / took_s / peers
            rate, bytes_out, bytes_in = 60 * FRAMES / took_s, view.bytes_sent // 1024, view.bytes_received // 1024
            print(f"    {peers} peer(s)             {took_s:6.1f} s  {rate:6.1f} frames/min  {ratio:.2f} of linear")
            print(f"        {best_s / took_s:.2f} of what as many Blender processes give; {view.executions} executions")
            print(f"        on the job's streams, without blobs: {bytes_out} KiB sent, {bytes_in} KiB received")


if __name__ == "__main__":
    main()
