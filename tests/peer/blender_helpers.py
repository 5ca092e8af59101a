"""What the tests of Blender share: a scene that Blender makes, and a reason to skip where there is none."""

from pathlib import Path

import pytest

from cli.demo.render import make_scene
from peer.runtimes.blender import find_blender

needs_blender = pytest.mark.skipif(find_blender() is None, reason="Blender is not here; `./run blender` gets it")


def scene_in(folder: Path, *, frames: int = 4, width: int = 64) -> Path:
    """A .blend file."""
    path = folder / "balls.blend"
    make_scene(path, frames, width)
    return path
