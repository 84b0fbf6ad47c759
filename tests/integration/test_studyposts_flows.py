"""The studyposts example on files: every endpoint with its codes, and who may do what."""
from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Iterator

import pytest
from harness.example import run_example
from harness.http import call
from harness.sse import Refused, Stream
from harness.studyposts import LATER, User, live
from harness.waiting import wait_until

names = itertools.count(1)
NOBODY = "01234567-89ab-4def-8123-456789abcdef"
GOOD = {"title": "t", "description": "d", "techStack": "C", "maxMembers": 2, "deadline": LATER}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with run_example("studyposts", tmp_path_factory.mktemp("studyposts")) as started:
        yield started


@pytest.fixture
def ann(running) -> User:
    return User(lambda: running.gateway, f"ann {next(names)}")


@pytest.fixture
def bob(running) -> User:
    return User(lambda: running.gateway, f"bob {next(names)}")


def refused(answer) -> tuple[int, str]:
    assert answer.body["success"] is False and answer.body["message"], answer
    return answer.status, answer.body["code"]


def granted(answer) -> tuple[int, str]:
    assert answer.body["success"] is True and answer.body["message"], answer
    return answer.status, answer.body["code"]


def word() -> str:
    """A word that no other test's post has."""
    return f"word{next(names)}x"


# --- posts

def test_a_post_is_created_read_changed_closed_and_deleted(ann: User) -> None:
    made = ann.call("POST", "/api/posts", {**GOOD, "title": "Reading C"})
    assert granted(made) == (201, "POST_CREATED")
    post = made.body["data"]
    assert set(post) == {"id", "authorId", "authorNickname", "title", "description", "techStack",
                         "maxMembers", "deadline", "status", "createdAt", "updatedAt"}
    assert (post["title"], post["status"], post["authorId"], post["authorNickname"]) == (
        "Reading C", "OPEN", ann.id, ann.nickname)
    path = f"/api/posts/{post['id']}"
    detail = ann.call("GET", path)
    assert (granted(detail), detail.body["data"]) == ((200, "POST_DETAIL"), post)
    changed = ann.call("PATCH", path, {**GOOD, "title": "Writing C", "maxMembers": 5})
    assert granted(changed) == (200, "POST_UPDATED")
    assert (changed.body["data"]["title"], changed.body["data"]["maxMembers"]) == ("Writing C", 5)
    for _ in range(2):  # closing again is no error
        closed = ann.call("PATCH", path + "/close")
        assert granted(closed) == (200, "POST_UPDATED")
        assert closed.body["data"]["status"] == "CLOSED"
    gone = ann.call("DELETE", path)
    assert (granted(gone), "data" in gone.body) == ((200, "POST_DELETED"), False)
    assert refused(ann.call("GET", path)) == (404, "POST_NOT_FOUND")


@pytest.mark.parametrize("change", [
    {"title": ""}, {"title": "   "}, {"title": "t" * 101}, {"title": None}, {"title": 7},
    {"description": " \n "}, {"description": "d" * 5001}, {"techStack": "c" * 256},
    {"maxMembers": 1}, {"maxMembers": 101}, {"maxMembers": "2"}, {"maxMembers": 2.5},
    {"deadline": "2020-01-01T00:00:00"}, {"deadline": "tomorrow"}, {"deadline": None},
    {"deadline": "2099-02-31T00:00:00"}, {"deadline": "2099-01-01"}, {"status": "FULL"},
    {"title": "a\u0007b"},
], ids=lambda change: json.dumps(change)[:30])
def test_a_bad_field_is_refused_when_a_post_is_made_and_when_it_is_changed(ann: User, change: dict
                                                                         ) -> None:
    post = ann.create()
    for method, path in (("POST", "/api/posts"), ("PATCH", f"/api/posts/{post['id']}")):
        assert refused(ann.call(method, path, {**GOOD, **change})) == (400, "INVALID_INPUT")
    assert ann.data("GET", f"/api/posts/{post['id']}") == post


@pytest.mark.parametrize("body", [None, [], b"{", b"\xff", b'{"title": 1, "title": 2}', {}],
                         ids=lambda body: str(body)[:20])
def test_a_body_that_is_none_is_refused(ann: User, bob: User, body: object) -> None:
    post = bob.create()
    for path in ("/api/posts", f"/api/posts/{post['id']}/applies", "/api/auth/dev"):
        if body == {} and path.endswith("applies"):
            continue  # the message may be left out
        assert refused(ann.call("POST", path, body)) == (400, "INVALID_INPUT")


