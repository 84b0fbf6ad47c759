"""The studyposts example when things go wrong: each flow shows a way in which such systems lose."""
from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Iterator

import pytest
from harness.command import works
from harness.studyposts import StudyPosts, User, live
from harness.waiting import wait_until


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[StudyPosts]:
    started = StudyPosts(tmp_path)
    try:
        started.start_all()
        yield started
    finally:
        started.close()


def at(parts: StudyPosts, time: str) -> None:
    """Let the posts' clock stand there."""
    new = parts.clock.with_suffix(".new")
    new.write_text(time)
    new.rename(parts.clock)


# --- nothing is lost

def test_what_was_committed_before_a_kill_arrives_when_all_is_back(parts: StudyPosts) -> None:
    ann, bob = parts.user("ann"), parts.user("bob")
    parts.running["relay"].end()
    post = ann.create("Survivors")
    application = bob.apply(post)
    ann.approve(application)
    parts.kill("posts")  # between the commit and whatever would follow it
    parts.start("posts", "relay")
    bob.wait_notified("APPLY_APPROVED")
    ann.wait_notified("APPLY_RECEIVED")
    ann.wait_found("survivors", lambda found: [one["id"] for one in found] == [post["id"]])
    parts.check_delivered()


def test_kills_of_the_writer_and_the_indexer_neither_lose_nor_repeat(parts: StudyPosts) -> None:
    ann, bob = parts.user("ann"), parts.user("bob")
    made = []
    for number in range(40):
        made.append(ann.create(f"Kills number{number}"))
        bob.apply(made[-1])
        if number % 10 == 9:
            for name in ("posts", "search", "relay"):
                parts.kill(name)
            parts.start("posts", "search", "relay")
    ann.wait_notified(*["APPLY_RECEIVED"] * len(made))
    assert {each["targetId"] for each in ann.notifications()} == {post["id"] for post in made}
    wait_until(lambda: ann.search(keyword="kills")["totalElements"] == len(made), "all are found")
    parts.check_delivered()


def test_the_last_seat_is_seen_as_full_in_search(parts: StudyPosts) -> None:
    ann = parts.user("ann")
    post = ann.create("Two seats")
    first, second = (parts.user(name).apply(post) for name in ("bob", "cat"))
    ann.approve(first)
    ann.approve(second)
    ann.wait_found("seats", lambda found: [one["status"] for one in found] == ["FULL"])


# --- what cannot be done stops one key only

def test_a_poison_post_is_parked_while_others_flow_and_is_redriven_in_order(parts: StudyPosts
                                                                          ) -> None:
    ann = parts.user("ann")
    parts.rows("search.db", "CREATE TRIGGER refuse BEFORE INSERT ON post_search"
                            " WHEN new.title LIKE '%Poison%'"
                            " BEGIN SELECT RAISE(ABORT, 'this document is refused'); END")
    poison = ann.create("Poison one")
    wait_until(lambda: parts.held("post-sync-group") == [(poison["id"], "FAILED_PERMANENTLY")],
               "the post is parked")
    good = ann.create("Good one")
    ann.wait_found("one", lambda found: [post["id"] for post in found] == [good["id"]])
    body = {name: poison[name] for name in ("description", "techStack", "maxMembers", "deadline")}
    ann.data("PATCH", f"/api/posts/{poison['id']}", {**body, "title": "Medicine one"})
    wait_until(lambda: parts.held("post-sync-group") == [(poison["id"], "FAILED_PERMANENTLY"),
                                                     (poison["id"], "WAITING")],
               "the change waits behind it")
    first, second = ann.data("GET", "/api/admin/failed-post-syncs")
    assert (first["postId"], first["payload"]["post"]["title"], first["attempts"]) == (
        poison["id"], "Poison one", 3)
    assert "this document is refused" in first["failureReason"]
    assert second["state"] == "WAITING"

    parts.rows("search.db", "DROP TRIGGER refuse")
    works("dead-letter", "redrive", "--all", "--database", parts.indexer_url)
    found = ann.wait_found("medicine", lambda found: len(found) == 1)
    assert found[0]["id"] == poison["id"]
    wait_until(lambda: ann.data("GET", "/api/admin/failed-post-syncs") == [], "nothing is held")
    assert parts.rows("search.db", "SELECT version FROM post_search WHERE post_id = ?",
                      poison["id"]) == [(2,)]


SOME_ID = "7b0d7a0e-5f0a-4c86-9d0c-0d5a3a1f2b11"  # the same in every worker


