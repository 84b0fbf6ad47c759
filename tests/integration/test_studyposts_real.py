"""The studyposts example on MariaDB, PostgreSQL, Kafka and OpenSearch, all of which may be away."""
from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Iterator

import pytest
from harness import servers
from harness.command import works
from harness.http import call
from harness.proxy import Proxy
from harness.studyposts import StudyPosts, User, live
from harness.waiting import wait_until
from test_studyposts_hazards import (
    test_a_burst_of_create_change_and_delete_replayed_twice_leaves_search_empty,
    test_a_late_change_never_overwrites_a_newer_one, test_the_last_seat_is_seen_as_full_in_search,
    test_two_tabs_on_two_gateways_see_all_in_order_and_go_on_at_the_other_one)

OUTAGE_SECONDS = 20
PATIENCE = 90  # after an outage clients come back by and by


@pytest.fixture(scope="module")
def broker() -> Iterator[servers.Server]:
    """Of our own: the example's topics have fixed names, and it is stopped."""
    try:
        started = servers.private_server("kafka")
    except servers.NoServer as error:
        pytest.skip(str(error))
    yield started
    started.close()


@pytest.fixture(scope="module")
def proxy(opensearch_url: str) -> Iterator[Proxy]:
    """The way to OpenSearch, which others use, too: we may cut it."""
    made = Proxy(opensearch_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def parts(broker, proxy: Proxy, opensearch_url: str, mariadb_url: str, postgresql_url: str,
          tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyPosts]:
    posts = servers.MariadbDatabase(mariadb_url)
    indexer = servers.PostgresqlDatabase(postgresql_url)
    index = servers.fresh_name()
    started = StudyPosts(tmp_path_factory.mktemp("studyposts"), posts, indexer, broker.url,
                         proxy.url, index)
    try:
        started.start_all()
        # On Kafka the first event of a topic waits until every group has found it.
        ann, bob = started.user("ann"), started.user("bob")
        bob.apply(ann.create("Warm up"))
        ann.wait_notified("APPLY_RECEIVED", seconds=PATIENCE)
        ann.wait_found("warm", lambda found: len(found) == 1, PATIENCE)
        yield started
    finally:
        started.close()
        posts.drop()
        indexer.drop()
        call("DELETE", f"{opensearch_url}/{index}")


def document(opensearch_url: str, parts: StudyPosts, post: str) -> dict:
    return call("GET", f"{opensearch_url}/{parts.index}/_doc/{post}").body


def test_a_post_is_found_filled_and_deleted(parts: StudyPosts) -> None:
    ann = parts.user("ann")
    title = "스터디 Group of 한 🙂"
    post = ann.create(title, techStack="Erlang, OTP", maxMembers=2)
    ann.wait_found("group", lambda found: [one["title"] for one in found] == [title])
    assert ann.data("GET", f"/api/posts/{post['id']}") == post
    assert ann.data("GET", "/api/posts?techStack=erlang")["content"][0]["title"] == title
    for query in ({"status": "OPEN", "techStack": "otp"}, {"maxMembers": 2, "keyword": "group 한"}):
        assert post["id"] in [one["id"] for one in ann.search(**query)["content"]]
    assert ann.search(keyword="group", status="CLOSED")["empty"]
    for application in [parts.user(name).apply(post) for name in ("bob", "cat")]:
        ann.approve(application)
    ann.wait_found("group", lambda found: [one["status"] for one in found] == ["FULL"])
    ann.data("DELETE", f"/api/posts/{post['id']}")
    ann.wait_found("group", lambda found: found == [])
    parts.check_delivered()


def test_who_signs_in_again_is_the_same_user(parts: StudyPosts) -> None:
    """As one does whose first answer was lost."""
    first = parts.user("dan")
    again = User(parts.gateway, first.nickname)
    assert again.id == first.id
    post = parts.user("ann").create("Twice")
    again.apply(post)
    answer = first.call("POST", f"/api/posts/{post['id']}/applies", {"message": "me"})
    assert (answer.status, answer.body["code"]) == (409, "ALREADY_APPLIED"), answer


def test_opensearch_keeps_the_newest_version_and_a_tombstone(
        parts: StudyPosts, opensearch_url: str) -> None:
    ann = parts.user("ann")
    kept, gone = ann.create("Kept version"), ann.create("Gone version")
    for post in (kept, gone):
        ann.data("PATCH", f"/api/posts/{post['id']}/close")
    ann.data("DELETE", f"/api/posts/{gone['id']}")
    wait_until(lambda: document(opensearch_url, parts, gone["id"]).get("_version") == 3,
               "the deletion is in the index")
    records = parts.records("post-sync", {kept["id"], gone["id"]})
    assert sorted(record["payload"]["version"] for record in records) == [1, 1, 2, 2, 3]
    parts.replay(records)
    parts.replay(records[::-1])
    found = document(opensearch_url, parts, kept["id"])
    assert (found["_version"], found["_source"]["status"]) == (2, "CLOSED")
    tombstone = document(opensearch_url, parts, gone["id"])
    assert (tombstone["_version"], tombstone["_source"]) == (3, {"deleted": True})


def test_an_opensearch_that_is_away_is_waited_for(parts: StudyPosts, proxy: Proxy) -> None:
    ann = parts.user("ann")
    target = proxy.target
    proxy.target = ("127.0.0.1", 9)  # nobody listens there
    proxy.cut()
    posts = [ann.create(f"Patience {number}") for number in range(5)]
    page = ann.call("GET", "/api/posts/search?keyword=patience")
    assert (page.status, page.body["code"], page.body["data"]["degraded"]) == (
        200, "POST_LIST", True)
    assert page.body["data"]["empty"]
    log = parts.running["search"]
    wait_until(lambda: "does not answer" in log.said(), "search says so")
    deadline = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > deadline, "more time than three attempts take")
    assert "FAILED_PERMANENTLY" not in str(parts.held("post-sync-group"))
    proxy.target = target
    found = ann.wait_found("patience", lambda found: len(found) == len(posts), PATIENCE)
    assert {one["id"] for one in found} == {post["id"] for post in posts}
    wait_until(lambda: parts.held("post-sync-group") == [], "nothing is held any more")