def test_a_title_is_counted_in_characters_and_any_language_is_kept(ann: User) -> None:
    title = "스터디" * 33 + "한"
    post = ann.create(title, description="line 1\nline 2 🙂 'quoted' \"twice\" \\ %s {id}")
    assert ann.data("GET", f"/api/posts/{post['id']}") == post
    assert post["title"] == title
    assert ann.wait_found("스터디스터디", lambda found: post["id"] in [one["id"] for one in found])


def test_posts_are_listed_by_page_filter_and_order(ann: User) -> None:
    tech = word()
    made = [ann.create(f"post {number}", techStack=f"C, {tech.upper()} 100%",
                       deadline=f"2099-01-0{number}T00:00:00") for number in range(1, 5)]
    ann.data("PATCH", f"/api/posts/{made[0]['id']}/close")

    def listed(query: str) -> list[str]:
        page = ann.data("GET", f"/api/posts?techStack={tech}&{query}")
        return [post["title"] for post in page["content"]]

    page = ann.data("GET", f"/api/posts?techStack={tech}&size=3&sort=deadline,asc")
    assert set(page["content"][0]) == {"id", "authorNickname", "title", "techStack", "maxMembers",
                                       "deadline", "status", "createdAt"}
    assert [post["title"] for post in page.pop("content")] == ["post 1", "post 2", "post 3"]
    assert page == {"number": 0, "size": 3, "totalElements": 4, "totalPages": 2, "first": True,
                    "numberOfElements": 3, "last": False, "empty": False}
    assert listed("size=3&page=1&sort=deadline,asc") == ["post 4"]
    assert listed("sort=deadline,desc")[0] == "post 4"
    assert listed("status=CLOSED") == ["post 1"]
    assert len(listed("status=OPEN")) == 3
    assert listed("sort=status")[0] == "post 1"
    assert ann.data("GET", f"/api/posts?techStack={tech}_")["empty"]
    assert not ann.data("GET", f"/api/posts?techStack={tech}%20100%25")["empty"]
    for bad in ("page=-1", "page=x", "size=0", "size=101", "sort=title", "status=open"):
        assert refused(ann.call("GET", f"/api/posts?{bad}")) == (400, "INVALID_INPUT")


# --- who may do what

def test_only_the_author_changes_a_post_and_sees_its_applications(ann: User, bob: User) -> None:
    post = ann.create()
    path = f"/api/posts/{post['id']}"
    application = bob.apply(post)
    for method, where, body in (
            ("PATCH", path, GOOD), ("PATCH", path + "/close", None), ("DELETE", path, None),
            ("GET", path + "/applies", None),
            ("PATCH", f"/api/applies/{application['id']}/approve", None),
            ("PATCH", f"/api/applies/{application['id']}/reject", None)):
        assert refused(bob.call(method, where, body)) == (403, "FORBIDDEN")
    assert ann.data("GET", path) == post
    assert ann.data("GET", path + "/applies")["content"] == [application]


def test_what_is_not_there_is_404_and_what_is_no_id_is_400(ann: User) -> None:
    for method, path, code in (
            ("GET", "/api/posts/{}", "POST_NOT_FOUND"), ("PATCH", "/api/posts/{}", "POST_NOT_FOUND"),
            ("PATCH", "/api/posts/{}/close", "POST_NOT_FOUND"),
            ("DELETE", "/api/posts/{}", "POST_NOT_FOUND"),
            ("POST", "/api/posts/{}/applies", "POST_NOT_FOUND"),
            ("GET", "/api/posts/{}/applies", "POST_NOT_FOUND"),
            ("DELETE", "/api/posts/{}/applies", "APPLICATION_NOT_FOUND"),
            ("PATCH", "/api/applies/{}/approve", "APPLICATION_NOT_FOUND"),
            ("PATCH", "/api/applies/{}/reject", "APPLICATION_NOT_FOUND"),
            ("PATCH", "/api/notifications/{}/read", "NOTIFICATION_NOT_FOUND")):
        body = {"message": "m"} if path.endswith("applies") else GOOD
        assert refused(ann.call(method, path.format(NOBODY), body)) == (404, code)
        assert refused(ann.call(method, path.format("7"), body)) == (400, "INVALID_INPUT")
    assert refused(ann.call("GET", "/api/nothing")) == (404, "NOT_FOUND")
    assert refused(ann.call("PUT", "/api/posts")) == (405, "METHOD_NOT_ALLOWED")


def test_a_token_of_a_user_who_is_not_there_is_told_so(ann: User, running) -> None:
    with closing(sqlite3.connect(running.data / "posts.db", timeout=20)) as sql, sql:
        sql.execute("DELETE FROM users WHERE id = ?", (ann.id,))
    assert refused(ann.call("POST", "/api/posts", GOOD)) == (404, "USER_NOT_FOUND")
    assert ann.call("GET", "/api/notifications/subscribe").status == 404