@pytest.mark.parametrize("payload", [
    "no JSON", "[]", "{}", '{"postId": "7", "operationType": "UPSERT", "version": 1, "post": {}}',
    json.dumps({"postId": SOME_ID, "operationType": "UPSERT", "version": 0, "post": {}}),
    json.dumps({"postId": SOME_ID, "operationType": "UPSERT", "version": 1}),
    json.dumps({"postId": SOME_ID, "operationType": "MERGE", "version": 1, "post": {}}),
], ids=["no JSON", "a list", "nothing", "no UUID", "version 0", "no post", "no operation"])
def test_an_event_that_nobody_can_read_is_kept_and_others_flow(parts: StudyPosts, payload: str
                                                             ) -> None:
    ann = parts.user("ann")
    parts.publish("post-sync", "strange", payload)
    wait_until(lambda: parts.held("post-sync-group") == [("strange", "FAILED_PERMANENTLY")],
               "the event is kept")
    ann.create("Flowing")
    ann.wait_found("flowing", lambda found: len(found) == 1)


def test_a_notification_for_nobody_is_kept_and_others_are_told(parts: StudyPosts) -> None:
    ann, bob = parts.user("ann"), parts.user("bob")
    nobody = str(uuid.uuid4())
    parts.publish("notification", nobody, json.dumps(
        {"receiverId": nobody, "type": "APPLY_RECEIVED", "message": "hello"}), "APPLY_RECEIVED")
    bob.apply(ann.create())
    ann.wait_notified("APPLY_RECEIVED")
    (failed,) = wait_until(lambda: ann.data("GET", "/api/admin/failed-notifications"), "it is kept")
    assert (failed["receiverId"], failed["state"]) == (nobody, "FAILED_PERMANENTLY")
    assert failed["failureReason"] == f"there is no user {nobody}"


# --- neither order nor repetition does harm

def test_a_burst_of_create_change_and_delete_replayed_twice_leaves_search_empty(parts: StudyPosts
                                                                              ) -> None:
    ann = parts.user("ann")
    before = parts.indexed()
    posts = [ann.create(f"Burst {number}") for number in range(6)]
    for post in posts:
        path = f"/api/posts/{post['id']}"
        ann.data("PATCH", path + "/close")
        ann.data("DELETE", path)
    wait_until(lambda: parts.indexed() == before + 18, "all are applied", 90)
    records = parts.records("post-sync", {post["id"] for post in posts})
    for _ in range(2):
        parts.replay(records)
        parts.replay(records[::-1])
        ann.wait_found("burst", lambda found: found == [])
        assert ann.search(keyword="burst")["empty"]


def test_a_deleted_post_leaves_a_tombstone_and_no_words(parts: StudyPosts) -> None:
    ann = parts.user("ann")
    for number in range(10):
        post = ann.create(f"Tombs {number}")
        ann.data("PATCH", f"/api/posts/{post['id']}/close")
        ann.data("DELETE", f"/api/posts/{post['id']}")
    wait_until(lambda: parts.indexed() == 30, "all are applied")
    assert parts.rows("search.db", "SELECT version, is_deleted, count(*) FROM post_search"
                                   " GROUP BY version, is_deleted") == [(3, 1, 10)]
    assert parts.rows("search.db", "SELECT count(*) FROM post_search_text") == [(0,)]


def test_a_late_change_never_overwrites_a_newer_one(parts: StudyPosts) -> None:
    ann = parts.user("ann")
    post = ann.create("Oldest words")
    body = {name: post[name] for name in ("description", "techStack", "maxMembers", "deadline")}
    for title in ("Older words", "Newest words"):
        ann.data("PATCH", f"/api/posts/{post['id']}", {**body, "title": title})
    ann.wait_found("newest", lambda found: len(found) == 1)
    parts.replay(parts.records("post-sync", {post["id"]})[::-1])  # the oldest comes last
    ann.wait_found("newest", lambda found: len(found) == 1)
    assert [one["title"] for one in ann.search(keyword="words")["content"]] == ["Newest words"]
    assert ann.search(keyword="oldest")["empty"]


# --- live, on any gateway

