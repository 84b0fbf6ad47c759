"""What became of a drill, as the checker and `sluice verify` see it."""
from __future__ import annotations

import json
from collections import Counter

from checker.drill import Run, judge
from checker.model import Report

from .drill import Drill


def table(drill: Drill, report: Report, verified: dict) -> str:
    """One table of what was done and what came of it."""
    faults = Counter(fault.name for fault in drill.faults)
    faults["answer of a commit lost"] = drill.cut.answers_lost
    faults["commit lost"] = drill.cut.commits_lost
    lines = [f"seed {drill.seed}", *(f"{name:28}{count:8}" for name, count in faults.items()), ""]
    lines += [f"{name:28}{count:8}" for name, count in report.counts.items()]
    lines += ["", f"{'promise':28}{'checker':>8}  verify"]
    breaches = Counter(name for name, _ in report.breaches)
    for name in {**dict.fromkeys(breaches), **verified["breaches"]}:
        lines.append(f"{name:28}{breaches[name]:8}  {verified['breaches'].get(name, '-')}")
    return "\n".join(lines)


def judge_drill(drill: Drill, is_sole: bool = True) -> tuple[Report, dict]:
    report = judge(Run(drill.source.url, drill.effects.url, drill.bootstrap, drill.topic,
                       drill.consumer, drill.notes, drill.faults, drill.copier.made,
                       drill.copier.seen, drill.ended))
    status, said = drill.verify(is_sole)
    verified = json.loads(said)
    assert status == (1 if any(verified["breaches"].values()) else 0)
    return report, verified
