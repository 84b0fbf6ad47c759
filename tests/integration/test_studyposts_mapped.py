"""Search fed from the outbox table of a service that was there before sluice, as it stands."""
from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Iterator

import pytest
from harness.seed_table import Table
from harness.studyposts import LATER, StudyPosts
from harness.waiting import wait_until


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[StudyPosts]:
    started = StudyPosts(tmp_path)
    try:
        started.start("posts", "search", "gateway")  # posts to sign in; nothing of its outbox
        yield started
    finally:
        started.close()


def event(post: str, version: int, title: str | None) -> str:
    """What such a service writes of a change, or of a deletion (no title)."""
    if title is None:
        return json.dumps({"postId": post, "operationType": "DELETE", "version": version})
    return json.dumps({"postId": post, "operationType": "UPSERT", "version": version, "post": {
        "id": post, "authorNickname": "ann", "title": title, "description": "", "techStack": "Java",
        "maxMembers": 4, "deadline": LATER, "status": "OPEN", "createdAt": "2026-05-23T12:00:00"}})


def test_an_outbox_table_that_was_there_before_feeds_search(
        parts: StudyPosts, mariadb, start) -> None:
    table = Table(mariadb, parts.broker, "post-sync")
    kept, gone = str(uuid.uuid4()), str(uuid.uuid4())
    for post, version, title in ((kept, 1, "Legacy draft"), (gone, 1, "Legacy gone"),
                                 (kept, 2, "Legacy kept"), (gone, 2, None)):
        table.add(post, event(post, version, title))
    start(table.relay_command()).wait_ready()
    table.wait_all("SENT")
    ann = parts.user("ann")
    ann.wait_found("legacy", lambda found: [one["title"] for one in found] == ["Legacy kept"])
    wait_until(lambda: parts.indexed() == 4, "each row is applied once")
    assert parts.held("post-sync-group") == []
