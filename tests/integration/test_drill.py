"""The whole system on PostgreSQL and Kafka while everything that can fail does.

Two minutes of it in `make test`; SLUICE_DRILL_SECONDS=1800 in `make drill`, where Kafka is away for
ten minutes, longer than any time-out by default. SLUICE_DRILL_SEED draws another run.
"""
from __future__ import annotations

import os

from harness.drill import Drill, Size, wrong_words
from harness.drill_judge import judge_drill, table
from harness.drill_plan import SHORT, plan_drill

SECONDS = float(os.environ.get("SLUICE_DRILL_SECONDS", "120"))
SEED = int(os.environ.get("SLUICE_DRILL_SEED", "1"))


def test_no_promise_is_broken_whatever_fails(private_postgresql, private_kafka, tmp_path) -> None:
    kafka = private_kafka()
    steps = plan_drill(SEED, SECONDS)
    print(f"seed {SEED}, {SECONDS:.0f} s: " + ", ".join(map(str, steps)))
    drill = Drill(tmp_path, SEED, private_postgresql(), kafka, kafka.url,
                  size=Size(hold_max_ms=6000 if SECONDS <= SHORT else 29000))
    try:
        drill.prepare()
        drill.start_all()
        drill.run(steps, SECONDS)
        drill.end_writers()
        drill.heal()
        is_quiet = drill.wait_quiet(300, 60)
        report, verified = judge_drill(drill)
        print(table(drill, report, verified))
        assert report.breaches == [], "\n".join(report.lines())
        assert not any(verified["breaches"].values()), verified["wrong"]
        assert is_quiet, drill.progress()
        counts = report.counts
        for name in ("committed", "published", "duplicates", "records"):
            assert verified["counts"][name] == counts[name], (name, verified["counts"], counts)
        assert verified["counts"]["markers"] == counts["applied"] == counts["effects"]
        # All that was meant to happen has.
        assert counts["committed"] > 10 * SECONDS and counts["rolled_back"] > 0
        assert counts["undone"] > 0 and counts["copies_put_in"] > 0 and counts["attempts"] > 0
        assert drill.cut.answers_lost + drill.cut.commits_lost > 0
        assert wrong_words(drill) == []
    finally:
        drill.close()
