"""Orders with members: who registers gets one wallet, and an order is its user's and nobody else's."""
from __future__ import annotations

import json
import sqlite3
import time
from base64 import urlsafe_b64decode
from contextlib import closing
from pathlib import Path
from typing import Iterator

import jwt
import pytest
from harness.http import call
from harness.members import PASSWORD, Member, MemberOrders, applicant, bearer
from harness.orders import ESPRESSO, ESPRESSO_MACHINE, STREAM_KINDS, statuses, stream_path
from harness.process import BUILD
from harness.sse import Refused, Stream
from harness.waiting import wait_until

both_kinds = pytest.mark.parametrize("kind", STREAM_KINDS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberOrders]:
    running = MemberOrders(tmp_path_factory.mktemp("members"))
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def visitor(shop: MemberOrders) -> Member:
    """Somebody whose requests change nothing."""
    return shop.member()


def secret_of(shop: MemberOrders) -> bytes:
    return urlsafe_b64decode(json.loads((shop.data / "token.jwk").read_text())["k"] + "=")


def make_token(shop: MemberOrders, user_id: int, seconds: int = 600, secret: bytes | None = None
               ) -> str:
    claims = {"sub": str(user_id), "aud": "orders", "exp": int(time.time()) + seconds}
    return jwt.encode(claims, secret or secret_of(shop), "HS256")


def inbox_count(shop: MemberOrders) -> int:
    return shop.rows("payment.db", "SELECT count(*) FROM sluice_inbox"
                                   " WHERE consumer = 'point-initializer-v1'")[0][0]


# --- registering and logging in

def test_who_registers_can_log_in_and_has_an_empty_wallet(shop: MemberOrders) -> None:
    body = applicant()
    registered = call("POST", shop.gateway + "/auth/register", body)
    assert registered.status == 201
    answer = shop.login(body["user_email"].upper())
    assert (answer.status, answer.body) == (201, registered.body)
    token = answer.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, secret_of(shop), ["HS256"], audience="orders")
    assert claims["sub"] == str(registered.body["user_id"])
    assert claims["exp"] - claims["iat"] == 3600
    member = Member(shop, registered.body["user_id"], token)
    wait_until(lambda: member.get("/wallet/point").body == {"point": 0}, "the wallet")


def test_a_login_sets_a_cookie_that_no_script_and_no_other_site_can_use(shop: MemberOrders
                                                                       ) -> None:
    body = applicant()
    call("POST", shop.gateway + "/auth/register", body)
    cookie = shop.login(body["user_email"]).headers["set-cookie"]
    value, *attributes = cookie.split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert call("GET", shop.gateway + "/orders/999999", headers={"Cookie": value}).status == 404
    order = {"items": [{"item_id": 1, "quantity": 1}]}
    foreign = {"Cookie": value, "Origin": "http://elsewhere.example"}
    assert call("POST", shop.gateway + "/orders", order, foreign).status == 403
    gone = call("POST", shop.gateway + "/auth/logout")
    assert gone.status == 200
    assert "Max-Age=0" in gone.headers["set-cookie"]


def test_an_unknown_user_is_404_and_a_wrong_password_401(shop: MemberOrders) -> None:
    body = applicant()
    call("POST", shop.gateway + "/auth/register", body)
    assert shop.login("nobody@example.org").status == 404
    wrong = shop.login(body["user_email"], PASSWORD + "!")
    assert wrong.status == 401
    assert "authorization" not in wrong.headers and "set-cookie" not in wrong.headers


@pytest.mark.parametrize("field", ["user_ci_number", "user_phone", "user_email"])
def test_what_must_be_unique_is_409_and_registers_and_announces_nobody(
        shop: MemberOrders, field: str) -> None:
    body = applicant()
    assert call("POST", shop.gateway + "/auth/register", body).status == 201
    counts = "SELECT (SELECT count(*) FROM member), (SELECT max(position) FROM sluice_outbox)"
    before = shop.rows("member.db", counts)
    assert shop.register(**{field: body[field]}).status == 409
    assert shop.rows("member.db", counts) == before


