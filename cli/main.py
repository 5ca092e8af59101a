"""The `peer` command: its options, and where errors become one line and an exit code.

Each command loads what it needs when it is called: asking a running peer must not load the network.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, Optional

import typer

from cli import blobs, owner, proof, simulate, start_options, submit_commands, trust
from cli.console import say
from cli.exits import FAILED, INTERRUPTED, WRONG_USE, WrongUse
from protocol.errors import ParallelPeerError

if TYPE_CHECKING:
    from peer.control_client import ControlClient
    from peer.data_folder import DataFolder

DEBUG_VARIABLE = "PEER_DEBUG"

app = typer.Typer(
    name="peer",
    help="Parallel Peer: run jobs on other people's machines, with no server, and check the results.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
job_app = typer.Typer(help="Look after the jobs that were submitted here.", no_args_is_help=True)
app.add_typer(submit_commands.app, name="submit")
app.add_typer(job_app, name="job")
app.add_typer(simulate.app, name="simulate")
app.add_typer(trust.app, name="trust")
app.add_typer(proof.app, name="proof")
app.add_typer(blobs.app, name="cache")
app.command("ledger")(trust.ledger)
app.command("put")(blobs.put)
app.command("get")(blobs.get)
app.add_typer(owner.config, name="config")
for command in (owner.pause, owner.resume, owner.requests, owner.accept):
    app.command()(command)

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. (default: PEER_DATA, or your own)"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Job = Annotated[str, typer.Argument(help="The job's id, the beginning of it, or `last`.", metavar="JOB")]
Bootstrap = Annotated[
    list[str], typer.Option("--bootstrap", metavar="MULTIADDR", help="A peer to join by; may be repeated.")
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it live until the job has ended.")]
Force = Annotated[bool, typer.Option("--force", help="Write over results that are already there.")]


@app.command()
def start(
    listen: Annotated[
        list[str], typer.Option("--listen", metavar="ADDR", help="Where to listen, as a multiaddr; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    bootstrap: Bootstrap = [],  # noqa: B006
    data: Data = None,
    cores: start_options.Cores = None,
    memory: start_options.Memory = None,
    price: start_options.Price = None,
    schedule: start_options.Hours = None,
    when_idle: start_options.WhenIdle = None,
    on_battery: start_options.OnBattery = None,
    max_cpu: start_options.MaxCpu = None,
    accept: start_options.Accept = None,
    runtimes: start_options.Runtimes = None,
    programs: start_options.Programs = None,
    nice: start_options.Nice = None,
    sandbox: start_options.Sandbox = None,
    fault: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="Misbehave on purpose: lie:0.3, collude:0.3, sleeper:20, crash:0.1, hang:0.1, slow:10."
        ),
    ] = None,
    end_with_input: Annotated[bool, typer.Option("--end-with-input", hidden=True)] = False,
    as_json: Json = False,
) -> None:
    """Start a peer; it runs until Ctrl-C or `peer stop`."""
    from cli.start import StartOptions, run_peer

    options = StartOptions(
        listen=listen,
        bootstrap=bootstrap,
        folder=_folder(data),
        settings=_settings_typed(
            cores=cores,
            memory=memory,
            price=price,
            schedule=schedule,
            when_idle=when_idle,
            on_battery=on_battery,
            max_cpu=max_cpu,
            accept=accept,
            runtimes=runtimes,
            programs=programs,
            nice=nice,
            sandbox=sandbox,
        ),
        fault=fault,
        end_with_input=end_with_input,
        as_json=as_json,
    )
    raise typer.Exit(run_peer(options))


@app.command()
def status(data: Data = None, as_json: Json = False) -> None:
    """Show the peer that runs here."""
    from cli import ask

    ask.show_status(_client(data), as_json=as_json)


@app.command()
def peers(data: Data = None, as_json: Json = False) -> None:
    """Show the peers that the directory knows: capabilities, prices, reachability."""
    from cli import ask

    ask.show_peers(_client(data), as_json=as_json)


@app.command()
def doctor(data: Data = None, as_json: Json = False) -> None:
    """Check this machine and its peer: what works, what does not, and what mends it. Ends with 1 for a problem."""
    from cli.doctor import run_doctor

    raise typer.Exit(run_doctor(_folder(data), as_json=as_json))


@app.command()
def stop(data: Data = None, as_json: Json = False) -> None:
    """Stop the peer that runs here."""
    from cli import ask

    ask.stop_peer(_client(data), _folder(data), as_json=as_json)


@app.command()
def demo(
    render: Annotated[bool, typer.Option("--render", help="Render an animation with Blender instead.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with logs and results.")] = False,
    as_json: Json = False,
) -> None:
    """Four peers on this machine, one of which lies, search hyper-parameters on handwritten digits."""
    if render:
        from cli.demo.render import run_render_demo

        raise typer.Exit(run_render_demo(keep=keep, as_json=as_json))
    from cli.demo.show import run_demo

    raise typer.Exit(run_demo(keep=keep, as_json=as_json))


@job_app.command("list")
def job_list(data: Data = None, as_json: Json = False) -> None:
    """List the jobs of this peer, the newest first."""
    from cli import jobs

    jobs.list_jobs(_client(data), as_json=as_json)


@job_app.command("show")
def job_show(job: Job, watch: Watch = False, data: Data = None, as_json: Json = False) -> None:
    """Show one job: what it does and waits for, its workers, checks and story."""
    from cli import job_live

    job_live.show_job(_client(data), job, watch=watch, as_json=as_json)


@job_app.command("auction")
def job_auction(job: Job, watch: Watch = False, data: Data = None, as_json: Json = False) -> None:
    """Show the auction of one job: who was found, who refused and why, who won at what price."""
    from cli import job_live

    job_live.show_auction(_client(data), job, watch=watch, as_json=as_json)


@job_app.command("logs")
def job_logs(
    job: Job,
    chunk: Annotated[int | None, typer.Option(min=0, help="Only what this chunk printed.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended; Ctrl-C ends this, not the job.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show what the job's code printed on the workers; the output of a chunk comes with its result."""
    from cli import job_logs as logs

    logs.show_logs(_client(data), job, chunk, follow=follow, as_json=as_json)


