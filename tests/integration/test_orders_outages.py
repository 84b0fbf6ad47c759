"""When something is away: what the orders example says meanwhile, and that nothing is lost by it."""
from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator

import pytest
from harness.http import call
from harness.orders import statuses, stream_path
from harness.parts import Parts
from harness.process import BUILD, program
from harness.sse import Stream
from harness.waiting import wait_until

BODY = {"user_id": 7, "items": [{"item_id": 1, "quantity": 1}]}
need_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    started = Parts(tmp_path)
    try:
        started.start_all()
        yield started
    finally:
        started.close()


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def publish_into(database: Path, topic: str, key: str, payload: str) -> None:
    """An event that no service of ours would write."""
    with closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as sql:
        sql.enable_load_extension(True)
        sql.load_extension(str(BUILD / "sluice_sqlite.so"))
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("SELECT sluice_publish(?, ?, ?, 'Strange')", (topic, key, payload)).fetchone()
        sql.execute("COMMIT")


def test_a_locked_database_is_told_and_an_order_can_be_placed_when_it_is_free(
        parts: Parts) -> None:
    with closing(sqlite3.connect(parts.data / "orders.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = call("POST", parts.gateway + "/orders", BODY)
        assert answer.status == 503
        assert "lock" in answer.body["message"]
        assert call("GET", parts.gateway + "/items").status == 200
        other.execute("ROLLBACK")
    parts.wait_type(parts.place()["order_id"], "completed")
    parts.check_until_quiet()


def test_orders_wait_for_a_relay_that_is_away_and_lose_nothing(parts: Parts) -> None:
    parts.running["relay"].end()
    ids = [parts.place(user=user)["order_id"] for user in range(1, 21)]
    assert {parts.order(each)["type"] for each in ids} == {"order_accepted"}
    parts.start_part("relay")
    for order_id in ids:
        parts.wait_type(order_id, "completed")
    parts.check_until_quiet()


def test_a_cancel_before_the_payment_is_asked_for_ends_at_once_without_a_payment(
        parts: Parts) -> None:
    parts.running["relay"].end()
    order_id = parts.place()["order_id"]
    answer = parts.cancel(order_id)
    assert (answer.body["status"], answer.body["version"]) == ("CANCELLED", 2)
    parts.start_part("relay")
    wait_until(lambda: parts.rows(
        "orders.db", "SELECT 1 FROM sluice_inbox WHERE consumer = 'order-requested'"),
        "the order's request is applied")
    assert parts.history(order_id) == [(1, "order_accepted"), (2, "cancelled")]
    assert parts.rows("payment.db", "SELECT count(*) FROM payment_log") == [(0,)]
    parts.check_until_quiet()


def test_a_stream_rides_out_an_order_service_that_is_away(parts: Parts) -> None:
    parts.running["payment"].end()
    order_id = parts.place()["order_id"]
    parts.wait_type(order_id, "payment_requested")
    follower = parts.follow(order_id, "hub")
    wait_until(lambda: follower.messages, "the stream has begun")
    parts.kill_part("order")
    answer = call("GET", f"{parts.gateway}/orders/{order_id}")
    assert answer.status == 502
    assert str(parts.ports["order"]) in json.dumps(answer.body)
    with Stream(parts.gateway + stream_path(order_id, "hub")) as stream:
        # To an EventSource any other status would be the end for ever.
        assert [message.name for message in stream] == ["unavailable"]
    parts.start_part("order")
    parts.start_part("payment")
    follower.wait_ended()
    assert statuses(follower.messages)[-1] == (3, "completed")
    parts.check_until_quiet()


def test_a_poison_event_is_kept_with_its_reason_and_other_orders_flow(parts: Parts) -> None:
    publish_into(parts.data / "orders.db", "order.payment-requested.v1", "4711", "no JSON at all")
    held = wait_until(lambda: parts.rows(
        "payment.db", "SELECT stage, message_key, state, reason FROM sluice_dead_letter"),
        "the event is held")
    (stage, key, state, reason), = held
    assert (stage, key, state) == ("order-payment-requested-v1", "4711", "FAILED_PERMANENTLY")
    assert reason.startswith("the payload is no JSON: ")
    parts.wait_type(parts.place()["order_id"], "completed")
    assert parts.check_until_quiet()["counts"]["dead_letters"] == 1


@need_root
def test_a_full_disk_is_told_and_everything_goes_on_when_there_is_space(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with mounted(data, "-t", "tmpfs", "-o", "size=6m", "tmpfs"):
        parts = Parts(data)
        try:
            parts.start_all()
            first = parts.place()["order_id"]
            parts.wait_type(first, "completed")
            filler = data / "filler"
            with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(b"\0" * 4096)

            def refused() -> str | None:
                # What fits into the files as they are is still taken.
                answer = call("POST", parts.gateway + "/orders", BODY)
                assert answer.status in (202, 503), answer
                return answer.body["message"] if answer.status == 503 else None
            message = wait_until(refused, "an order is refused")
            assert "full" in message
            assert parts.order(first)["status"] == "COMPLETED"
            assert all(process.is_running() for process in parts.running.values())
            filler.unlink()
            parts.wait_type(parts.place(user=8)["order_id"], "completed")
            parts.check_until_quiet()
        finally:
            parts.close()


@need_root
@pytest.mark.parametrize("name, file", [("order", "orders.db"), ("payment", "payment.db")])
def test_a_folder_that_is_read_only_is_told_at_the_start(
        start, tmp_path: Path, name: str, file: str) -> None:
    with mounted(tmp_path, "--bind", str(tmp_path)):
        subprocess.run(["mount", "-o", "remount,ro,bind", tmp_path], check=True)
        done = subprocess.run(
            [program(f"examples/orders/{name}"), "--listen=127.0.0.1:0",
             f"--database=sqlite:{tmp_path}/{file}", f"--broker=local:{tmp_path}/log.db"],
            capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/{file}" in done.stderr and "read-only" in done.stderr.lower()


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_is_none_is_told_at_the_start(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [program("examples/orders/order"), f"--database=sqlite:{tmp_path}/{folder}/orders.db"],
        capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no folder {tmp_path}/{folder}/; make it" in done.stderr


@pytest.mark.parametrize("file", ["orders.db", "log.db"])
def test_a_file_that_is_no_database_is_told_at_the_start(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"this is no database, and never was" * 200)
    done = subprocess.run(
        [program("examples/orders/order"), "--listen=127.0.0.1:0",
         f"--database=sqlite:{tmp_path}/orders.db", f"--broker=local:{tmp_path}/log.db"],
        capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/{file}" in done.stderr and "not a database" in done.stderr


def test_a_service_refuses_options_that_make_no_sense(tmp_path: Path) -> None:
    def stderr_of(*options: str) -> tuple[int, str]:
        done = subprocess.run([program("examples/orders/order"), *options], capture_output=True,
                              text=True, timeout=30, cwd=tmp_path)
        return done.returncode, done.stderr

    assert stderr_of("--nonsense") == (2, f"{program('examples/orders/order')}: unknown option "
                                          "'--nonsense'; see --help\n")
    status, text = stderr_of("--expire-after-ms", "-1")
    assert (status, "takes a whole number from 0 to 86400000, not '-1'" in text) == (2, True)
    status, text = stderr_of("--listen", "localhost")
    assert (status, "'localhost' is not like 127.0.0.1:9000" in text) == (1, True)
