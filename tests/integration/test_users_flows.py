"""The users example: a user and its event are one, and each user has one coupon."""
from __future__ import annotations

import itertools
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Iterator

import pytest
from harness.command import works
from harness.example import Example, run_example
from harness.http import call
from harness.process import program
from harness.waiting import wait_until

numbers = itertools.count(1)
BAD = "Bad Penny"


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("users", tmp_path_factory.mktemp("users"), f"--poison-name={BAD}") as running:
        yield running


def new_id() -> str:
    return f"user-{next(numbers)}"


def issued(users: Example, user: str) -> dict:
    return users.wait_for(f"/coupons/{user}", lambda _: True, f"the coupon of {user}")


def rows(users: Example, database: str, sql: str) -> list[tuple]:
    file = users.database(database).removeprefix("sqlite:")
    with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def test_a_user_is_registered_and_gets_the_coupon_of_its_event(users: Example) -> None:
    user = new_id()
    answer = users.post("/users", {"userId": user, "userName": "Rudak"})
    assert answer.status == 201
    assert (answer.body["userId"], answer.body["userName"]) == (user, "Rudak")
    assert users.get(f"/users/{user}").body == answer.body
    assert issued(users, user)["eventId"] == answer.body["eventId"]


def test_the_same_registration_again_is_the_same_answer_and_no_second_event(users: Example) -> None:
    user = {"userId": new_id(), "userName": "Rudak"}
    first = users.post("/users", user)
    second = users.post("/users", user)
    assert (first.status, second.status) == (201, 200)
    assert second.body == first.body
    assert issued(users, user["userId"])["eventId"] == first.body["eventId"]


def test_a_registration_never_overwrites_a_user(users: Example) -> None:
    user = new_id()
    users.post("/users", {"userId": user, "userName": "Rudak"})
    answer = users.post("/users", {"userId": user, "userName": "Another"})
    assert answer.status == 409
    assert users.get(f"/users/{user}").body["userName"] == "Rudak"


def test_a_reserved_name_is_refused_before_the_commit_and_leaves_nothing(users: Example) -> None:
    user = new_id()
    before = users.get("/listeners").body
    answer = users.post("/users", {"userId": user, "userName": "admin"})
    after = users.get("/listeners").body
    assert answer.status == 422
    assert "the name 'admin' is reserved" in answer.body["message"]
    assert users.get(f"/users/{user}").status == 404
    assert {phase: after[phase] - before[phase] for phase in after} == {
        "before commit": 1, "after commit": 0, "after rollback": 1, "after completion": 1}


@pytest.mark.parametrize("body", [
    {}, [], None, {"userId": "a"}, {"userName": "a"}, {"userId": "", "userName": "a"},
    {"userId": 7, "userName": "a"}, {"userId": "a" * 61, "userName": "a"},
    {"userId": "a", "userName": "n" * 1000}, {"userId": "a\n", "userName": "a"},
    {"userId": "a", "userName": "a", "extra": 1}, b"{", b"\xff\xfe",
], ids=lambda body: str(body)[:40])
def test_a_registration_that_is_no_good_is_told_what_is_wrong(users: Example, body: object) -> None:
    answer = users.post("/users", body)
    assert answer.status == 400
    assert answer.body["message"]


def test_an_unknown_user_path_or_method_is_told(users: Example) -> None:
    assert users.get("/users/nobody").status == 404
    assert users.get("/coupons/nobody").status == 404
    assert users.get("/nothing").status == 404
    assert users.post("/users/nobody").status == 405


def test_a_path_that_is_no_text_or_too_long_is_told_and_costs_no_connection(
        users: Example, start, tmp_path: Path) -> None:
    # The gateway lets no such path through; the service is asked by itself.
    service = start([program("examples/users/users"), "--listen=127.0.0.1:0",
                     f"--database=sqlite:{tmp_path}/users.db"]).wait_ready()["http"]
    for path in ("/users/%ff", "/users/%ed%a0%80", "/nothing%ff", "/users/a?b=%ff", "/%c3"):
        answer = call("GET", service + path)
        assert (answer.status, answer.body) == (400, {"message": "path and query must be UTF-8"})
    long = "%ea%b0%80" * 300  # the message ends in the middle of a character
    for path in (f"/users/{long}", f"/coupons/{long}", f"/coupons/{long}/status"):
        answer = users.get(path)
        assert answer.status == 404
        assert answer.body["message"]
    answer = users.post("/users", {"userId": "a", "userName": "a", "x" + "가" * 40: 1})
    assert answer.status == 400
    assert answer.body["message"].startswith("there is no field 'x가가")


def test_a_page_sees_the_coupon_come_and_then_the_end(users: Example) -> None:
    user = new_id()
    stream = users.follow(f"/coupons/{user}/stream")
    users.post("/users", {"userId": user, "userName": "Rudak"})
    stream.wait_ended()
    assert [name for name in stream.names() if name != "waiting"] == ["issued", "end"]


def test_a_poison_user_holds_up_nobody_else_and_is_redriven(users: Example) -> None:
    poison, other = new_id(), new_id()
    users.post("/users", {"userId": poison, "userName": BAD})
    users.post("/users", {"userId": other, "userName": "Good"})
    issued(users, other)
    database = users.database("coupons")

    def is_given_up() -> bool:
        return (poison, "FAILED_PERMANENTLY", 3) in [
            (each["key"], each["state"], each["attempts"]) for each in json.loads(works(
                "dead-letter", "list", "--json", "--database", database))]

    def failures() -> int:
        state = json.loads(works("status", "--database", database, "--json"))
        return sum(each["failures_total"] for each in state["databases"][0]["consumers"]
                   if each["name"] == "coupons")

    wait_until(is_given_up, "it has had its attempts")
    assert users.get(f"/coupons/{poison}").status == 404
    counted = failures()
    works("dead-letter", "redrive", "--key", poison, "--database", database)
    wait_until(lambda: failures() >= counted + 3, "it has as many attempts again")
    wait_until(is_given_up, "it is no better")


def test_registrations_at_once_are_all_announced_once(users: Example) -> None:
    ids = [new_id() for _ in range(200)]
    answers: list[int] = []

    def register(share: list[str]) -> None:
        for user in share:  # each one twice, as an impatient client does
            answers.extend(users.post("/users", {"userId": user, "userName": "Many"}).status
                           for _ in range(2))

    threads = [threading.Thread(target=register, args=(ids[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 200 + [201] * 200
    for user in ids:
        assert issued(users, user)["eventId"] == users.get(f"/users/{user}").body["eventId"]


def test_an_event_that_comes_again_gives_no_second_coupon(users: Example) -> None:
    """The same event id once more in the topic, as after a sending whose answer was lost."""
    user = new_id()
    users.post("/users", {"userId": user, "userName": "Twice"})
    before = issued(users, user)

    def duplicates() -> int:
        return rows(users, "coupons", "SELECT duplicates_total FROM sluice_consumer"
                                      " WHERE name = 'coupons'")[0][0]

    told = rows(users, "coupons", "SELECT count(*) FROM sluice_outbox")
    counted = duplicates()
    rows(users, "users", "INSERT INTO sluice_outbox (id, topic, message_key, type, payload)"
                         " SELECT id, topic, message_key, type, payload FROM sluice_outbox"
                         f" WHERE message_key = '{user}'")
    wait_until(lambda: duplicates() == counted + 1, "the second copy has come")
    assert issued(users, user) == before
    assert rows(users, "coupons", "SELECT count(*) FROM sluice_outbox") == told
