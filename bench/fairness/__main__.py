"""``python -m bench.fairness``: prints a line for each attack; the status is 1 if an aim is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import fairness
from bench.fairness.measure import PLACES, SECONDS, measure


def main() -> int:
    names = [attack.__name__ for place in PLACES for attack in place.attacks]
    parser = argparse.ArgumentParser(description=fairness.__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each attack")
    parser.add_argument("attack", nargs="*", help=f"which attacks; without any, all: {', '.join(names)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.attack) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    holds = True
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        wanted = arguments.attack or names
        for row in measure(Path(folder).resolve(), arguments.seconds, wanted.__contains__):
            print(f"{row.place} | {' | '.join(row.cells())}", *row.sentences(), sep="\n    ", flush=True)
            holds &= row.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