def test_a_phone_may_be_left_out_by_many(shop: MemberOrders) -> None:
    assert [shop.register(user_phone=None).status for _ in range(2)] == [201, 201]


def test_a_password_is_kept_as_its_hash_only(shop: MemberOrders) -> None:
    shop.register(password="sesame-open-1")
    shop.register(password="sesame-open-1")
    hashes = [row[0] for row in shop.rows("member.db", "SELECT password_hash FROM member"
                                                       " ORDER BY user_id DESC LIMIT 2")]
    assert all(each.startswith("$y$") for each in hashes)
    assert hashes[0] != hashes[1]
    everything = b"".join(path.read_bytes() for path in shop.data.glob("*") if path.is_file())
    assert b"sesame-open-1" not in everything


@pytest.mark.parametrize("changes", [
    {"user_ci_number": None}, {"user_ci_number": ""}, {"user_ci_number": 7}, {"username": None},
    {"username": "x" * 56}, {"username": "a\nb"}, {"user_email": None}, {"user_email": "name"},
    {"user_email": "@x"}, {"user_email": "a@b@c"}, {"password": "short-7"}, {"password": None},
    {"password": "x" * 17}, {"user_phone": ""}, {"user_phone": 1}, {"user_role": "ADMIN"},
    {"user_ci_number": "1" * 89}, {"user_phone": "0" * 21}, {"user_email": "a@" + "b" * 253},
    {"user_email": 7}, {"password": 12345678}, {"username": ["Ann"]}, {"username": ""},
])
def test_a_bad_registration_is_400_and_says_which_field(shop: MemberOrders, changes: dict) -> None:
    answer = shop.register(**changes)
    assert answer.status == 400
    assert next(iter(changes)) in answer.body["message"]


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/orders", "/wallet/charge"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"7", b'{"a": 1, "a": 2}', b" " * 65537],
                         ids=["nothing", "a list", "half", "no UTF-8", "a number", "twice", "large"])
def test_a_body_that_is_no_object_is_refused_wherever_one_is_taken(
        shop: MemberOrders, visitor: Member, path: str, body: bytes) -> None:
    answer = visitor.post(path, body, **{"Idempotency-Key": "body"})
    assert (answer.status, list(answer.body)) == (413 if len(body) > 65536 else 400, ["message"])
    assert answer.body["message"].startswith("the body ")


@pytest.mark.parametrize("change", [
    {"email": None}, {"email": ""}, {"email": 7}, {"email": "e" * 255}, {"password": None},
    {"password": ""}, {"password": "p" * 17}, {"password": ["secret"]}, {"user_email": "a@b"},
], ids=str)
def test_a_bad_login_is_400_and_says_which_field(shop: MemberOrders, change: dict) -> None:
    body = {"email": "ann@example.org", "password": PASSWORD, **change}
    answer = call("POST", shop.gateway + "/auth/login", body)
    assert answer.status == 400
    assert next(iter(change)) in answer.body["message"]


@pytest.mark.parametrize(("method", "path", "allow"), [
    ("GET", "/auth/register", "POST"), ("DELETE", "/auth/login", "POST"),
    ("PUT", "/auth/logout", "POST"), ("POST", "/auth/config", "GET, HEAD"),
    ("PUT", "/wallet/point", "GET, HEAD"), ("GET", "/wallet/charge", "POST"),
    ("PATCH", "/orders/1", "GET, HEAD"),
])
def test_a_path_that_takes_another_method_says_which(
        visitor: Member, method: str, path: str, allow: str) -> None:
    answer = call(method, visitor.orders.gateway + path, None, bearer(visitor.token))
    assert (answer.status, answer.headers["allow"]) == (405, allow)


# --- the wallet

