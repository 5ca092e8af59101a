"""Executes what a fraud proof is about, to see who is right."""

from dataclasses import dataclass

import trio

from peer.seam import Execution, ExecutionFailure, Executor
from protocol.errors import LocalError, RemoteError
from protocol.fraud_proof import Claim, Verdict, judge

REPLAYS = 2
"""Each in a runner of its own: code that remembers something gives no proof."""
REPLAY_S_MAX = 3600.0
"""For one replay, whatever the manifest allows."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it."""

    verdict: Verdict
    reason: str
    replays: tuple[bytes, ...] = ()


async def replay(executor: Executor, claim: Claim, seconds_max: float = REPLAY_S_MAX) -> Judgement:
    """Execute the claim in this machine's sandbox and judge. Cancelling ends the execution."""
    runtime = claim.manifest.runtime
    if all(offer.name != runtime for offer in executor.offers()):
        return Judgement(Verdict.OPEN, f"this machine cannot run {runtime} in a sandbox")
    results: list[bytes] = []
    for _ in range(REPLAYS):
        outcome = await _execute(executor, claim, seconds_max)
        if isinstance(outcome, str):
            return Judgement(Verdict.OPEN, outcome)
        results.append(outcome)
    try:
        verdict, reason = judge(claim, results, executor.environment(runtime))
    except RemoteError as error:
        return Judgement(Verdict.OPEN, f"the results cannot be compared: {error}")
    return Judgement(verdict, reason, tuple(results))


async def _execute(executor: Executor, claim: Claim, seconds_max: float) -> bytes | str:
    """The result, or why there is none."""
    outcomes: list[Execution | ExecutionFailure] = []
    with trio.move_on_after(seconds_max):
        try:
            async with executor.open_runner(claim.manifest) as runner:
                outcomes.append(await runner.run(claim.input))
        except LocalError as error:
            return f"the code cannot be executed here: {error}"
    if not outcomes:
        return f"the code did not end within {seconds_max:.0f} s here"
    (outcome,) = outcomes
    if isinstance(outcome, ExecutionFailure):
        return f"the code did not run to its end here: {outcome.detail or outcome.kind}"
    return outcome.data
