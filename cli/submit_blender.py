"""`peer submit blender`: frames of a scene, or tiles of them, and a video of what came."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.blender_scene import Scene, check_is_scene, look_at
from cli.console import say
from cli.exits import WrongUse
from cli.frames import parse_frames, parse_percent, parse_tiles
from cli.job_request import RequestForm
from cli.submit import Prepared
from cli.submit_options import JobOptions
from cli.text import count
from cli.tiles import check_can_merge, merge_tiles
from cli.video import check_can_encode, encode
from peer.blob_views import TransferRequest
from peer.control_client import ControlClient
from peer.runtimes.blender import RENDER_COMPARE
from peer.runtimes.inside.blender import SCENE_BLOB
from peer.views import JobRequest, JobView

ENGINES = ("cycles", "eevee", "workbench")
FORMATS = ("png", "exr")
FPS_DEFAULT = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What is said about the pictures, as it was typed."""

    frames: str
    step: int
    engine: str
    samples: int
    resolution: str
    suffix: str
    tiles: str
    video: Path | None
    fps: float


def blender_job(scene: Path, typed: Typed, options: JobOptions) -> Prepared:
    """Options and the file are checked, the scene is looked at; raises `WrongUse`."""
    job = _Job(scene, typed, options)
    return Prepared(options=options, request=job.request, finish=job.finish)


class _Job:
    def __init__(self, scene: Path, typed: Typed, options: JobOptions) -> None:
        if typed.engine and typed.engine not in ENGINES:
            raise WrongUse(f"--engine takes {', '.join(ENGINES)}, not {typed.engine!r}")
        if typed.suffix not in FORMATS:
            raise WrongUse(f"--format takes {' or '.join(FORMATS)}, not {typed.suffix!r}")
        if typed.frames:
            parse_frames(typed.frames, typed.step)
        check_is_scene(scene)
        self._typed, self._options = typed, options
        self._tiles = parse_tiles(typed.tiles) if typed.tiles else (1, 1)
        if self._tiles != (1, 1):
            check_can_merge(typed.suffix)
        if typed.video is not None:
            check_can_encode(typed.video)
        self._code = json.dumps(
            {
                "format": typed.suffix,
                "engine": typed.engine,
                "samples": typed.samples,
                "percent": parse_percent(typed.resolution) if typed.resolution else 0,
                "tiles": self._tiles != (1, 1),
            }
        )
        self._form = RequestForm("blender", options, name=scene.stem, compare=RENDER_COMPARE)
        self._folder = tempfile.TemporaryDirectory(prefix="peer-scene-")
        self._scene = look_at(scene, Path(self._folder.name))
        self.frames = _frames(typed, self._scene)
        if self._scene and not options.runtime_version:
            # Frames are compared, and an older Blender cannot even read the file of a newer one.
            self._form.require_version(f"=={'.'.join(self._scene.version.split('.')[:2])}.*")
        sent = self._scene.path if self._scene else scene
        self._form.add_blob((SCENE_BLOB, TransferRequest(action="put", what=str(sent.absolute()))))

    def request(self, client: ControlClient) -> JobRequest:
        """The job: a frame or a tile is an item."""
        columns, rows = self._tiles
        tiles = [[column, row, columns, rows] for row in range(rows) for column in range(columns)]
        items: list[object] = [
            {"frame": frame, **({"tile": tile} if len(tiles) > 1 else {})} for frame in self.frames for tile in tiles
        ]
        request = self._form.request(client, self._code, items)
        self._folder.cleanup()
        return request

    def finish(self, last: JobView) -> None:
        """Tiles become frames, frames a video."""
        out, typed = self._options.out, self._typed
        if self._tiles != (1, 1):
            merged = merge_tiles(out, self.frames, self._tiles, typed.suffix)
            say(f"{count(merged, 'frame')} put together from tiles")
        if typed.video is not None:
            frames = [path for frame in self.frames if (path := out / f"{frame:04d}.{typed.suffix}").exists()]
            fps = typed.fps or (self._scene.fps if self._scene else FPS_DEFAULT)
            encode(frames, fps, typed.video)
            say(f"{count(len(frames), 'frame')} at {fps:g} per second: {typed.video}")


def _frames(typed: Typed, scene: Scene | None) -> Sequence[int]:
    if typed.frames:
        return parse_frames(typed.frames, typed.step)
    if scene is None:
        raise WrongUse("say which frames: --frames 1-250; the scene's own are not known without a Blender here")
    first, last, step = scene.frames
    return parse_frames(f"{first}-{last}", typed.step if typed.step > 1 else step)
