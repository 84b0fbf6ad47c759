"""The checker finds the usual mistakes, too: a short drill with one of them in a program.

`# expect-fail: drill:PROGRAM BREACH [FAULT ...]` in a patch: PROGRAM (sluice, writer or applier) is
linked with the mistake, and after a drill with these faults the checker must name BREACH. What
`sluice verify` knows by the same name it must name, too. Three of them in `make test`, all of them in
`make drill` (SLUICE_DRILL_BUGS=all).
"""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness.drill import Drill, Programs, Shared, Size
from harness.drill_judge import judge_drill, table
from harness.drill_plan import Step
from harness.process import BUILD
from mistake import Build
from test_seeded_bugs import PATCHES, ROOT, expectations

IN_EVERY_TEST = {"one-event-in-many-dropped", "consumer-ignores-the-inbox", "two-events-swapped"}
SECONDS = 7.0  # and 1.5 for each fault before them
SIZE = Size(keys=32, threads=6, sql_writers=1, pace_ms=10, hold_max_ms=1500, poison=80, copies=0.05)
PROGRAMS = {"sluice": "sluice", "writer": "tests/drill/drill_writer",
            "applier": "tests/drill/drill_applier"}
NEED_KAFKA = ("stop_kafka", "kill_kafka", "pause_kafka")


def cases() -> list:
    is_all = os.environ.get("SLUICE_DRILL_BUGS") == "all"
    return [pytest.param(patch, test, id=patch.stem) for patch in PATCHES
            for program, test in expectations(patch) if program == "drill"
            and (is_all or patch.stem in IN_EVERY_TEST)]


def wait_quiet(drill: Drill, faults: list[str]) -> None:
    """A relay that was killed has its lease for ten seconds more."""
    drill.wait_quiet(90, 16 if any("relay" in fault for fault in faults) else 8)


@pytest.mark.parametrize("patch, test", cases())
def test_the_drill_names_what_a_mistake_breaks(request, tmp_path: Path, patch: Path,
                                               test: str) -> None:
    name, breach, *faults = test.split()
    made = tmp_path / "mistake"
    made.mkdir()
    broken = Build(ROOT, BUILD).with_mistake(PROGRAMS[name], patch, made)
    if any(fault in NEED_KAFKA for fault in faults):
        kafka = request.getfixturevalue("private_kafka")()
        url, topic = kafka.url, "drill"
    else:
        shared = request.getfixturevalue("kafka")
        kafka, url, topic = None, shared.url, shared.topic("drill")
    drill = Drill(tmp_path, 1, Shared(request.getfixturevalue("postgresql_url")), kafka, url, topic,
                  SIZE, Programs(**{name: str(broken)}))
    try:
        drill.prepare()
        drill.start_all()
        for number, fault in enumerate(faults):
            if not any(each.end is None for each in drill.faults):
                drill.wait_flow()
            drill.run([Step(1.5, fault, number % 2)], 1.5)
        drill.run([], SECONDS)
        drill.end_writers()
        drill.heal()
        wait_quiet(drill, faults)
        report, verified = judge_drill(drill, is_sole=False)
        print(table(drill, report, verified))
        assert breach in report.breached(), "\n".join(report.lines())
        # What was lost before it was confirmed is only unsent to it, or in no tick.
        counts = verified["counts"]
        is_missed = counts["unsent"] > 0 or counts["committed"] < report.counts["committed"]
        assert verified["breaches"].get(breach, 1) > 0 or (breach == "lost" and is_missed), verified
    finally:
        drill.close()
