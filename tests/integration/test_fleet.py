"""All examples at once on real servers, under load, while everything is killed in turn."""
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator

import pytest
from harness.fleet import Fleet, Schedule
from harness.fleet_client import Followed
from harness.fleet_judge import judge_until_quiet, table, versions
from harness.fleet_load import Load
from harness.servers import NoServer
from harness.sse import Message

SECONDS = float(os.environ.get("SLUICE_FLEET_SECONDS", "120"))  # `make drill`: half an hour
KAFKA_SECONDS = float(os.environ.get("SLUICE_FLEET_KAFKA_SECONDS", str(SECONDS / 2)))
SEED = int(os.environ.get("SLUICE_FLEET_SEED", "1"))
FLOWING_SECONDS = 180
QUIET_SECONDS = 180 + SECONDS / 4


SERVICES = ["payment", "order", "pay", "shop", "users", "coupons", "posts", "search", "votes"]


@pytest.mark.parametrize("seed", range(1, 41))
@pytest.mark.parametrize("seconds, kafka_seconds", [(120, 60), (1800, 600)])
def test_every_seed_kills_every_part_and_always_alike(seed: int, seconds: float,
                                                      kafka_seconds: float) -> None:
    schedule = Schedule(seed, seconds, kafka_seconds, SERVICES)
    killed = {victim for _, what, victim in schedule.steps if what == "kill"}
    assert killed == {*SERVICES, "sluice", "relay", "gateway"}
    assert {victim for _, what, victim in schedule.steps if what == "crash"} == {
        "postgresql", "mariadb"}
    split = next(second for second, what, _ in schedule.steps if what == "split")
    assert all(second < split if victim == "sluice" else second > split
               for second, what, victim in schedule.steps
               if what == "kill" and victim in ("sluice", "relay", "gateway"))
    assert schedule.steps == Schedule(seed, seconds, kafka_seconds, SERVICES).steps


@pytest.mark.parametrize("names, is_good", [
    (["0", "1", "2", "end"], True), (["0", "draining", "2"], True), (["1", "reset", "1", "2"], True),
    (["0", "2", "1"], False), (["0", "1", "1"], False), (["2", "reset", "1"], False)], ids=str)
def test_a_stream_that_repeats_itself_or_goes_back_is_noticed(names: list[str], is_good: bool
                                                              ) -> None:
    messages = [Message(name, f'{{"version": {name}}}' if name.isdigit() else "{}", "")
                for name in names]
    followed = Followed("orders", "1", SimpleNamespace(messages=messages, names=lambda: names))
    if is_good:
        assert [version for version, _ in versions(followed)] == [
            int(name) for name in names if name.isdigit()]
    else:
        with pytest.raises(AssertionError, match="came"):
            versions(followed)


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
    except AssertionError:
        print(fleet.story())
        raise
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
