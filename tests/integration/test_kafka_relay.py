"""The relay on Kafka: what arrives there whatever happens to Kafka and to the relay."""
from __future__ import annotations

import json
import signal

import pytest
from harness.kafka_outbox import Outbox, Writer, sluice
from harness.waiting import wait_until

KILLS = 3


def test_every_event_arrives_once_and_in_order_with_its_headers(kafka, start, tmp_path) -> None:
    outbox = Outbox(tmp_path, kafka.url, kafka.topic("orders"))
    outbox.publish(5000)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    outbox.wait_sent()
    outbox.publish(100)
    outbox.wait_sent()
    outbox.check_arrived()
    record = next(each for each in outbox.arrived() if each["headers"]["n"] == "42")
    assert (record["key"], record["type"], record["payload"]) == ("key-2", "Moved", {})


def test_a_relay_that_is_killed_again_and_again_loses_and_doubles_nothing(
        kafka, start, tmp_path) -> None:
    outbox = Outbox(tmp_path, kafka.url, kafka.topic("kills"))
    writer = Writer(outbox)
    try:
        for number in range(KILLS):
            relay = start(outbox.relay_command())
            relay.wait_ready()
            before = outbox.sent()
            wait_until(lambda: outbox.sent() > before, "a relay goes on", 60)
            relay.popen.send_signal(signal.SIGKILL)
            relay.popen.wait()
    finally:
        writer.stop()
    start(outbox.relay_command()).wait_ready()
    outbox.wait_sent()
    outbox.check_arrived()


@pytest.mark.parametrize("outage", ["stopped", "killed", "paused"])
def test_an_outage_of_kafka_loses_nothing_and_uses_up_no_attempt(
        private_kafka, start, tmp_path, outage) -> None:
    kafka = private_kafka()
    outbox = Outbox(tmp_path, kafka.url, "orders")
    outbox.publish(500)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    outbox.wait_sent()
    writer = Writer(outbox)
    try:
        wait_until(lambda: outbox.sent() > 600, "events flow")
        {"stopped": kafka.stop, "killed": kafka.kill, "paused": kafka.pause}[outage]()
        # Longer than an append may take: the relay gives it up, and says so.
        wait_until(lambda: "delivery is interrupted" in relay.said(), "the relay notices", 60)
        behind = outbox.count
        wait_until(lambda: outbox.count > behind + 1000, "writers are not held up")
        assert relay.is_running()
        if outage == "paused":
            kafka.resume()
        else:
            kafka.start()
    finally:
        writer.stop()
    outbox.wait_sent(120)
    outbox.check_arrived(may_be_doubled=outage == "paused")
    assert "delivery goes on" in relay.said()


def test_a_relay_that_starts_before_kafka_waits_for_it_and_says_which_address(
        private_kafka, start, tmp_path) -> None:
    kafka = private_kafka()
    outbox = Outbox(tmp_path, kafka.url, "early")
    kafka.stop()
    outbox.publish(50)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    wait_until(lambda: "no Kafka broker answers at 127.0.0.1:" in relay.said(), "it says so", 30)
    assert "Connection refused" in relay.said()
    kafka.start()
    outbox.wait_sent(60)
    outbox.check_arrived()


def test_a_relay_whose_kafka_is_away_stops_within_seconds(private_kafka, start, tmp_path) -> None:
    kafka = private_kafka()
    outbox = Outbox(tmp_path, kafka.url, "stop")
    outbox.publish(50)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    outbox.wait_sent()
    with kafka.paused():
        outbox.publish(50)
        relay.popen.send_signal(signal.SIGTERM)
        assert relay.wait_end(15) == 0


def test_a_second_relay_stands_by_and_takes_over(kafka, start, tmp_path) -> None:
    outbox = Outbox(tmp_path, kafka.url, kafka.topic("two"))
    outbox.publish(100)
    first = start(outbox.relay_command())
    first.wait_ready()
    outbox.wait_sent()
    second = start(outbox.relay_command())
    second.wait_ready()
    wait_until(lambda: "another relay has the lease" in second.said(), "the second stands by")
    writer = Writer(outbox)
    try:
        wait_until(lambda: outbox.sent() > 300, "events flow")
        first.popen.send_signal(signal.SIGKILL)
        first.popen.wait()
        wait_until(lambda: "this relay has the lease" in second.said(), "the second takes over")
        before = outbox.sent()
        wait_until(lambda: outbox.sent() > before, "events flow again")
    finally:
        writer.stop()
    outbox.wait_sent()
    outbox.check_arrived()


def test_what_kafka_finds_too_large_becomes_a_dead_letter_and_the_rest_arrives(
        kafka, start, tmp_path) -> None:
    outbox = Outbox(tmp_path, kafka.url, kafka.topic("large"))
    outbox.publish(11)
    outbox.publish(1, json.dumps("x" * ((1 << 20) - 2)))  # of key-1
    outbox.publish(18)
    start(outbox.relay_command("--relay.retry_delay", "1ms")).wait_ready()
    outbox.wait_sent()
    wait_until(lambda: outbox.rows("SELECT count(*) FROM sluice_dead_letter"
                                   " WHERE state = 'FAILED_PERMANENTLY'") != [(0,)],
               "the large event has failed")
    numbers = sorted(int(record["headers"]["n"]) for record in outbox.arrived())
    assert numbers == [number for number in range(30) if number not in (11, 21)]
    listed = sluice("dead-letter", "list", "--database", outbox.url)
    assert "max.message.bytes" in listed
