"""The demonstration's scene, made by Blender itself: five balls bounce on a floor while the camera goes round them.

Run by Blender (`bpy`) with the path of the file, the number of frames, and the width in pixels. Nobody has drawn it.
"""

import math
import sys
from typing import Any

SCRIPT = __file__
BALLS = 5
KEYS_EVERY = 6


def make(path: str, frames: int, width: int) -> None:
    """Save the scene."""
    import bpy  # type: ignore[import-not-found, import-untyped, unused-ignore]

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.render.fps = 1, frames, 24
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 8, False
    scene.render.resolution_x, scene.render.resolution_y = width, width * 9 // 16 // 2 * 2
    bpy.ops.mesh.primitive_plane_add(size=20)
    paint(bpy, (0.15, 0.2, 0.25), roughness=0.5, metallic=0.0)
    for ball in range(BALLS):
        add_ball(bpy, ball, frames)
    bpy.ops.object.light_add(type="AREA", location=(3, -3, 6))
    bpy.context.object.data.energy, bpy.context.object.data.size = 800, 3
    add_camera(bpy, scene, frames)
    world = scene.world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.4, 0.5, 0.7, 1)
    world.node_tree.nodes["Background"].inputs[1].default_value = 0.5
    bpy.ops.wm.save_as_mainfile(filepath=path)


def add_ball(bpy: Any, number: int, frames: int) -> None:
    """One ball that bounces, a little later than the one before."""
    angle = number * math.tau / BALLS
    place = (math.cos(angle) * 2.2, math.sin(angle) * 2.2, 0.7)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.6, location=place)
    ball = bpy.context.object
    bpy.ops.object.shade_smooth()
    colour = (0.9 * (number % 2), 0.2 + 0.15 * number, 0.9 - 0.15 * number)
    paint(bpy, colour, roughness=0.1 + 0.15 * number, metallic=float(number % 2))
    for frame in range(1, frames + 1, KEYS_EVERY):
        ball.location.z = 0.7 + abs(math.sin(frame / frames * math.tau * 2 + number)) * 1.2
        ball.keyframe_insert("location", frame=frame)


def paint(bpy: Any, colour: "tuple[float, float, float]", *, roughness: float, metallic: float) -> None:
    """The object that was added last."""
    material = bpy.data.materials.new("paint")
    material.use_nodes = True
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    inputs["Base Color"].default_value = (*colour, 1)
    inputs["Roughness"].default_value, inputs["Metallic"].default_value = roughness, metallic
    bpy.context.object.data.materials.append(material)


def add_camera(bpy: Any, scene: Any, frames: int) -> None:
    """It looks at the middle and goes a quarter round it."""
    middle = bpy.data.objects.new("middle", None)
    scene.collection.objects.link(middle)
    middle.location = (0, 0, 0.8)
    bpy.ops.object.camera_add(location=(7, -7, 4))
    camera = scene.camera = bpy.context.object
    camera.parent = middle
    camera.constraints.new("TRACK_TO").target = middle
    for frame, turn in ((1, 0.0), (frames, math.tau / 4)):
        middle.rotation_euler = (0, 0, turn)
        middle.keyframe_insert("rotation_euler", frame=frame)


if __name__ == "__main__":
    make(sys.argv[-3], int(sys.argv[-2]), int(sys.argv[-1]))
