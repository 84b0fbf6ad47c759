"""All examples at once on real servers, under load, while everything is killed in turn."""
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.fleet import Fleet, Schedule
from harness.fleet_judge import judge_until_quiet, table
from harness.fleet_load import Load
from harness.servers import NoServer

SECONDS = float(os.environ.get("SLUICE_FLEET_SECONDS", "90"))  # `make drill`: half an hour
KAFKA_SECONDS = float(os.environ.get("SLUICE_FLEET_KAFKA_SECONDS", str(SECONDS / 3)))
SEED = int(os.environ.get("SLUICE_FLEET_SEED", "1"))
FLOWING_SECONDS = 180
QUIET_SECONDS = 180 + SECONDS / 4


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-fleet-"))
    folder.chmod(0o711)
    running = None
    try:
        running = Fleet(folder)
        yield running
    except NoServer as error:
        pytest.skip(str(error))
    finally:
        if running is not None:
            running.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_no_promise_is_broken_whatever_dies_and_however_long_the_broker_is_away(fleet: Fleet
                                                                               ) -> None:
    schedule = Schedule(SEED, SECONDS, KAFKA_SECONDS, fleet.services)
    print(schedule)
    load = Load(fleet, SEED)
    try:
        load.wait_flowing(FLOWING_SECONDS)
        schedule.play(fleet)
        load.finish()
        fleet.wait_ready()
        figures = judge_until_quiet(fleet, load, QUIET_SECONDS)
    finally:
        load.stop()
    kills = {name: member.kill_count for name, member in fleet.all_members()}
    figures["load"] = {"answers": sum(client.answer_count for client in load.clients.values()),
                       "unanswered": sum(client.unanswered_count
                                         for client in load.clients.values())}
    figures["faults"] = {**{f"kills of {name}": count for name, count in kills.items()},
                         **{f"outages of {name}": count for name, count in fleet.outages.items()},
                         "starts refused meanwhile": fleet.refused_start_count}
    print(f"{SECONDS:.0f} s, Kafka away for {KAFKA_SECONDS:.0f} s, seed {SEED}\n{table(figures)}")
    assert all(kills[name] > 0 for name in [*fleet.services, "sluice", "relay", "gateway"])
    assert {"kafka", "postgresql", "mariadb"} == set(fleet.outages)
    assert figures["streams"]["reconnects"] > 0
    fleet.end()
    assert not fleet.problems, fleet.problems[0]
