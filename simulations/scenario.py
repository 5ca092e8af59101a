"""Scenario files: what is simulated, apart from how it is run (DESIGN section 12).

A scenario is a TOML file. `load` gives a frozen, checked `Scenario` or raises `LocalError` with the key
that is wrong, what is allowed there, and the nearest right key. Units are in the names. Every random
choice a scenario asks for is drawn from the seed of the run.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from protocol.adaptive import parse_policy
from protocol.errors import LocalError
from protocol.planner import ASSUME_LIARS, AUDIT_SHARE, MAX_ERROR, MAX_OVERHEAD, Target
from simulations.scenario_errors import explain, keys, near

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
PositiveS = Annotated[float, Meta(gt=0.0, le=1e9)]
Number = Annotated[int, Meta(ge=0, le=1_000_000)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of a scenario file."""


class Distribution(Table, frozen=True, kw_only=True):
    """A positive quantity: constant `a`; uniform from `a` to `b`; lognormal with median `a` and sigma `b`;
    pareto with scale `a` and shape `b`.
    """

    kind: Literal["constant", "uniform", "lognormal", "pareto"] = "constant"
    a: Annotated[float, Meta(ge=0.0, le=1e9)] = 1.0
    b: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0


class Latency(Table, frozen=True, kw_only=True):
    """One-way delays. `matrix` reads a King / p2psim file of round trips; `regions` is an AWS-like table."""

    kind: Literal["constant", "lognormal", "plane", "matrix", "regions"] = "constant"
    constant_s: Seconds = 0.05
    median_s: PositiveS = 0.04
    sigma: Annotated[float, Meta(ge=0.0, le=4.0)] = 0.5
    plane_s: PositiveS = 0.15
    """Delay across the diagonal of the plane; a tenth of it is added to every delay."""
    matrix_file: str = ""
    matrix_unit_s: PositiveS = 1e-6
    """Seconds per unit of the file's numbers."""


class Network(Table, frozen=True, kw_only=True):
    """The network between the peers."""

    latency: Latency = Latency()
    bandwidth_bytes_per_s: Annotated[float, Meta(ge=0.0)] = 0.0
    """Of each peer's uplink, with queueing; 0 for unlimited."""
    loss: Share = 0.0
    """Share of messages that are lost once and come one retransmission time-out later."""
    unreachable: Share = 0.0
    """Share of peers that can dial but cannot be dialled (NAT)."""


class Partition(Table, frozen=True, kw_only=True):
    """From `start_s` until `end_s` nothing passes between a share of the peers and the others."""

    start_s: Seconds
    end_s: Seconds
    share: Share = 0.5


class Churn(Table, frozen=True, kw_only=True):
    """Sessions of the workers: each leaves when its session ends and, if it `returns`, comes back later."""

    kind: Literal["none", "exponential", "weibull", "trace"] = "none"
    mean_s: PositiveS = 3600.0
    shape: PositiveS = 0.5
    scale_s: PositiveS = 3600.0
    preset: Literal["", "red-hat", "debian", "flatout"] = ""
    """Published Weibull parameters (`simulations/models/churn.py`) instead of `shape` and `scale_s`."""
    trace_file: str = ""
    crash: Share = 0.5
    """Share of departures without a word (killed); the others say that they leave."""
    absence_s: PositiveS = 600.0
    """Mean of the exponential time until a peer returns."""
    returns: bool = True


class Crashes(Table, frozen=True, kw_only=True):
    """Peers that are killed and start again soon, until everything heals; what they had not written down is lost.

    All times are exponential. Coordinators go on with their jobs from their journals.
    """

    coordinator_mean_s: Seconds = 0.0
    """Mean time from the start of a coordinator (the first time: from `workload.start_s`) to its crash; 0: never."""
    coordinator_down_s: PositiveS = 10.0
    """Mean time until it starts again."""
    at_write: Share = 0.5
    """Share of its crashes that come in the middle of an event: at a write of its journal, half of them before the
    write and half just after it."""
    worker_mean_s: Seconds = 0.0
    """Mean time from the start of a worker to its crash, besides what `churn` does; 0: never."""
    worker_down_s: PositiveS = 10.0


class Workers(Table, frozen=True, kw_only=True):
    """The population and its speeds. Adversaries are chosen among these workers, by their shares."""

    count: Annotated[int, Meta(ge=0, le=200_000)] = 10
    join_s: Seconds = 10.0
    """All come for the first time within this time, each at a moment drawn uniformly."""
    slots: Annotated[int, Meta(ge=1, le=256)] = 1
    speed: Distribution = Distribution()
    price: Distribution = Distribution()
    stragglers: Share = 0.0
    straggler_factor: Annotated[float, Meta(ge=1.0)] = 10.0
    no_shows: Share = 0.0
    """Share of workers that bid, win and never answer."""
    liars: Share = 0.0
    """Share of workers that are adversaries of the kind in `adversary`."""


class Adversary(Table, frozen=True, kw_only=True):
    """How the liars of `workers.liars` behave; `kind` names a plug-in in `simulations/adversaries.py`."""

    kind: str = "constant"
    rate: Share = 1.0
    """How often an intermittent liar lies."""
    sleep_chunks: Number = 20
    """Honest chunks before a sleeper lies."""
    count: Number = 0
    """For attackers that are peers of their own (Sybils, flooders): how many."""


