"""What the studyposts example answers to what it cannot use: to each endpoint, with a code and text."""
from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from typing import Iterator

import jwt
import pytest
from harness.example import Example, run_example
from harness.http import Answer, call
from harness.studyposts import ENDPOINTS, LATER, User

NOBODY = "01234567-89ab-4def-8123-456789abcdef"
GOOD = {"title": "t", "description": "d", "techStack": "C", "maxMembers": 2, "deadline": LATER}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with run_example("studyposts", tmp_path_factory.mktemp("studyposts-input")) as started:
        yield started


@pytest.fixture(scope="module")
def ann(running: Example) -> User:
    return User(lambda: running.gateway, "ann")


@pytest.fixture(scope="module")
def bob(running: Example) -> User:
    return User(lambda: running.gateway, "bob")


def refused(answer: Answer) -> tuple[int, str]:
    assert answer.body["success"] is False and answer.body["message"], answer
    return answer.status, answer.body["code"]


def make_token(running: Example, user: User, secret: bytes | None = None, **changes) -> str:
    claims = {"sub": user.id, "aud": "studyposts", "exp": int(time.time()) + 600, **changes}
    key = json.loads((running.data / "token.jwk").read_text())["k"]
    return jwt.encode(claims, secret or urlsafe_b64decode(key + "=" * (-len(key) % 4)), "HS256")


@pytest.mark.parametrize("method, path", ENDPOINTS)
def test_without_a_good_token_it_is_401(running: Example, ann: User, method: str, path: str) -> None:
    url = running.gateway + path.format(id=ann.id)
    tokens = {"nonsense": "nonsense",
              "expired": make_token(running, ann, exp=int(time.time()) - 60),
              "of another service": make_token(running, ann, aud="orders"),
              "forged": make_token(running, ann, b"x" * 32),
              "unsigned": jwt.encode({"sub": ann.id, "aud": "studyposts", "exp": 9e9}, None, "none")}
    for name, token in tokens.items():
        answer = call(method, url, GOOD, {"Authorization": f"Bearer {token}"})
        assert (answer.status, list(answer.body)) == (401, ["error"]), name
        assert answer.headers["www-authenticate"].startswith("Bearer"), name
    for headers in ({}, {"Sluice-Subject": ann.id}):
        answer = call(method, url, GOOD, headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        if "subscribe" not in path and "users" not in path:  # these the gateway itself refuses
            assert refused(answer) == (401, "UNAUTHORIZED")


def test_a_good_token_made_the_same_way_is_taken(running: Example, ann: User) -> None:
    good = {"Authorization": f"Bearer {make_token(running, ann)}"}
    assert call("GET", running.gateway + "/api/posts", None, good).status == 200


@pytest.mark.parametrize("query", ["page=-1", "page=x", "page=1.5", "page=1000001", "page=", "size=0",
                                   "size=-1", "size=101", "size=ten"])
def test_a_page_that_is_none_is_400_wherever_there_are_pages(ann: User, query: str) -> None:
    applies = f"/api/posts/{ann.create()['id']}/applies"
    for path in ("/api/posts", "/api/posts/search", "/api/notifications", applies):
        assert refused(ann.call("GET", f"{path}?{query}")) == (400, "INVALID_INPUT"), path


def test_a_filter_that_is_too_long_is_400(ann: User) -> None:
    for path in ("/api/posts?techStack=", "/api/posts/search?techStack=",
                 "/api/posts/search?keyword="):
        assert ann.call("GET", path + "c" * 200).status == 200
        assert refused(ann.call("GET", path + "c" * 201)) == (400, "INVALID_INPUT")


@pytest.mark.parametrize("body", [
    {"nickname": 7}, {"nickname": None}, {"nickname": "  "}, {"nickname": "a", "techStack": 1},
    {"nickname": "a", "techStack": "c" * 256}, {"nickname": "a\nb\u0000"}, {"nickname": ["a"]},
], ids=str)
def test_a_bad_sign_in_is_400(running: Example, body: dict) -> None:
    assert refused(running.post("/api/auth/dev", body)) == (400, "INVALID_INPUT")


@pytest.mark.parametrize("field", ["title", "description", "maxMembers", "deadline"])
def test_a_field_that_is_missing_is_named(ann: User, field: str) -> None:
    post = ann.create()
    body = {name: value for name, value in GOOD.items() if name != field}
    for method, path in (("POST", "/api/posts"), ("PATCH", f"/api/posts/{post['id']}")):
        answer = ann.call(method, path, body)
        assert refused(answer) == (400, "INVALID_INPUT")
        assert field in answer.body["message"]


def test_a_negative_or_huge_number_of_members_is_400(ann: User) -> None:
    for number in (-2, 0, 10 ** 30):
        assert refused(ann.call("POST", "/api/posts", {**GOOD, "maxMembers": number})) == (
            400, "INVALID_INPUT")


def test_a_body_that_is_too_large_is_413(ann: User) -> None:
    post = ann.create()
    for method, path in (("POST", "/api/posts"), ("PATCH", f"/api/posts/{post['id']}"),
                         ("POST", f"/api/posts/{post['id']}/applies")):
        answer = ann.call(method, path, b" " * (64 * 1024 + 1))
        assert (answer.status, answer.body) == (
            413, {"message": "the body is larger than 65536 bytes"})


def test_a_path_that_takes_another_method_says_which(ann: User) -> None:
    post = ann.create()
    for method, path, allow in (
            ("PUT", f"/api/posts/{post['id']}", "GET, HEAD, PATCH, DELETE"),
            ("DELETE", "/api/posts", "POST, GET, HEAD"),
            ("GET", f"/api/applies/{NOBODY}/approve", "PATCH"),
            ("POST", "/api/notifications/read-all", "PATCH"),
            ("POST", "/api/posts/search", "GET, HEAD")):
        answer = ann.call(method, path, GOOD)
        assert refused(answer) == (405, "METHOD_NOT_ALLOWED"), path
        assert answer.headers["allow"] == allow


def test_the_same_application_twice_is_one(ann: User, bob: User) -> None:
    post = ann.create()
    path = f"/api/posts/{post['id']}/applies"
    answers = [bob.call("POST", path, {"message": "me"}) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 409, 409]
    assert ann.data("GET", path)["totalElements"] == 1
