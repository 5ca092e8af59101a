"""Comparing bids: one number for what a verified reference-second from this peer costs.

A second-price scoring auction (Che 1993): the lowest score wins, and a winner is paid the price at which
its score would equal the first losing one, so that asking one's true cost is the best strategy.
"""

from dataclasses import dataclass

TIME_VALUE = 0.5
"""Credits that a reference-second of waiting is worth; how much a faster machine may cost more."""
DUES_MAX = 1.0
"""Executions spent on checking a newcomer, per execution by it."""
DUES_HALVED_AFTER = 50
"""Clean results after which the dues have fallen by half."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a bid comes down to. `clean` counts the peer's results that were checked and right."""

    price: float
    speed: float
    clean: int = 0
    locality: float = 0.0
    """Share of the job's input that the peer already has, 0 to 1."""


def dues(clean: int) -> float:
    """What checking this peer costs, in executions per execution."""
    return DUES_MAX * DUES_HALVED_AFTER / (DUES_HALVED_AFTER + clean)


def score(terms: Terms) -> float:
    """Credits per verified reference-second, waiting included; lower is better."""
    return terms.price * (1.0 + dues(terms.clean)) + _waiting(terms)


def _waiting(terms: Terms) -> float:
    return TIME_VALUE * (1.0 - 0.5 * terms.locality) / terms.speed


def clearing_price(winner: Terms, first_losing_score: float | None, price_max: float) -> float:
    """What the winner is paid per reference-second: never under its bid, never over the caller's maximum."""
    if first_losing_score is None:
        return winner.price
    equal = (first_losing_score - _waiting(winner)) / (1.0 + dues(winner.clean))
    return min(max(winner.price, equal), max(price_max, winner.price))
