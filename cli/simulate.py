"""The `peer simulate` commands: their options. What they do is in `simulate_commands.py`, loaded when one is called."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    help="Run the shipped code in virtual time, on any network, under any churn, against any adversary.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a run that is already there.")]
ScenarioName = Annotated[
    str, typer.Argument(help="A scenario file (.toml), or a name that `peer simulate list` shows.", metavar="SCENARIO")
]
Folder = Annotated[Path, typer.Argument(help="The --out of a run.", metavar="DIR")]
# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Out = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", metavar="DIR", help="Folder for figures, tables, trace and report. [default: none is kept]"),
]
SEED_MAX = 2**63 - 1


@app.command()
def run(
    scenario: ScenarioName,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="The same seed gives the same run, anywhere.")] = 1,
    out: Out = None,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the scenario; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a scenario once. Ends with 1 when something was violated that must hold."""
    from cli import simulate_commands

    raise typer.Exit(
        simulate_commands.run_once(scenario, seed, settings=settings, out=out, force=force, as_json=as_json)
    )


@app.command()
def sweep(
    scenario: ScenarioName,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=V1,V2", help="Values that a key takes; may be repeated.")
    ] = [],  # noqa: B006
    seeds: Annotated[str, typer.Option(metavar="1-20", help="Seeds and ranges of seeds, parted by commas.")] = "1",
    jobs: Annotated[str, typer.Option(metavar="N|auto", help="Runs at once; auto is one per core.")] = "auto",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Folder for the rows, plots and report. [default: none is kept]"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run every combination of settings with every seed. Ends with 1 when a run failed or violated something."""
    from cli import simulate_commands

    raise typer.Exit(
        simulate_commands.run_sweep(
            scenario, settings=settings, seeds=seeds, jobs=jobs, out=out, force=force, as_json=as_json
        )
    )


@app.command()
def replay(folder: Folder, as_json: Json = False) -> None:
    """Run what is in a folder again: the same trace hash, or what differs. Ends with 1 when it differs."""
    from cli import simulate_commands

    raise typer.Exit(simulate_commands.replay(folder, as_json=as_json))


@app.command("list")
def list_scenarios(as_json: Json = False) -> None:
    """List the scenarios that come with the program."""
    from cli import simulate_commands

    simulate_commands.list_scenarios(as_json=as_json)


@app.command()
def report(folder: Folder, as_json: Json = False) -> None:
    """Make the plots and the report of a run again, and show its figures."""
    from cli import simulate_commands

    raise typer.Exit(simulate_commands.report(folder, as_json=as_json))


@app.command()
def experiment(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Experiments to run, or `all`. [default: list them]", metavar="[NAME]..."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="As large as the published values need: up to minutes.")] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Folder for CSV tables and PNG plots. [default: none is kept]"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure published tables again. Ends with 1 when a value differs and nothing says why."""
    from cli import simulate_commands

    raise typer.Exit(simulate_commands.run_experiments(names or [], full=full, out=out, force=force, as_json=as_json))
