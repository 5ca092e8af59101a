"""A real Blender in the sandbox: frames equal to the byte, tiles that fit, scripts that stay off, failures."""

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from blender_helpers import needs_blender, scene_in
from blob_town import town

from cli.blender_scene import check_is_scene, look_at
from cli.exits import WrongUse
from cli.tiles import merge_tiles
from peer.execution.executor import SandboxedExecutor
from peer.job_blobs import JobBlobs
from peer.result_views import ResultViews
from peer.runtimes.blender import RENDER_COMPARE, BlenderRuntime, find_blender
from peer.seam import ExecutionFailure
from protocol import encoding
from protocol.blobs import BlobId, blob_digest
from protocol.bodies import JobBlob, Manifest
from protocol.comparators import parse_comparator
from protocol.errors import LocalError
from protocol.files import FileRef
from protocol.ids import JobId
from protocol.limits import MIB
from protocol.messages.job import FailureKind
from protocol.outcomes import decode_outcomes
from protocol.pictures import apart

pytestmark = [pytest.mark.slow, needs_blender]

LIMIT_S = 240.0


@asynccontextmanager
async def rendering(folder: Path, scene: Path, **spec: object):
    """`render(*items)`: the files of these frames or tiles, or the failure of the chunk."""
    with trio.fail_after(LIMIT_S):
        async with town(folder) as t:
            worker = await t.peer("worker")
            blob = await worker.store.put(scene)
            executor = SandboxedExecutor([BlenderRuntime()])
            executor.blobs = JobBlobs(worker)
            manifest = Manifest(
                job=JobId("j"),
                runtime="blender",
                code=json.dumps({"format": "png", "samples": 2, **spec}).encode(),
                memory_bytes_max=2048 * MIB,
                blobs=(JobBlob(name="SCENE", blob=blob_digest(blob.id), size_bytes=blob.size_bytes),),
            )
            async with executor.open_runner(manifest) as runner:

                async def render(*items: dict) -> list[tuple[str, bytes]] | ExecutionFailure:
                    ran = await runner.run(encoding.encode(list(items)))
                    if isinstance(ran, ExecutionFailure):
                        return ran
                    files = [one.value["$file"] for one in decode_outcomes(ran.data, len(items))]
                    kept = [worker.store.find(BlobId(file["blob"])) for file in files]
                    return [(file["name"], one.path.read_bytes()) for file, one in zip(files, kept, strict=True)]

                yield render


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return scene_in(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("suffix", ["png", "exr"])
async def test_frames_are_equal_to_the_byte_in_every_process(tmp_path, scene, suffix) -> None:
    rounds = []
    for number in range(2):
        async with rendering(tmp_path / str(number), scene, format=suffix) as render:
            rounds.append(await render({"frame": 1}, {"frame": 3}))
    assert rounds[0] == rounds[1]
    (first, one), (third, other) = rounds[0]
    assert (first, third) == (f"0001.{suffix}", f"0003.{suffix}") and one != other


async def test_tiles_fit_to_the_pixel(tmp_path, scene) -> None:
    from PIL import Image

    tiles = [{"frame": 2, "tile": [column, row, 2, 3]} for row in range(3) for column in range(2)]
    async with rendering(tmp_path, scene, tiles=True) as render:
        [(name, whole)] = await render({"frame": 2})
        parts = await render(*tiles)
    out = tmp_path / "out"
    out.mkdir()
    for part, data in parts:
        (out / part).write_bytes(data)
    assert merge_tiles(out, [2], (2, 3), "png") == 1
    assert [path.name for path in out.iterdir()] == [name]
    (tmp_path / "whole.png").write_bytes(whole)
    merged, rendered = Image.open(out / name), Image.open(tmp_path / "whole.png")
    assert merged.size == rendered.size and merged.tobytes() == rendered.tobytes()


async def test_what_is_no_scene_is_the_machines_failure_and_no_result(tmp_path) -> None:
    """Another version may read it: honest peers with other versions must not seem to lie."""
    bad = tmp_path / "bad.blend"
    bad.write_bytes(b"BLENDER-v405" + bytes(1000))
    async with rendering(tmp_path, bad) as render:
        failure = await render({"frame": 1})
        assert isinstance(failure, ExecutionFailure) and failure.kind in (FailureKind.ENVIRONMENT, FailureKind.CRASHED)


async def test_a_bpy_that_cannot_be_loaded_is_the_machines_failure(tmp_path, scene, monkeypatch) -> None:
    """As where a library of the system is missing: no error of each frame, in which such machines would agree."""
    packages = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    (packages / "bpy").mkdir(parents=True)
    (packages / "bpy" / "__init__.py").write_text("raise ImportError('libX11.so.6: cannot open shared object file')")
    monkeypatch.setenv("PEER_BLENDER", str(packages))
    async with rendering(tmp_path, scene) as render:
        failure = await render({"frame": 1})
        assert isinstance(failure, ExecutionFailure) and failure.kind is FailureKind.ENVIRONMENT
        assert "libX11.so.6" in failure.detail


def blender_does(script: str, folder: Path) -> None:
    """Run a script in Blender, out here."""
    blender = find_blender()
    if blender.packages is None:
        pytest.skip("needs Blender as a module")
    path = folder / "script.py"
    path.write_text(f"{script}\nimport os\nos._exit(0)  # its own way out may hang\n")
    env = {"PYTHONPATH": str(blender.packages), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    subprocess.run([sys.executable, "-s", str(path)], check=True, capture_output=True, timeout=60, env=env)


async def test_scripts_in_the_file_stay_off(tmp_path, scene) -> None:
    """A text that registers itself would change the size of the picture."""
    evil, plain = tmp_path / "evil.blend", tmp_path / "plain.blend"
    blender_does(
        f"""
import bpy
bpy.ops.wm.open_mainfile(filepath={str(scene)!r})
bpy.ops.wm.save_as_mainfile(filepath={str(plain)!r})
text = bpy.data.texts.new("evil.py")
text.write("import bpy\\nbpy.context.scene.render.resolution_x = 16\\n")
text.use_module = True
bpy.ops.wm.save_as_mainfile(filepath={str(evil)!r})
""",
        tmp_path,
    )
    pictures = []
    for name in (evil, plain):
        async with rendering(tmp_path / name.stem, name) as render:
            [(_, picture)] = await render({"frame": 1})
            pictures.append(picture)
    assert pictures[0] == pictures[1]


def test_a_look_before_sending_names_what_is_missing_and_packs_the_rest(tmp_path, scene) -> None:
    picture, gone = tmp_path / "wood.png", tmp_path / "gone.png"
    made = tmp_path / "textured.blend"
    blender_does(
        f"""
import bpy
bpy.ops.wm.open_mainfile(filepath={str(scene)!r})
for path in ({str(picture)!r}, {str(gone)!r}):
    image = bpy.data.images.new(path[-8:], 8, 8)
    image.filepath_raw, image.file_format = path, "PNG"
    image.save()
    bpy.data.materials[0].node_tree.nodes.new("ShaderNodeTexImage").image = bpy.data.images.load(path)
bpy.ops.wm.save_as_mainfile(filepath={str(made)!r})
""",
        tmp_path,
    )
    sent = tmp_path / "sent"
    sent.mkdir()
    seen = look_at(made, sent)
    assert seen is not None and seen.path == sent / made.name and seen.path.exists()
    assert (seen.frames, seen.fps) == ((1, 4, 1), 24.0)
    gone.unlink()
    with pytest.raises(WrongUse, match=r"uses 1 file that cannot be found: .*gone\.png"):
        look_at(made, sent)
    picture.unlink()
    assert look_at(seen.path, sent).path == seen.path, "what was packed needs no other file"


def test_what_is_no_scene_is_said(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(WrongUse, match=r"a\.txt is no \.blend file"):
        check_is_scene(tmp_path / "a.txt")
    with pytest.raises(WrongUse, match="cannot read"):
        check_is_scene(tmp_path / "missing.blend")


@pytest.mark.parametrize("suffix", ["png", "exr"])
async def test_pictures_of_results_are_decoded_in_the_sandbox(tmp_path, scene, suffix) -> None:
    """What machines of different kinds render is held against each other by its pixels."""
    with trio.fail_after(LIMIT_S):
        async with rendering(tmp_path / "a", scene, format=suffix) as render:
            [(_, one)] = await render({"frame": 1})
        async with rendering(tmp_path / "b", scene, format=suffix, samples=3) as render:
            [(_, other)] = await render({"frame": 1})
        async with town(tmp_path) as t:
            worker = await t.peer("worker")
            executor = SandboxedExecutor([BlenderRuntime()])
            executor.blobs = JobBlobs(worker)
            files = []
            for number, data in enumerate((one, one, other, b"text")):
                (tmp_path / f"{number}.{suffix}").write_bytes(data)
                blob = await worker.store.put(tmp_path / f"{number}.{suffix}")
                files.append(FileRef(name=f"f.{suffix}", blob=blob.id, size_bytes=blob.size_bytes))
            problems: list[LocalError] = []
            manifest = Manifest(job=JobId("j"), runtime="blender", code=b"", memory_bytes_max=2048 * MIB)
            views = ResultViews(executor, manifest, problems.append)
            seen: list[bytes] = []
            done = trio.Event()

            def keep(view: bytes) -> None:
                seen.append(view)
                if len(seen) == len(files):
                    done.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(views.run)
                for file in files:
                    views.add((file,), keep)
                await done.wait()
                nursery.cancel_scope.cancel()
    first, again, fewer_samples, none = seen
    assert first and first == again and none == b"" and not problems
    assert apart(first, fewer_samples) > parse_comparator(RENDER_COMPARE).limit