@job_app.command("cancel")
def job_cancel(job: Job, data: Data = None, as_json: Json = False) -> None:
    """Cancel a running job; what is finished is kept."""
    from cli import jobs

    jobs.cancel_job(_client(data), job, as_json=as_json)


@job_app.command("pause")
def job_pause(job: Job, data: Data = None, as_json: Json = False) -> None:
    """Stop working on a job until `peer job resume`; what is finished is kept."""
    from cli import jobs

    jobs.pause_job(_client(data), job, as_json=as_json)


@job_app.command("resume")
def job_resume(
    job: Job,
    detach: Annotated[bool, typer.Option("--detach", help="Leave the job running.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Go on with a job that was paused or interrupted, and follow it to its end."""
    from cli.resume import resume_job

    raise typer.Exit(resume_job(_client(data), job, detach=detach, as_json=as_json))


@job_app.command("retry")
def job_retry(job: Job, data: Data = None, as_json: Json = False) -> None:
    """Do again what failed, was not run, or rests on a peer found lying since; the rest stands."""
    from cli.retry import retry_job

    raise typer.Exit(retry_job(_client(data), job, as_json=as_json))


@job_app.command("results")
def job_results(
    job: Job,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Folder for the results. (default: print them)"),
    ] = None,
    force: Force = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Fetch the results of a job, those so far when it still runs."""
    from cli import jobs

    jobs.fetch_results(_client(data), job, out, force=force, as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process; every error is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows a question mark instead of ending in a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app(args=arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except WrongUse as error:
        _complain(error)
        sys.exit(WRONG_USE)
    except ParallelPeerError as error:
        _complain(error)
        sys.exit(FAILED)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: no user sees a traceback
        _complain(error, f"internal error: {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 for the traceback)")
        sys.exit(FAILED)
    sys.exit(0)


def _complain(error: BaseException, text: str | None = None) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    say(f"peer: {text or error}")


def _settings_typed(**typed: str | bool | None) -> dict[str, str]:
    """Those that were given, as the text of the settings file."""
    given = {key.replace("_", "-"): value for key, value in typed.items() if value is not None}
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in given.items()}


def _folder(data: Path | None) -> "DataFolder":
    from peer.data_folder import DataFolder, default_data_folder

    return DataFolder(data if data is not None else default_data_folder())


def _client(data: Path | None) -> "ControlClient":
    from peer.control_client import ControlClient

    return ControlClient(_folder(data).socket())
