"""What the drill does to a running system, and when: drawn from a seed."""
from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    at: float  # seconds after the start
    name: str  # of a method of Drill
    target: int = 0

    def __str__(self) -> str:
        return f"{self.at:.0f}s {self.name}" + (f" {self.target}" if "applier" in self.name else "")


# What lasts: its end, and how long it lasts in seconds by length of the drill (short, long).
ENDS = {"stop_kafka": ("start_kafka", 8, 600), "kill_kafka": ("start_kafka", 2, 5),
        "pause_kafka": ("resume_kafka", 6, 90), "pause_relay": ("resume_relay", 13, 60)}
AT_ONCE = ["kill_relay", "kill_applier", "crash_postgresql", "cut_commit", "kill_standby",
           "kill_writer", "end_relay"]
SHORT = 240.0  # a drill that is no longer than this has everything once


def plan_drill(seed: int, seconds: float) -> list[Step]:
    """Every fault at least once in any order; the last fifth of the time is quiet."""
    chance = random.Random(seed)
    is_short = seconds <= SHORT
    names = [*ENDS, *AT_ONCE, "cut_commit", "cut_commit", "kill_applier", "kill_applier"]
    chance.shuffle(names)
    steps: list[Step] = []
    at, end = seconds * 0.06, seconds * 0.8
    while names or (not is_short and at < end):
        if not names:
            names = [*AT_ONCE, *(name for name in ENDS if name != "stop_kafka"), "cut_commit"]
            chance.shuffle(names)
        name = names.pop()
        steps.append(Step(at, name, chance.randrange(2)))
        if name in ENDS:
            last, *lengths = ENDS[name]
            length = lengths[0] if is_short else min(lengths[1], seconds / 3)
            # What else happens meanwhile
            for inside in chance.sample(["kill_relay", "kill_applier", "cut_commit"], 2):
                steps.append(Step(at + chance.uniform(0.3, 0.8) * length, inside,
                                  chance.randrange(2)))
            at += length
            steps.append(Step(at, last))
        at += chance.uniform(0.6, 1.4) * (1.2 if is_short else 6)
    return sorted(steps, key=lambda step: step.at)
