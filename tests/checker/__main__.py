"""usage: python3 -m checker --data DIR [--clients FILE] [--json]

Exit status 0 if every promise held, 1 if one is broken, 2 if the run cannot be read.
"""
from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from pathlib import Path

from . import orders
from .check import check


def main() -> int:
    parser = argparse.ArgumentParser(prog="checker", description="Did every promise hold?")
    parser.add_argument("--data", type=Path, required=True, help="the folder of an orders run")
    parser.add_argument("--clients", type=Path, help="the clients' notes, one line of JSON each")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args()
    try:
        report = check(orders.read_world(options.data, options.clients))
    except (OSError, sqlite3.Error, ValueError, KeyError) as error:
        print(f"checker: cannot read the run in {options.data}: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"counts": report.counts, "breaches": report.breaches}))
    else:
        print("\n".join(report.lines()))
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