def test_a_broker_that_is_away_loses_nothing_and_condemns_nothing(parts: StudyPosts, broker) -> None:
    ann, bob = parts.user("ann"), parts.user("bob")
    tab = ann.follow()
    wait_until(lambda: live(tab), "the tab is live")
    broker.stop()
    deadline = time.monotonic() + OUTAGE_SECONDS
    made = [ann.create(f"Outage {number}") for number in range(30)]  # people go on meanwhile
    for post in made:
        bob.apply(post)
    relay = parts.running["relay"]
    wait_until(lambda: "delivery is interrupted" in relay.said(), "the relay says so", PATIENCE)
    wait_until(lambda: time.monotonic() > deadline, "the outage is long", 2 * OUTAGE_SECONDS)
    broker.start()
    wait_until(lambda: ann.data("GET", "/api/notifications/unread-count") == len(made),
               "every application is told", PATIENCE)
    wait_until(lambda: ann.search(keyword="outage")["totalElements"] == len(made),
               "every post is found", PATIENCE)
    wait_until(lambda: len(live(tab)) == len(made) + 1, "the tab has seen all", PATIENCE)
    versions = [version for version, _ in live(tab)]
    assert versions == list(range(versions[0], versions[0] + len(made) + 1))
    tab.stop()
    parts.check_delivered()


# Last, since what it drops is never applied, which parts.check_delivered() would tell.
def test_a_document_that_opensearch_refuses_stops_its_post_only(
        parts: StudyPosts, opensearch_url: str) -> None:
    ann = parts.user("ann")
    sick = ann.create("Sick one")
    ann.wait_found("sick", lambda found: len(found) == 1)
    record = parts.records("post-sync", {sick["id"]})[0]["payload"]
    bad = {**record, "version": 2, "post": {**record["post"], "maxMembers": "many"}}
    parts.publish("post-sync", sick["id"], json.dumps(bad))
    failed = wait_until(lambda: ann.data("GET", "/api/admin/failed-post-syncs"), "it is kept")
    wait_until(lambda: parts.held("post-sync-group") == [(sick["id"], "FAILED_PERMANENTLY")],
               "it has had its attempts")
    assert "mapper_parsing_exception" in failed[0]["failureReason"]
    better = {**record, "version": 3, "post": {**record["post"], "title": "Well one"}}
    parts.publish("post-sync", sick["id"], json.dumps(better))
    healthy = ann.create("Healthy one")
    ann.wait_found("healthy", lambda found: [one["id"] for one in found] == [healthy["id"]])
    wait_until(lambda: len(parts.held("post-sync-group")) == 2, "the later one waits")
    assert document(opensearch_url, parts, sick["id"])["_version"] == 1

    # Redriven, it is refused again; dropped, it is out of the way.
    for words in (("redrive", "--key", sick["id"]), ("drop", "--yes", failed[0]["id"])):
        works("dead-letter", *words, "--database", parts.indexer_url)
        wait_until(lambda: ("FAILED_PERMANENTLY" in str(parts.held("post-sync-group")))
                   == (words[0] == "redrive"), f"what becomes of {words[0]}")
    found = ann.wait_found("well", lambda found: len(found) == 1)
    assert found[0]["id"] == sick["id"]
    wait_until(lambda: parts.held("post-sync-group") == [], "nothing is held")