def test_a_locked_database_is_a_conflict_and_changes_nothing(ann: User, running) -> None:
    post = ann.create()
    with closing(sqlite3.connect(running.data / "posts.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = ann.call("PATCH", f"/api/posts/{post['id']}/close")
        other.execute("ROLLBACK")
    assert refused(answer) == (409, "LOCK_CONFLICT")
    assert ann.data("GET", f"/api/posts/{post['id']}")["status"] == "OPEN"


# --- applications

def test_an_application_is_made_once_and_taken_back_while_it_is_pending(ann: User, bob: User
                                                                      ) -> None:
    post = ann.create()
    path = f"/api/posts/{post['id']}/applies"
    made = bob.call("POST", path, {"message": "m" * 500})
    assert granted(made) == (201, "APPLY_CREATED")
    assert set(made.body["data"]) == {"id", "applicantNickname", "applicantTechStack", "message",
                                      "status", "createdAt"}
    assert made.body["data"]["status"] == "PENDING"
    assert refused(bob.call("POST", path, {"message": ""})) == (409, "ALREADY_APPLIED")
    assert granted(bob.call("DELETE", path)) == (200, "APPLY_CANCELED")
    assert refused(bob.call("DELETE", path)) == (404, "APPLICATION_NOT_FOUND")
    again = bob.apply(post)
    ann.data("PATCH", f"/api/applies/{again['id']}/reject")
    assert refused(bob.call("DELETE", path)) == (409, "APPLICATION_ALREADY_PROCESSED")
    assert refused(bob.call("POST", path, {"message": ""})) == (409, "ALREADY_APPLIED")


def test_what_may_not_be_applied_to_is_refused(ann: User, bob: User) -> None:
    post = ann.create()
    path = f"/api/posts/{post['id']}/applies"
    assert refused(ann.call("POST", path, {"message": "me"})) == (400, "CANNOT_APPLY_OWN_POST")
    for bad in ({"message": "m" * 501}, {"message": 7}, {"text": "me"}):
        assert refused(bob.call("POST", path, bad)) == (400, "INVALID_INPUT")
    ann.data("PATCH", f"/api/posts/{post['id']}/close")
    assert refused(bob.call("POST", path, {"message": "me"})) == (400, "POST_CLOSED")
    assert ann.data("GET", path)["empty"]


def test_an_application_is_decided_once_and_only_an_open_post_approves(ann: User, bob: User,
                                                                     running) -> None:
    post = ann.create()
    others = [User(lambda: running.gateway, f"other {next(names)}") for _ in range(3)]
    first, second, third, last = [user.apply(post) for user in (bob, *others)]
    decide = "/api/applies/{}/{}".format
    approved = ann.call("PATCH", decide(first["id"], "approve"))
    assert (granted(approved), approved.body["data"]["status"]) == (
        (200, "APPLY_APPROVED"), "APPROVED")
    rejected = ann.call("PATCH", decide(second["id"], "reject"))
    assert (granted(rejected), rejected.body["data"]["status"]) == (
        (200, "APPLY_REJECTED"), "REJECTED")
    for each in (first, second):
        for verb in ("approve", "reject"):
            assert refused(ann.call("PATCH", decide(each["id"], verb))) == (
                409, "APPLICATION_ALREADY_PROCESSED")
    ann.approve(third)
    assert ann.data("GET", f"/api/posts/{post['id']}")["status"] == "FULL"
    assert refused(ann.call("PATCH", decide(last["id"], "approve"))) == (400, "POST_CLOSED")
    assert granted(ann.call("PATCH", decide(last["id"], "reject"))) == (200, "APPLY_REJECTED")
    bob.wait_notified("APPLY_APPROVED")
    others[0].wait_notified("APPLY_REJECTED")
    ann.wait_notified(*["APPLY_RECEIVED"] * 4)


# --- search

def test_search_finds_by_words_and_filters(ann: User) -> None:
    rare, tech = word(), word()
    small = ann.create(f"Small {rare}", techStack=f"Rust {tech}", maxMembers=2)
    large = ann.create("Large", description=f"talks of {rare}, too", techStack=f"C {tech}",
                       maxMembers=9)
    ann.data("PATCH", f"/api/posts/{large['id']}/close")
    ann.wait_found(rare, lambda found: {one["status"] for one in found} == {"OPEN", "CLOSED"})

    def found(**query) -> set[str]:
        page = ann.search(**query)
        assert page["degraded"] is False
        return {post["title"] for post in page["content"]}

    assert found(keyword=rare) == {small["title"], large["title"]}
    assert found(keyword=rare, status="OPEN") == {small["title"]}
    assert found(keyword=rare, maxMembers=5) == {small["title"]}
    assert found(keyword=rare, maxMembers=0) == {small["title"], large["title"]}
    assert found(techStack=tech, maxMembers=9) == {small["title"], large["title"]}
    assert found(keyword=rare, techStack="rust") == {small["title"]}
    assert found(keyword=rare, size=1, page=1) < {small["title"], large["title"]}
    assert found(keyword=f'"{rare}" OR NEAR(') == set()
    assert found(keyword=f"large {rare}") == {large["title"]}
    hit = ann.search(keyword=f"small {rare}")["content"][0]
    assert set(hit) == {"id", "authorNickname", "title", "techStack", "maxMembers", "deadline",
                        "status", "createdAt"}
    for bad in ("status=open", "maxMembers=x", "maxMembers=-1", "page=-1", "size=1000",
                "keyword=" + "k" * 201):
        assert refused(ann.call("GET", f"/api/posts/search?{bad}")) == (400, "INVALID_INPUT")


# --- notifications

def test_notifications_are_listed_counted_and_read(ann: User, bob: User) -> None:
    post = ann.create("Reading")
    bob.apply(post)
    ann.approve(bob_application(ann, post))
    (told,) = bob.wait_notified("APPLY_APPROVED")
    assert set(told) == {"id", "receiverId", "type", "message", "targetId", "isRead", "createdAt"}
    assert (told["message"], told["targetId"], told["isRead"], told["receiverId"]) == (
        "your application to Reading was approved", post["id"], False, bob.id)
    assert bob.data("GET", "/api/notifications/unread-count") == 1
    path = f"/api/notifications/{told['id']}/read"
    assert refused(ann.call("PATCH", path)) == (403, "FORBIDDEN")
    for _ in range(2):
        assert granted(bob.call("PATCH", path)) == (200, "NOTIFICATION_READ")
    assert bob.data("GET", "/api/notifications/unread-count") == 0
    assert bob.notifications()[0]["isRead"] is True
    ann.wait_notified("APPLY_RECEIVED")
    assert granted(ann.call("PATCH", "/api/notifications/read-all")) == (
        200, "NOTIFICATION_READ_ALL")
    assert ann.data("GET", "/api/notifications/unread-count") == 0


def bob_application(author: User, post: dict) -> dict:
    return author.data("GET", f"/api/posts/{post['id']}/applies")["content"][0]


@pytest.mark.parametrize("by", ["bearer", "cookie"])
def test_a_page_hears_of_each_notification_and_of_what_another_tab_has_read(
        ann: User, bob: User, by: str) -> None:
    tab = ann.follow(by=by)
    wait_until(lambda: live(tab), "the stream has begun")
    bob.apply(ann.create("Reading"))
    wait_until(lambda: len(live(tab)) == 2, "the application is told")
    told = json.loads(tab.messages[1].data)
    assert (told["unreadCount"], told["notification"]) == (1, ann.notifications()[0])
    ann.data("PATCH", f"/api/notifications/{told['notification']['id']}/read")
    wait_until(lambda: len(live(tab)) == 3, "it is told as read")
    read = json.loads(tab.messages[2].data)
    assert (read["unreadCount"], read["notificationId"]) == (0, told["notification"]["id"])
    versions, events = zip(*live(tab))
    assert events == ("connect", "notification", "read")
    assert list(versions) == list(range(versions[0], versions[0] + 3))
    tab.stop()


def test_a_stream_is_for_its_owner_only(ann: User, bob: User, running) -> None:
    own = f"{running.gateway}/api/users/{ann.id}/notifications"
    with Stream(own, headers={"Cookie": f"studyposts={ann.token}"}) as stream:
        assert next(iter(stream)).name == "connect"
    for headers, status in (({}, 401), (bob.headers, 403)):
        with pytest.raises(Refused) as refusal:
            Stream(own, headers=headers)
        assert refusal.value.status == status
    with pytest.raises(Refused) as refusal:
        Stream(f"{running.gateway}/api/notifications/subscribe")
    assert refusal.value.status == 401


def test_signing_in_again_is_the_same_user_and_its_cookies_are_for_streams_only(
        ann: User, running) -> None:
    answer = call("POST", running.gateway + "/api/auth/dev", {"nickname": ann.nickname})
    assert answer.body["data"]["userId"] == ann.id
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/api/" in cookie
    for bad in ({}, {"nickname": ""}, {"nickname": "n" * 51}, {"nickname": "a", "admin": True}):
        answer = call("POST", running.gateway + "/api/auth/dev", bad)
        assert refused(answer) == (400, "INVALID_INPUT")


def test_the_secret_of_the_tokens_is_the_owners_only(running) -> None:
    for name in ("token.secret", "token.jwk"):
        assert Path(running.data / name).stat().st_mode & 0o777 == 0o600
