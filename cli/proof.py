"""The `peer proof` commands: fraud proofs are files that anyone can look into and check, with no peer running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.console import print_json, say, show
from cli.exits import DONE, FAILED, UNDECIDED, WrongUse

if TYPE_CHECKING:
    from protocol.fraud_proof import Claim

app = typer.Typer(
    help="Proofs that a peer gave a wrong result: look at them, or check them by executing the code again.",
    no_args_is_help=True,
)

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. [default: PEER_DATA, or your own]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
File = Annotated[Path, typer.Argument(help="A file that ends in .proof.", metavar="FILE")]


@app.command("list")
def list_proofs(data: Data = None, as_json: Json = False) -> None:
    """The proofs that this peer has made, the newest first."""
    from cli.proof_show import proof_table
    from peer.data_folder import DataFolder, default_data_folder
    from peer.proof_store import ProofStore

    folder = DataFolder(data if data is not None else default_data_folder())
    paths = ProofStore(folder.proofs).paths()
    if as_json:
        print_json([str(path) for path in paths])
    else:
        show(proof_table(paths))


@app.command("show")
def show_proof(file: File, as_json: Json = False) -> None:
    """Who is accused of what, with all signatures checked; nothing is executed."""
    from cli.proof_show import claim_table, claim_view

    claim = _claim(file)
    if as_json:
        print_json(claim_view(claim))
    else:
        show(claim_table(claim))


@app.command()
def check(file: File, as_json: Json = False) -> None:
    """Execute the code of a proof in the sandbox and say who is right.

    Ends with 0 when the peer is proven wrong, 1 when it was right, 4 when that cannot be told, 2 for no proof at all.
    """
    import trio

    from cli.proof_show import claim_table, judgement_view, verdict_text
    from peer.config_file import ConfigFile
    from peer.data_folder import default_data_folder
    from peer.execution.executor import SandboxedExecutor
    from peer.owner_settings import SANDBOX_AUTO
    from peer.proof_replay import REPLAYS, replay
    from protocol.fraud_proof import Verdict

    claim = _claim(file)
    if not as_json:
        show(claim_table(claim))
        say(f"executing its code {REPLAYS} times in the sandbox")
    # Whose code it is does not matter: the owner has said in what it may run.
    sandbox = ConfigFile(default_data_folder()).read().get("sandbox", SANDBOX_AUTO)
    judgement = trio.run(replay, SandboxedExecutor(sandbox=sandbox), claim)
    if as_json:
        print_json(judgement_view(claim, judgement))
    else:
        show(verdict_text(claim, judgement))
    codes = {Verdict.PROVEN: DONE, Verdict.REFUTED: FAILED, Verdict.OPEN: UNDECIDED}
    raise typer.Exit(codes[judgement.verdict])


def _claim(file: Path) -> "Claim":
    """Wrong use where there is none in the file: the exit codes of `check` are about claims."""
    from peer.proof_store import read_proof
    from protocol.errors import LocalError, RemoteError
    from protocol.fraud_proof import open_proof

    try:
        return open_proof(read_proof(file))
    except LocalError as error:
        raise WrongUse(str(error)) from error
    except RemoteError as error:
        raise WrongUse(f"{file}: {error}") from error