class Workload(Table, frozen=True, kw_only=True):
    """The jobs. Each of `coordinators` peers submits `jobs` jobs one after another."""

    coordinators: Annotated[int, Meta(ge=0, le=1000)] = 1
    jobs: Annotated[int, Meta(ge=0, le=1000)] = 1
    items: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    item_s: Distribution = Distribution(a=1.0)
    start_s: Seconds = 30.0
    """When the first job is submitted: the network has formed by then."""
    verify: str = "adaptive"
    max_error: float = MAX_ERROR
    max_overhead: float = MAX_OVERHEAD
    assume_liars: float = ASSUME_LIARS
    audit_share: float = AUDIT_SHARE
    local: Annotated[int, Meta(ge=0, le=256)] = 1
    workers_max: Annotated[int, Meta(ge=1, le=256)] = 64
    item_timeout_s: PositiveS = 600.0

    @property
    def target(self) -> Target:
        """What `adaptive` aims at."""
        return Target(self.max_error, self.max_overhead, self.assume_liars, self.audit_share)


class Limits(Table, frozen=True, kw_only=True):
    """When a run ends, and what it keeps."""

    duration_s: PositiveS = 3600.0
    """Virtual time of the safety phase, with faults; then everything heals."""
    liveness_s: PositiveS = 3600.0
    """Virtual time after the healing in which every job must end."""
    trace_events_max: Number = 0
    """Events kept in the trace file; the hash covers all of them all the same."""
    wrong_share_max: Share = 1.0
    """The target: more wrong results than this among the accepted ones is a violation."""


class Scenario(Table, frozen=True, kw_only=True):
    """One scenario, whole."""

    name: str
    description: str = ""
    workers: Workers = Workers()
    network: Network = Network()
    partitions: list[Partition] = []
    churn: Churn = Churn()
    crashes: Crashes = Crashes()
    adversary: Adversary = Adversary()
    workload: Workload = Workload()
    limits: Limits = Limits()


def load(path: Path) -> Scenario:
    """The scenario in a file; raises `LocalError` naming the file, the key and the way out.

    Files that it names (`matrix_file`, `trace_file`) are looked up beside it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path}: the scenario file cannot be read: {error}") from error
    return _with_files_beside(path, loads(text, str(path)))


def loads(text: str, source: str = "scenario") -> Scenario:
    """As `load`, from text; `source` stands for the file's name in errors."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LocalError(f"{source}: not TOML: {error}") from error
    return _checked(tree, source)


def with_value(scenario: Scenario, key: str, value: str) -> Scenario:
    """The scenario with one key set from text, as in `--set workers.liars=0.2`; raises `LocalError`.

    Text is read as a TOML value, and otherwise taken as it is, so that `churn.kind=weibull` needs no quotes.
    """
    if key not in keys(Scenario):
        raise LocalError(f"{key}: no such key; {near(key, keys(Scenario))}")
    tree = msgspec.to_builtins(scenario)
    table = tree
    *outer, last = key.split(".")
    for name in outer:
        table = table[name]
    table[last] = _value(value)
    return _checked(tree, f"{key}={value}")


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(tree: dict[str, object], source: str) -> Scenario:
    try:
        scenario = msgspec.convert(tree, Scenario)
    except msgspec.ValidationError as error:
        raise LocalError(f"{source}: {explain(str(error), Scenario)}") from error
    problem = next(_contradictions(scenario), None)
    if problem is not None:
        raise LocalError(f"{source}: {problem}")
    return scenario


def _contradictions(scenario: Scenario) -> Iterator[str]:
    """What no single key can be blamed for."""
    if scenario.network.latency.kind == "matrix" and not scenario.network.latency.matrix_file:
        yield "network.latency.matrix_file: must name a file where network.latency.kind is matrix"
    if scenario.churn.kind == "trace" and not scenario.churn.trace_file:
        yield "churn.trace_file: must name a file where churn.kind is trace"
    if scenario.workload.jobs and scenario.workload.start_s < scenario.workers.join_s:
        joined_s = scenario.workers.join_s
        yield f"workload.start_s: must be at least workers.join_s, {joined_s:g}: start later or let them join sooner"
    if scenario.crashes.coordinator_mean_s and not scenario.workload.coordinators:
        yield "crashes.coordinator_mean_s: nobody can crash where workload.coordinators is 0: leave one of them out"
    if scenario.crashes.worker_mean_s and not scenario.workers.count:
        yield "crashes.worker_mean_s: nobody can crash where workers.count is 0: leave one of them out"
    for key, distribution in _distributions(scenario):
        if distribution.kind == "uniform" and distribution.b < distribution.a:
            yield f"{key}.b: must be at least {key}.a, {distribution.a:g}, where {key}.kind is uniform"
        if distribution.kind == "pareto" and not distribution.b:
            yield f"{key}.b: must be more than 0 where {key}.kind is pareto"
    for place, partition in enumerate(scenario.partitions):
        if partition.end_s <= partition.start_s:
            yield f"partitions[{place}].end_s: must be later than start_s, {partition.start_s:g}"
        if place and partition.start_s < scenario.partitions[place - 1].end_s:
            yield f"partitions[{place}].start_s: must not be before the one above it has ended"
    try:
        parse_policy(scenario.workload.verify, scenario.workload.target)
    except LocalError as error:
        yield f"workload.verify: {error}"


def _distributions(scenario: Scenario) -> Iterator[tuple[str, Distribution]]:
    yield "workers.speed", scenario.workers.speed
    yield "workers.price", scenario.workers.price
    yield "workload.item_s", scenario.workload.item_s


def _with_files_beside(path: Path, scenario: Scenario) -> Scenario:
    latency, churn = scenario.network.latency, scenario.churn
    folder = path.absolute().parent
    if latency.matrix_file:
        latency = replace(latency, matrix_file=str(folder / latency.matrix_file))
    if churn.trace_file:
        churn = replace(churn, trace_file=str(folder / churn.trace_file))
    return replace(scenario, network=replace(scenario.network, latency=latency), churn=churn)
