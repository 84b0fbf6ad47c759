"""The flows of the examples once more, on PostgreSQL, MariaDB and Kafka: all of them in one run."""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from harness.example import Example, run_example
from test_payments_flows import (
    test_a_page_sees_the_payment_end, test_an_order_is_paid_confirmed_and_taken_out_of_stock,
    test_only_the_buyer_pays,
    test_the_same_payment_again_is_the_same_answer_and_another_one_is_refused,
    test_too_few_points_are_a_refusal_that_everybody_hears_of,
    test_too_little_stock_gives_the_points_back_once)
from test_users_flows import (
    BAD, test_a_page_sees_the_coupon_come_and_then_the_end,
    test_a_poison_user_holds_up_nobody_else_and_is_redriven,
    test_a_registration_never_overwrites_a_user,
    test_a_reserved_name_is_refused_before_the_commit_and_leaves_nothing,
    test_a_user_is_registered_and_gets_the_coupon_of_its_event,
    test_registrations_at_once_are_all_announced_once,
    test_the_same_registration_again_is_the_same_answer_and_no_second_event)
from test_votes_flows import (
    test_each_vote_is_seen_in_order, test_votes_at_once_are_all_counted_and_all_told)


@pytest.fixture(scope="module")
def real() -> Iterator[Example]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-examples-"))
    folder.chmod(0o711)  # the servers' accounts pass through it
    try:
        with run_example("all", folder / "data", "--servers=real", f"--poison-name={BAD}",
                         "--payment-delay-ms=0") as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def users(real: Example) -> Example:
    return real


@pytest.fixture(scope="module")
def shop(real: Example) -> Example:
    return real


@pytest.fixture(scope="module")
def votes(real: Example) -> Example:
    return real


def test_an_order_is_placed_paid_and_streamed_to_its_end(real: Example) -> None:
    order = real.post("/orders", {"user_id": 7, "items": [{"item_id": 1, "quantity": 2}]})
    assert order.status == 202
    stream = real.follow(f"/orders/{order.body['order_id']}/stream")
    stream.wait_ended()
    assert stream.names()[-2:] == ["completed", "end"]
