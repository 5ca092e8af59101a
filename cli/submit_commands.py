"""`peer submit RUNTIME`: one command for each runtime, with the options that all jobs have."""

from pathlib import Path
from typing import Annotated

import typer

from cli.submit_options import JobOptions, with_job_options

app = typer.Typer(help="Run a job on the network.", no_args_is_help=True)


@app.command("python")
@with_job_options
def submit_python(
    job_file: Annotated[Path, typer.Argument(help="A file with `def run(item)`.", metavar="JOB_FILE")],
    inputs: Annotated[Path, typer.Option("--map", metavar="FILE", help="One JSON value per line, one line per item.")],
    options: JobOptions,
) -> None:
    """Call `run(item)` of a Python file for each line of the inputs."""
    from cli.submit import submit
    from cli.submit_python import python_job

    raise typer.Exit(submit(python_job(job_file, inputs, options)))