def test_the_same_registration_twice_makes_one_wallet_and_one_marker(tmp_path: Path) -> None:
    shop = MemberOrders(tmp_path)
    try:
        shop.start()
        member = shop.member(points=500)
        wait_until(lambda: inbox_count(shop) == 1, "the marker")
        assert shop.end() == 0
        with closing(sqlite3.connect(tmp_path / "log.db")) as log:
            moved = log.execute("UPDATE consumer_position SET next_offset = 0 WHERE consumer ="
                                " 'point-initializer-v1' AND next_offset > 0").rowcount
            log.commit()
        assert moved == 1
        shop.start()
        later = shop.member()  # its event comes behind the one that comes again, if in its partition
        wait_until(lambda: [place for place in positions(tmp_path)] == ends(tmp_path),
                   "everything was read again")
        assert inbox_count(shop) == 2
        assert (member.points(), later.points()) == (500, 0)
        assert shop.rows("payment.db", "SELECT user_id, point, version FROM user_point"
                                       " ORDER BY user_id") == [
            (member.user_id, 500, 1), (later.user_id, 0, 0)]
    finally:
        shop.close()


def positions(data: Path) -> list[tuple]:
    with closing(sqlite3.connect(data / "log.db")) as log:
        return log.execute("SELECT partition, next_offset FROM consumer_position WHERE consumer ="
                           " 'point-initializer-v1' AND next_offset > 0 ORDER BY 1").fetchall()


def ends(data: Path) -> list[tuple]:
    with closing(sqlite3.connect(data / "log.db")) as log:
        return log.execute("SELECT number, next_offset FROM partition JOIN topic ON topic.id ="
                           " topic_id WHERE name = 'member.registered.v1' AND next_offset > 0"
                           " ORDER BY 1").fetchall()


def test_another_event_for_a_wallet_that_is_there_counts_as_done(shop: MemberOrders) -> None:
    member = shop.member(points=700)
    before = inbox_count(shop)
    with closing(sqlite3.connect(shop.data / "member.db", timeout=20, isolation_level=None)) as sql:
        sql.enable_load_extension(True)
        sql.load_extension(str(BUILD / "sluice_sqlite.so"))
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("SELECT sluice_publish('member.registered.v1', ?, ?, 'MemberRegistered')",
                    (str(member.user_id), json.dumps({"user_id": member.user_id}))).fetchone()
        sql.execute("COMMIT")
    wait_until(lambda: inbox_count(shop) == before + 1, "the event is marked")
    assert member.points() == 700
    assert shop.rows("payment.db", "SELECT count(*) FROM sluice_dead_letter") == [(0,)]


def test_a_charge_is_made_once_however_often_it_is_sent(shop: MemberOrders) -> None:
    member = shop.member()
    answers = [member.charge(500, "till-1") for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, {"point": 500})] * 3
    assert member.charge(100, "till-2").body == {"point": 600}
    assert member.charge(500, "till-1").body == {"point": 500}
    assert member.points() == 600
    assert member.charge(501, "till-1").status == 422
    assert shop.rows("payment.db", "SELECT point_before, point_after FROM charge_log WHERE user_id"
                                   " = ? ORDER BY 1", member.user_id) == [(0, 500), (500, 600)]


def test_the_same_key_of_another_user_is_another_request(shop: MemberOrders) -> None:
    one, other = shop.member(), shop.member()
    assert [each.charge(500, "mine").body for each in (one, other)] == [{"point": 500}] * 2
    order = {"items": [{"item_id": ESPRESSO, "quantity": 1}]}
    placed = [each.post("/orders", order, **{"Idempotency-Key": "mine"}) for each in (one, other)]
    assert placed[0].body["order_id"] != placed[1].body["order_id"]
    again = one.post("/orders", order, **{"Idempotency-Key": "mine"})
    assert (again.status, again.body["order_id"]) == (202, placed[0].body["order_id"])


