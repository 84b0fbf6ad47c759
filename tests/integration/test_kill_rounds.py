"""SIGKILL, again and again: relay, services and gateway in turn, while orders are placed and watched."""
from __future__ import annotations

import os
from pathlib import Path

from harness.parts import HalfHearted, Load, Parts
from harness.waiting import wait_until

ROUNDS = int(os.environ.get("SLUICE_KILL_ROUNDS", "50"))  # `make drill` does ten times as many
VICTIMS = ["relay", "payment", "gateway", "order"]
ORDERS_BETWEEN = 8  # that must come to their end after each restart: all is well again by itself


def test_no_promise_is_broken_by_kills(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    try:
        parts.start_all()
        load, noise = Load(parts), HalfHearted(parts)
        for number in range(ROUNDS):
            victim = VICTIMS[number % len(VICTIMS)]
            done = load.done_count()
            parts.kill_part(victim)
            # Payments are made at once in one half of the rounds, and kept until due in the other.
            delay = [f"--payment-delay-ms={30 * (number // len(VICTIMS) % 2)}"]
            parts.start_part(victim, *(delay if victim == "payment" else []))
            wait_until(lambda: load.problems or load.done_count() >= done + ORDERS_BETWEEN,
                       f"orders end after the kill of the {victim} in round {number}")
        noise.finish()
        load.finish()
        counts = parts.check_until_quiet(load.notes())["counts"]
        reconnects = sum(follower.connect_count - 1 for follower in load.followers.values())
        print(f"{ROUNDS} kills: {counts}, {reconnects} reconnects")
        assert reconnects > 0
        assert noise.rolled_back > 0 and noise.committed > 0
        assert counts["clients"] == len(load.keys) >= ROUNDS * ORDERS_BETWEEN
        assert parts.rows("orders.db", "SELECT count(*) FROM orders") == [(len(load.keys),)]
        assert counts["dead_letters"] == 0
    finally:
        parts.close()
