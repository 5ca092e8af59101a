"""`python -m simulations.experiments NAME ... [--full] [--json]`: published tables, measured again.

Exits with 0 when each value agrees or says why it differs, 1 when one does not, 2 for a wrong name.
"""

import argparse
import json
import sys

from protocol.errors import LocalError
from simulations.experiments.outcome import render
from simulations.experiments.registry import TITLES, run


def main() -> int:
    """Run the experiments named on the command line, or list them."""
    listing = "\n".join(f"  {name:14} {title}" for name, title in TITLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m simulations.experiments",
        description="Published tables, measured again with the shipped code.",
        epilog=f"experiments:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments to run; none for all")
    parser.add_argument("--full", action="store_true", help="as large as the published numbers need (up to minutes)")
    parser.add_argument("--json", action="store_true", help="one JSON object per experiment")
    options = parser.parse_args()
    failed = False
    for name in options.names or TITLES:
        try:
            outcome = run(name, quick=not options.full)
        except LocalError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        text = json.dumps(outcome.as_dict()) if options.json else render(outcome)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        failed = failed or bool(outcome.unexplained)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