@pytest.mark.parametrize("amount", [0, -5, 1.5, "5", None, 1_000_001, 10 ** 30])
def test_a_bad_charge_is_400_and_changes_nothing(shop: MemberOrders, amount: object) -> None:
    member = shop.member()
    assert member.charge(amount, "key").status == 400
    for key in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 256},
                {"Idempotency-Key": "\xff"}):
        assert member.post("/wallet/charge", {"amount": 5}, **key).status == 400
    assert member.post("/wallet/charge", {"amount": 5, "to": 8}, **{"Idempotency-Key": "k"}
                       ).status == 400
    assert member.points() == 0


# --- whose order it is

def test_another_users_order_is_403_to_read_to_cancel_and_to_stream(shop: MemberOrders) -> None:
    owner, other = shop.member(points=1000), shop.member()
    order_id = owner.place()
    done = owner.wait_type(order_id, "completed")
    assert other.get(f"/orders/{order_id}").status == 403
    assert other.cancel(order_id).status == 403
    for kind in STREAM_KINDS:
        refused = other.get(stream_path(order_id, kind))
        assert refused.status == 403, kind
        assert "completed" not in str(refused.body)
    assert owner.get(f"/orders/{order_id}").body == done
    assert other.get("/orders/999999").status == 404


@both_kinds
def test_another_user_cannot_resume_a_stream_by_its_id(shop: MemberOrders, kind: str) -> None:
    owner, other = shop.member(points=1000), shop.member()
    with shop.payments_held():
        order_id = owner.place()
        owner.wait_type(order_id, "payment_requested")
        follower = owner.follow(order_id, kind)
        wait_until(lambda: follower.messages, "the stream is open")
        last_id = follower.messages[-1].id
        with pytest.raises(Refused) as refused:
            Stream(shop.gateway + stream_path(order_id, kind), last_id, headers=bearer(other.token))
        assert refused.value.status == 403
    follower.wait_ended()


@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/orders"), ("GET", "/orders/1"), ("POST", "/orders/1/cancel"),
    ("GET", "/orders/1/stream"), ("GET", "/orders/1/stream/direct"), ("GET", "/wallet/point"),
    ("POST", "/wallet/charge"),
])
def test_without_a_good_token_it_is_401(shop: MemberOrders, method: str, path: str) -> None:
    bad = {
        "none": {},
        "expired": bearer(make_token(shop, 1, seconds=-60)),
        "forged": bearer(make_token(shop, 1, secret=b"x" * 32)),
        "unsigned": bearer(jwt.encode({"sub": "1", "aud": "orders", "exp": 9e9}, None, "none")),
        "a header of one's own": {"X-Authenticated-User-Id": "1", "Sluice-Subject": "1"},
    }
    for name, headers in bad.items():
        answer = call(method, shop.gateway + path, {} if method == "POST" else None, headers)
        assert answer.status == 401, name


def test_a_forged_identity_beside_a_good_token_is_ignored(shop: MemberOrders) -> None:
    owner, other = shop.member(points=1000), shop.member(points=50)
    order_id = owner.place()
    for name in ("X-Authenticated-User-Id", "x-authenticated-user-id", "X_Authenticated_User_Id"):
        forged = {name: str(owner.user_id)}
        assert other.get(f"/orders/{order_id}", **forged).status == 403
        assert other.post(f"/orders/{order_id}/cancel", **forged).status == 403
        assert other.get("/wallet/point", **forged).body == {"point": 50}
    body = {"user_id": owner.user_id, "items": [{"item_id": ESPRESSO, "quantity": 1}]}
    refused = other.post("/orders", body)
    assert refused.status == 400
    assert "leave user_id out" in refused.body["message"]


# --- the flows

def test_an_order_is_paid_with_the_points_that_were_charged(shop: MemberOrders) -> None:
    member = shop.member(points=1000)
    assert member.wait_type(member.place(quantity=2), "completed")["status"] == "COMPLETED"
    assert member.points() == 400
    failed = member.wait_type(member.place(quantity=2), "failed")
    assert failed["failure_reason"] == "too few points: the order costs 600, the wallet has 400"
    assert member.points() == 400


