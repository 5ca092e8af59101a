"""What is done with Blender itself, in its own Python (3.10 or later), which has nothing of ours but this file."""

from pathlib import Path
from typing import Any

import bpy  # type: ignore[import-not-found, import-untyped, unused-ignore]

FORMATS = {"png": ("PNG", "8"), "exr": ("OPEN_EXR", "16")}


def open_scene(path: str) -> None:
    """Load a file; scripts in it stay off, whatever the file or the user's settings say."""
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)


def configure(spec: "dict[str, Any]", threads: int) -> None:
    """Set what the job says; what it does not say stays as the file has it."""
    scene, render = bpy.context.scene, bpy.context.scene.render
    if spec.get("engine"):
        render.engine = engine_name(spec["engine"])
    if spec.get("samples"):
        scene.cycles.samples = spec["samples"]
        scene.eevee.taa_render_samples = spec["samples"]
    if spec.get("percent"):
        render.resolution_percentage = spec["percent"]
    render.image_settings.file_format, render.image_settings.color_depth = FORMATS[spec["format"]]
    render.threads_mode, render.threads = "FIXED", threads
    render.use_file_extension = False
    render.use_persistent_data = True
    render.use_sequencer = False
    if spec.get("tiles"):  # it would depend on where in its tile a pixel lies
        render.dither_intensity = 0
    scene.cycles.device = "CPU"
    for name in dir(render):
        if name.startswith("use_stamp"):
            setattr(render, name, False)
    for node in getattr(getattr(scene, "node_tree", None), "nodes", ()):
        if node.type == "OUTPUT_FILE":  # it would write beside the frames
            node.mute = True


def engine_name(engine: str) -> str:
    """As this version of Blender calls it."""
    if engine == "eevee":
        return "BLENDER_EEVEE_NEXT" if (4, 2) <= bpy.app.version < (5, 0) else "BLENDER_EEVEE"
    return {"cycles": "CYCLES", "workbench": "BLENDER_WORKBENCH"}[engine]


def render(frame: int, path: str, border: "tuple[float, float, float, float] | None") -> None:
    """One frame, or the part of it within the border (left, right, bottom, top, as shares), into a file."""
    scene = bpy.context.scene
    scene.render.use_border = scene.render.use_crop_to_border = border is not None
    if border is not None:
        (
            scene.render.border_min_x,
            scene.render.border_max_x,
            scene.render.border_min_y,
            scene.render.border_max_y,
        ) = border
    scene.render.filepath = path
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)


def decode(path: str, raw: str, pixels_max: int) -> "list[Any]":
    """Write the pixels of a picture, as bytes, or as 32-bit floats where the file has such.

    Gives width, height, channels, and whether they are floats. Larger ones are made smaller, by means.
    """
    import numpy

    image = bpy.data.images.load(path)
    try:
        image.colorspace_settings.name = "Non-Color"
        (width, height), channels, is_float = image.size, image.channels, image.is_float
        if not width or not height:
            raise RuntimeError("it has no pixels")
        pixels = numpy.empty(width * height * channels, numpy.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    pixels = pixels.reshape(height, width, channels)
    by = int(numpy.ceil((width * height / pixels_max) ** 0.5))
    if by > 1:
        pixels = pixels[: height // by * by, : width // by * by]
        pixels = pixels.reshape(height // by, by, width // by, by, channels).mean((1, 3))
    if not is_float:
        pixels = numpy.rint(numpy.clip(pixels, 0, 1) * 255).astype(numpy.uint8)
    with open(raw, "wb") as file:  # noqa: PTH123
        file.write(numpy.ascontiguousarray(pixels).tobytes())
    return [pixels.shape[1], pixels.shape[0], channels, bool(is_float)]


def describe() -> "dict[str, Any]":
    """What a user wants to know of the file before it is sent, and what it does not have with it."""
    scene = bpy.context.scene
    paths: list[str] = sorted(bpy.utils.blend_paths(absolute=True, packed=False, local=False))
    missing = [path for path in paths if not Path(path).exists()]
    return {
        "version": ".".join(map(str, bpy.app.version)),
        "frames": [scene.frame_start, scene.frame_end, scene.frame_step],
        "fps": scene.render.fps / scene.render.fps_base,
        "engine": scene.render.engine,
        "width": scene.render.resolution_x * scene.render.resolution_percentage // 100,
        "height": scene.render.resolution_y * scene.render.resolution_percentage // 100,
        "camera": scene.camera is not None,
        "missing": missing,
        "outside": [path for path in paths if path not in missing],
    }


def pack(path: str) -> None:
    """Put all files that the scene uses into it, and save that elsewhere."""
    bpy.ops.file.pack_all()
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True, compress=True)