def test_two_tabs_on_two_gateways_see_all_in_order_and_go_on_at_the_other_one(parts: StudyPosts
                                                                            ) -> None:
    parts.start("gateway2")
    ann, bob = parts.user("ann"), parts.user("bob")
    home = {"gateway": "gateway", "gateway2": "gateway2"}  # where each tab connects
    tabs = {name: ann.follow(lambda name=name: parts.address[home[name]]) for name in home}
    for tab in tabs.values():
        wait_until(lambda: live(tab), "the tab is live")

    def apply(count: int) -> None:
        for number in range(count):
            bob.apply(ann.create(f"Tabs {number}"))

    apply(5)
    for tab in tabs.values():
        wait_until(lambda: len(live(tab)) == 6, "both tabs are told")
    home["gateway2"] = "gateway"
    parts.kill("gateway2")  # its tab comes back at the other one, with its last id
    apply(5)
    for tab in tabs.values():
        wait_until(lambda: len(live(tab)) == 11, f"both tabs are told: {live(tab)}")
        first = live(tab)[0][0]
        assert live(tab) == [(first, "connect"),
                             *((first + number, "notification") for number in range(1, 11))]
        assert tab.problem is None
        tab.stop()
    assert tabs["gateway2"].connect_count == 2


# --- time

def test_a_deadline_holds_from_its_second_on_and_the_closer_tells_search_once(parts: StudyPosts
                                                                            ) -> None:
    at(parts, "2030-05-01T12:00:00")
    ann, bob, cat = (parts.user(name) for name in ("ann", "bob", "cat"))
    post = ann.create("Short lived", deadline="2030-05-01T12:00:30")
    other = ann.create("Long lived", deadline="2030-06-01T00:00:00")
    application = bob.apply(post)
    wait_until(lambda: parts.indexed() == 2, "search knows both")
    with_lock = f"/api/posts/{post['id']}/applies"
    at(parts, "2030-05-01T12:00:30")
    assert cat.call("POST", with_lock, {"message": "late"}).body["code"] == "POST_CLOSED"
    late = ann.call("PATCH", f"/api/applies/{application['id']}/approve")
    assert (late.status, late.body["code"]) == (400, "POST_CLOSED")
    ann.wait_found("lived", lambda found: sorted(one["status"] for one in found) ==
                   ["CLOSED", "OPEN"])
    assert ann.data("GET", f"/api/posts/{post['id']}")["status"] == "CLOSED"
    assert ann.data("GET", f"/api/posts/{other['id']}")["status"] == "OPEN"
    at(parts, "2030-06-01T00:00:00")  # shows that the closer has come by again
    ann.wait_found("lived", lambda found: {one["status"] for one in found} == {"CLOSED"})
    told = [record["payload"] for record in parts.records("post-sync")
            if record["key"] == post["id"]]
    assert [(each["operationType"], each["version"], each["post"]["status"]) for each in told] == [
        ("UPSERT", 1, "OPEN"), ("UPSERT", 2, "CLOSED")]


def test_the_author_is_reminded_once_on_the_day_before_from_nine_on(parts: StudyPosts) -> None:
    at(parts, "2030-05-01T08:59:00")
    ann = parts.user("ann")
    post = ann.create("Soon over", deadline="2030-05-02T18:00:00")
    ann.create("Later over", deadline="2030-05-03T00:00:00")
    ann.create("Today over", deadline="2030-05-01T23:00:00")
    closed = ann.create("Closed", deadline="2030-05-02T18:00:00")
    ann.data("PATCH", f"/api/posts/{closed['id']}/close")
    at(parts, "2030-05-01T09:00:00")
    (told,) = ann.wait_notified("POST_DEADLINE")
    assert (told["message"], told["targetId"]) == ("recruiting for Soon over ends tomorrow",
                                                   post["id"])
    at(parts, "2030-05-01T20:00:00")
    body = {name: post[name] for name in ("title", "description", "techStack", "maxMembers")}
    ann.data("PATCH", f"/api/posts/{post['id']}", {**body, "deadline": "2030-05-02T19:00:00"})
    ann.wait_notified("POST_DEADLINE", "POST_DEADLINE")  # another deadline, another reminder
    at(parts, "2030-05-02T09:00:00")
    ann.wait_notified(*["POST_DEADLINE"] * 3)
    ann.create("Last of all", deadline="2030-05-03T23:00:00")  # shows that everybody had his turn

    def told_of() -> list[str]:
        return [each["message"].split()[2] for each in ann.notifications()[::-1]]
    wait_until(lambda: "Last" in told_of(), "a later round has come")
    assert told_of() == ["Soon", "Soon", "Later", "Last"]


def test_a_search_that_is_away_is_told_and_is_no_failure_of_any_post(parts: StudyPosts) -> None:
    ann: User = parts.user("ann")
    parts.running["search"].end()
    post = ann.create("Patience")
    assert ann.call("GET", "/api/posts/search?keyword=patience").status == 502
    parts.start("search")
    ann.wait_found("patience", lambda found: [one["id"] for one in found] == [post["id"]])
    assert parts.held("post-sync-group") == []