def test_a_cancel_before_the_payment_ends_without_a_refund(shop: MemberOrders) -> None:
    member = shop.member(points=100)
    with shop.payments_held():
        order_id = member.place(item=ESPRESSO_MACHINE, quantity=1)
        member.wait_type(order_id, "payment_requested")
        assert member.cancel(order_id).status == 200
    assert member.wait_type(order_id, "cancelled")["status"] == "CANCELLED"
    assert (shop.refund_count(order_id), member.points()) == (0, 100)


def test_a_cancel_that_a_payment_overtakes_is_refunded_exactly_once(shop: MemberOrders) -> None:
    member = shop.member(points=1000)
    with shop.payments_held():
        order_id = member.place()
        member.wait_type(order_id, "payment_requested")
        assert [member.cancel(order_id).status for _ in range(2)] == [200, 200]
    assert member.wait_type(order_id, "cancelled")["status"] == "CANCELLED"
    assert (shop.refund_count(order_id), member.points()) == (1, 1000)
    assert member.cancel(order_id).status == 409


def test_an_order_that_times_out_stays_so_while_its_refund_runs(tmp_path: Path) -> None:
    shop = MemberOrders(tmp_path)
    try:
        shop.start("--expire-after-ms=500")
        member = shop.member(points=1000)
        with shop.payments_held():
            order_id = member.place()
            timed_out = member.wait_type(order_id, "timed_out")
        wait_until(lambda: shop.payment_status(order_id) == "COMPENSATED", "the refund")
        assert member.get(f"/orders/{order_id}").body == timed_out
        assert (shop.refund_count(order_id), member.points()) == (1, 1000)
    finally:
        shop.close()


@both_kinds
def test_a_stream_of_ones_own_is_whole_whenever_it_is_opened(shop: MemberOrders, kind: str
                                                             ) -> None:
    member = shop.member(points=1000)
    with shop.payments_held():
        order_id = member.place()
        before = member.follow(order_id, kind)
        member.wait_type(order_id, "payment_requested")
        during = member.follow(order_id, kind)
        wait_until(lambda: during.messages and before.messages, "both are open")
    for follower in (before, during):
        follower.wait_ended()
    whole = [(1, "order_accepted"), (2, "payment_requested"), (3, "completed")]
    seen = statuses(before.messages)
    assert seen == whole[-len(seen):] and len(seen) >= 2
    assert statuses(during.messages) == whole[1:]
    after = member.follow(order_id, kind)
    after.wait_ended()
    assert after.names() == ["completed", "end"]


@both_kinds
def test_a_stream_of_ones_own_goes_on_after_its_last_id(shop: MemberOrders, kind: str) -> None:
    member = shop.member(points=1000)
    url = None
    with shop.payments_held():
        order_id = member.place()
        member.wait_type(order_id, "payment_requested")
        url = shop.gateway + stream_path(order_id, kind)
        with Stream(url, headers=bearer(member.token)) as stream:
            first = next(iter(stream))
        assert first.name == "payment_requested"
    with Stream(url, first.id, headers=bearer(member.token)) as stream:
        rest = list(stream)
    assert [message.name for message in rest] == ["completed", "end"]
    with pytest.raises(Refused) as over:
        Stream(url, rest[-1].id, headers=bearer(member.token))
    assert over.value.status == 204


@pytest.mark.parametrize("line", [
    {"item_id": ESPRESSO, "quantity": -1}, {"item_id": ESPRESSO, "quantity": 0},
    {"item_id": ESPRESSO}, {"item_id": 99, "quantity": 1}, {"item_id": "1", "quantity": 1}, 7])
def test_a_bad_order_is_400(shop: MemberOrders, line: object) -> None:
    member = shop.member()
    assert member.post("/orders", {"items": [line]}).status == 400
    assert member.post("/orders", {"items": []}).status == 400


def test_the_page_is_told_whether_there_are_members(shop: MemberOrders) -> None:
    assert call("GET", shop.gateway + "/auth/config").body == {"members": True}
