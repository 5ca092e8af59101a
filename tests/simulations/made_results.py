"""A result made by hand, and runs that cost nothing."""

from random import Random

from simulations.result import Result, Violation
from simulations.scenario import Scenario


def made_result(scenario: Scenario | None = None, seed: int = 7, **changes: object) -> Result:
    """Looks like a run: five tables, a violation, foreign text in places."""
    random = Random(seed)
    chunks = [
        {
            "chunk": f"c{number}",
            "settled_at_s": 30.0 + number,
            "how": "voted" if number % 3 else "audited",
            "share": random.random(),
            "right": True,
        }
        for number in range(20)
    ]
    values: dict[str, object] = {
        "scenario": scenario or Scenario(name="made by hand", description="<b>bold</b> & true"),
        "seed": seed,
        "trace_hash": f"{seed:064x}",
        "events": 12345,
        "virtual_s": 60.5,
        "wall_s": 0.25,
        "figures": {"items": 100.0, "makespan_s": 60.0 + seed, "nothing": float("nan")},
        "tables": {
            "chunks": chunks,
            "peers": [
                {"peer": "p1", "kind": "worker", "speed": 1, "chunks_run": 3},
                {"peer": "p2", "kind": "liar", "speed": 2.5, "chunks_run": 9, "note": 'a "quoted", line\nand more'},
            ],
            "messages": [
                {"type": "assign", "count": 3, "size_bytes": 900},
                {"type": "<i>x", "count": 4, "size_bytes": 1},
            ],
            "lookups": [],
            "jobs": [{"job": "j", "makespan_s": 60.0, "done": False}],
        },
        "violations": (Violation("chunks end", 12.5, "<script>alert(1)</script>"),),
        "trace": ("0 start", "1 end"),
        "versions": {"python": "3.11.2", "trio": "0.35.0"},
    }
    return Result(**{**values, **changes})


def made_run(scenario: Scenario, seed: int) -> Result:
    """A run that keeps everything that must hold; its makespan tells the seed and the liars."""
    figures = {"makespan_s": 100.0 + seed + 100 * scenario.workers.liars, "seed": 1.0}
    return made_result(scenario, seed, figures=figures, violations=())


def failing_run(scenario: Scenario, seed: int) -> Result:
    """As `made_run`, but seed 2 fails and seed 3 violates."""
    if seed == 2:
        raise ZeroDivisionError("inside")
    violations = (Violation("liveness", 9.0, "stuck"),) if seed == 3 else ()
    return made_result(scenario, seed, violations=violations)
