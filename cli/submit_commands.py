"""`peer submit RUNTIME`: one command for each runtime, with the options that all jobs have."""

from pathlib import Path

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
from typing import Annotated, Optional

import typer

from cli.submit_options import JobOptions, with_job_options
from peer.runtimes.inside.wasm import FUEL_PER_ITEM_DEFAULT, FUEL_PER_ITEM_MAX

app = typer.Typer(help="Run a job on the network.", no_args_is_help=True)


@app.command("python")
@with_job_options
def submit_python(
    job_file: Annotated[Path, typer.Argument(help="A file with `def run(item)`.", metavar="JOB_FILE")],
    inputs: Annotated[Path, typer.Option("--map", metavar="FILE", help="One JSON value per line, one line per item.")],
    requirements: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--requirements", metavar="FILE", help="Packages that it needs. (default: those in its own block)"
        ),
    ] = None,
    *,
    options: JobOptions,
) -> None:
    """Call `run(item)` of a Python file for each line of the inputs."""
    from cli.submit import submit
    from cli.submit_python import python_job

    raise typer.Exit(submit(python_job(job_file, inputs, requirements, options)))


@app.command("command", context_settings={"allow_interspersed_args": False})
@with_job_options
def submit_command(
    words: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="The program and its arguments, after `--`.", metavar="-- COMMAND..."),
    ] = None,
    inputs: Annotated[
        list[str], typer.Option("--inputs", metavar="PATTERN", help="Files, as in 'videos/*.mp4'; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    lines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--map", metavar="FILE", help="Instead of --inputs: one JSON value per line."),
    ] = None,
    *,
    options: JobOptions,
) -> None:
    """Run a program that workers offer on each input: -- ffmpeg -i {input} -bitexact {output}.webm

    {input} is the path of the file, {stem} and {name} its name, {index} its number, {output} where results go; with
    --map, {KEY} is what the line has under it, {item} the line itself. Without {output} the result is what it prints.
    """
    from cli.submit import submit
    from cli.submit_command import command_job

    raise typer.Exit(submit(command_job(words or [], inputs, lines, options)))


@app.command("wasm")
@with_job_options
def submit_wasm(
    module: Annotated[Path, typer.Argument(help="A module for WASI preview 1 (wasm32-wasip1).", metavar="MODULE.wasm")],
    words: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Its arguments, after `--`.", metavar="[-- ARGUMENTS...]"),
    ] = None,
    inputs: Annotated[
        list[str], typer.Option("--inputs", metavar="PATTERN", help="Files, as in 'data/*'; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    lines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--map", metavar="FILE", help="One JSON value per line, which the module reads: text, or JSON."),
    ] = None,
    fuel: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=FUEL_PER_ITEM_MAX, help="Most fuel for one item; an instruction takes 1."),
    ] = FUEL_PER_ITEM_DEFAULT,
    *,
    options: JobOptions,
) -> None:
    """Run a WebAssembly module on each input: the same result, to the bit, on every machine.

    With --map, it reads the line on standard input; with --inputs, the path of the file is its argument.
    Arguments take {input}, {stem}, {name}, {index}, {output} and {KEY} as `submit command` does. The result is what it
    prints, the files that it writes to /output, and the fuel that it took.
    """
    from cli.submit import submit
    from cli.submit_wasm import wasm_job

    raise typer.Exit(submit(wasm_job(module, words or [], inputs, lines, fuel, options)))


@app.command("blender")
@with_job_options
def submit_blender(
    scene: Annotated[Path, typer.Argument(help="A .blend file.", metavar="SCENE")],
    frames: Annotated[
        str, typer.Option(metavar="FRAMES", help="As in 1-1200 or 3,5-10,47-327. (default: those of the scene)")
    ] = "",
    step: Annotated[int, typer.Option(metavar="N", help="Every so many of them.")] = 1,
    engine: Annotated[str, typer.Option(help="cycles, eevee or workbench. (default: that of the scene)")] = "",
    samples: Annotated[int, typer.Option(min=0, max=65536, help="For each pixel. (default: those of the scene)")] = 0,
    resolution: Annotated[str, typer.Option(metavar="SHARE", help="Of that of the scene, as in 50%.")] = "",
    suffix: Annotated[str, typer.Option("--format", help="png or exr.")] = "png",
    tiles: Annotated[
        str, typer.Option(metavar="CxR", help="Cut each frame, as in 2x2, and put it together here.")
    ] = "",
    video: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Make a video of the frames, as in out.mp4."),
    ] = None,
    fps: Annotated[float, typer.Option(min=0, max=1000, help="Of the video. (default: those of the scene)")] = 0.0,
    *,
    options: JobOptions,
) -> None:
    """Render frames of a Blender scene; they appear in the folder of the results as they come."""
    from cli.submit import submit
    from cli.submit_blender import Typed, blender_job

    typed = Typed(
        frames=frames,
        step=step,
        engine=engine,
        samples=samples,
        resolution=resolution,
        suffix=suffix,
        tiles=tiles,
        video=video,
        fps=fps,
    )
    raise typer.Exit(submit(blender_job(scene, typed, options)))
