"""A video of frames, by the ffmpeg of this machine."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from protocol.errors import LocalError

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")
_CODECS = {".webm": ["-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0"]}
_H264 = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]


def check_can_encode(video: Path) -> None:
    """Raise `WrongUse` where that cannot be."""
    if video.suffix.lower() not in SUFFIXES:
        raise WrongUse(f"--video takes a name that ends in {', '.join(SUFFIXES)}, not {video.name!r}")
    if not video.absolute().parent.is_dir():
        raise WrongUse(f"--video: there is no folder {video.absolute().parent}")
    if shutil.which("ffmpeg") is None:
        raise WrongUse("--video needs ffmpeg on this machine: apt install ffmpeg")


def encode(frames: Sequence[Path], fps: float, video: Path) -> None:
    """The frames in their order; raises `LocalError`."""
    if not frames:
        raise LocalError(f"no frame is there to make {video} of")
    with tempfile.TemporaryDirectory(prefix="peer-video-") as folder:
        for number, frame in enumerate(frames):
            (Path(folder) / f"{number:08d}{frame.suffix}").symlink_to(frame.absolute())
        made = Path(folder) / f"video{video.suffix}"
        pattern = Path(folder) / f"%08d{frames[0].suffix}"
        words = ["ffmpeg", "-v", "error", "-framerate", f"{fps:g}", "-i", str(pattern)]
        ended = subprocess.run(
            [*words, *_CODECS.get(video.suffix.lower(), _H264), str(made)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if ended.returncode:
            lines = ended.stderr.decode(errors="replace").strip().splitlines()
            raise LocalError(f"ffmpeg cannot make {video}: {lines[-1] if lines else ended.returncode}")
        shutil.copyfile(made, video)
