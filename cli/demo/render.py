"""`peer demo --render`: the same four peers render an animation, and one of them alters frames a little."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.child import ChildPeer
from cli.console import err, print_json, say, show
from cli.demo import scene
from cli.demo.peers import NAMES, demo_folder, four_peers, wait_until_known
from cli.exits import INTERRUPTED, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.result_files import ResultFolder
from cli.results import exit_code, write_results
from cli.show import job_report, peers_table
from cli.submit import run_to_the_end
from cli.submit_blender import Typed, blender_job
from cli.submit_options import JobOptions
from cli.text import count
from peer.runtimes.blender import BlenderRuntime, find_blender
from peer.runtimes.inside.blender import words_of
from peer.views import JobView
from protocol.errors import LocalError

FRAMES = 24
WIDTH = 240
LIAR = "lie:0.5"
VIDEO = "animation.mp4"
SCENE_TIMEOUT_S = 120.0


def run_render_demo(*, keep: bool, as_json: bool) -> int:
    """The whole demonstration; returns the exit code of its job. The frames stay, in a folder that is named."""
    if find_blender() is None:
        probe = BlenderRuntime().probe()
        raise WrongUse(f"{probe.problem}: {probe.fix}")
    with terminated_like_interrupted(), demo_folder(keep=keep) as folder:
        out = Path(tempfile.mkdtemp(prefix="peer-frames-"))
        try:
            with four_peers(folder, LIAR) as peers:
                return _run(peers, folder, out, as_json=as_json)
        except KeyboardInterrupt:
            say(f"interrupted; the peers are stopped, what was rendered is in {out}")
            return INTERRUPTED


def make_scene(path: Path, frames: int, width: int) -> None:
    """The scene of the demonstration, by the Blender of this machine; raises `LocalError`."""
    blender = find_blender()
    assert blender is not None
    if blender.packages is not None:
        words, more = [sys.executable, "-s", "-P"], {"PYTHONPATH": str(blender.packages)}
    else:
        words, more = words_of(str(blender.program)), {}
    ended = subprocess.run(
        [*words, scene.SCRIPT, "--", str(path), str(frames), str(width)],
        capture_output=True,
        text=True,
        timeout=SCENE_TIMEOUT_S,
        env={**os.environ, **more},
        check=False,
    )
    if not path.exists():
        lines = (ended.stdout + ended.stderr).strip().splitlines()
        raise LocalError(
            f"Blender {blender.version} did not make the scene: {lines[-1] if lines else ended.returncode}"
        )


def _run(peers: list[ChildPeer], folder: Path, out: Path, *, as_json: bool) -> int:
    blend = folder / "balls.blend"
    say("Making a scene with Blender: five balls that bounce, and a camera that goes round them")
    make_scene(blend, FRAMES, WIDTH)
    known = wait_until_known(peers[0])
    if not as_json:
        err().print(peers_table(known))
    say(f"\nThe job: {FRAMES} frames, each rendered by Cycles in a sandbox. The scene is loaded once on each machine.")
    say("Frames of one Blender are equal to the byte, so a second peer must give the same file. In half of what it")
    say(f"gives, {NAMES[-1]} changes a few pixels by less than anybody would see.\n")
    client = peers[0].client
    typed = Typed(
        frames="", step=1, engine="", samples=0, resolution="", suffix="png", tiles="", video=_video(out), fps=0.0
    )
    prepared = blender_job(blend, typed, JobOptions(out=out, worker_wait=30.0))
    job = client.submit(prepared.request(client))
    files = ResultFolder(client, job, out)
    last = run_to_the_end(client, "balls", job, with_story=True, also=files.on_view)
    write_results(out, last, files.complete())
    prepared.finish(last)
    if as_json:
        print_json({"job": last, "out": str(out)})
    else:
        _show(last, out)
    return exit_code(last)


def _video(out: Path) -> Path | None:
    """Where there is ffmpeg."""
    return out / VIDEO if shutil.which("ffmpeg") else None


def _show(job: JobView, out: Path) -> None:
    show(job_report(job))
    if job.liars:
        redone = f"{count(job.revoked, 'chunk')} of its that had counted"
        say(f"{NAMES[-1]} gave a frame that another peer had otherwise: {NAMES[0]} rendered it again, saw who was")
        say(f"right, and banned the liar. Done again: {redone}.")
    else:
        say(f"{NAMES[-1]} was not caught: this time it altered nothing that counted.")
    say(f"The frames{' and their video' if (out / VIDEO).exists() else ''} are in {out}")
