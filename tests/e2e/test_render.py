"""A real animation over real peers, one of which alters frames: caught, done again, the video plays."""

import json
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from e2e_helpers import make_network, run_command

from cli.demo.render import make_scene
from peer.runtimes.blender import find_blender

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_blender() is None, reason="Blender is not here; `./run blender` gets it"),
]

FRAMES = 48
WIDTH = 64


def test_an_animation_with_a_peer_that_alters_frames(start_peer, tmp_path):
    make_scene(tmp_path / "balls.blend", FRAMES, WIDTH)
    submitter, _, liar = make_network(start_peer, "", "lie:0.4")
    out, video = tmp_path / "frames", tmp_path / "balls.mp4"
    words = ["submit", "blender", str(tmp_path / "balls.blend"), "--samples", "2", "--out", str(out), "--json"]
    if shutil.which("ffmpeg"):
        words += ["--video", str(video)]
    ended = run_command(*words, "--data", str(submitter.folder))
    assert ended.returncode == 0, ended.stderr
    job = json.loads(ended.stdout)["job"]
    assert job["liars"] == [liar.id] and job["items_done"] == FRAMES
    frames = sorted(out.glob("*.png"))
    assert [path.name for path in frames] == [f"{number:04d}.png" for number in range(1, FRAMES + 1)]

    alone = tmp_path / "alone"
    mine = run_command(
        *("submit", "blender", str(tmp_path / "balls.blend"), "--samples", "2", "--frames", "1-48", "--step", "7"),
        *("--out", str(alone), "--data", str(tmp_path / "lonely"), "--worker-wait", "0", "--verify", "none"),
    )
    assert mine.returncode == 0, mine.stderr
    for path in sorted(alone.glob("*.png")):
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name
    if video.exists():
        count = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
        shown = subprocess.run([*count, video], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == str(FRAMES)


@pytest.mark.parametrize(
    ("words", "story"),
    [
        (["--frames", "9-3"], "--frames"),
        (["--engine", "luxcore"], "--engine takes cycles, eevee, workbench"),
        (["--format", "gif"], "--format takes png or exr"),
        (["--tiles", "2x2", "--format", "exr"], "--tiles works with --format png"),
        (["--video", "out.gif"], "--video takes a name that ends in"),
        (["--resolution", "0"], "--resolution takes a share"),
    ],
)
def test_wrong_options_are_said_before_anything_starts(tmp_path: Path, words: list[str], story: str) -> None:
    scene = tmp_path / "empty.blend"
    scene.write_bytes(b"\x28\xb5\x2f\xfd" + zlib.compress(b""))
    ended = run_command("submit", "blender", str(scene), *words, "--data", str(tmp_path / "peer"))
    assert ended.returncode == 2 and story in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
