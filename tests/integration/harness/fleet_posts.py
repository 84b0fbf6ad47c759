"""Study posts in the fleet: authors, applicants, and what search and pages must know at the end."""
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

from .fleet import Fleet
from .fleet_client import Client, expect
from .http import call
from .studyposts import LATER

AUTHORS, APPLICANTS = 5, 8
SEATS = 2


class Posts(Client):
    """A post each time; some are changed, closed or deleted, and others are applied to."""

    kind = "posts"
    pace_seconds = 0.5  # several requests each time
    followed_at_once_max = AUTHORS + APPLICANTS

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self.headers: dict[str, dict[str, str]] = {}  # by nickname

    def sign_in(self, nickname: str) -> dict[str, str]:
        """His headers; the first time he also begins to follow what he is told."""
        if nickname not in self.headers:
            answer = self.ask("POST", "/api/auth/dev", {"nickname": nickname}, {200})["data"]
            headers = {"Authorization": f"Bearer {answer['accessToken']}"}
            self.headers[nickname] = headers
            self.follow(answer["userId"], "/api/notifications/subscribe", headers)
        return self.headers[nickname]

    def ask_as(self, nickname: str, method: str, path: str, body: Any, *good: int) -> Any:
        return self.ask(method, path, body, set(good), **self.sign_in(nickname)).get("data")

    def is_to_be_asked_again(self, status: int, body: Any) -> bool:
        return super().is_to_be_asked_again(status, body) or \
            isinstance(body, dict) and body.get("code") == "LOCK_CONFLICT"

    def serve(self, number: int) -> None:
        author = f"author {self.draw.randrange(AUTHORS)}"
        post = {"title": f"Post {number}", "description": "We read.", "techStack": "C",
                "maxMembers": SEATS, "deadline": LATER}
        path = "/api/posts/" + self.ask_as(author, "POST", "/api/posts", post, 201)["id"]
        if number % 5 == 0:
            self.ask_as(author, "DELETE", path, None, 200, 404)  # 404: the one before did it
        elif number % 3 == 0:
            self.ask_as(author, "PATCH", path, {**post, "title": f"Changed {number}"}, 200)
        elif number % 7 == 0:
            self.ask_as(author, "PATCH", path + "/close", None, 200)
        else:
            self.have_applications(author, path)

    def have_applications(self, author: str, path: str) -> None:
        for applicant in self.draw.sample(range(APPLICANTS), SEATS):
            self.ask_as(f"applicant {applicant}", "POST", path + "/applies", {"message": "me"}, 201,
                        409)  # 409: the one before did it
        found = self.ask_as(author, "GET", path + "/applies", None, 200)["content"]
        assert len(found) == SEATS, found
        self.ask_as(author, "PATCH", f"/api/applies/{found[0]['id']}/approve", None, 200, 400, 409)
        if self.draw.random() < 0.5:
            self.ask_as(author, "PATCH", f"/api/applies/{found[1]['id']}/reject", None, 200, 400,
                        409)


def index(fleet: Fleet) -> dict[str, tuple[int, bool]]:
    """What search has of each post: its version, and whether it is a tombstone."""
    search = fleet.stores.search
    if search.startswith("sqlite:"):
        with closing(sqlite3.connect(search.removeprefix("sqlite:"), timeout=20)) as connection:
            return {post: (version, bool(gone)) for post, version, gone in connection.execute(
                "SELECT post_id, version, is_deleted FROM post_search")}
    where = f"{search}/{fleet.whole.known['options']['index']}"
    call("POST", f"{where}/_refresh")
    found: dict[str, tuple[int, bool]] = {}
    after: list = []
    while True:
        page = call("POST", f"{where}/_search", json.dumps({
            "size": 1000, "version": True, "sort": [{"_id": "asc"}],
            **({"search_after": after} if after else {})}).encode(),
            {"Content-Type": "application/json"}).body
        hits = page["hits"]["hits"]
        found |= {hit["_id"]: (hit["_version"], hit["_source"]["deleted"]) for hit in hits}
        if len(hits) < 1000:
            return found
        after = hits[-1]["sort"]


def judge_posts(fleet: Fleet, _: Any) -> dict:
    posts = dict(fleet.rows("posts", "SELECT id, version FROM study_posts"))
    indexed = index(fleet)
    shown = {post: version for post, (version, is_gone) in indexed.items() if not is_gone}
    expect(shown == posts, "the index is the database; not so:",
           sorted(set(shown.items()) ^ set(posts.items()))[:5])
    asked = [event for (event,) in fleet.rows(
        "posts", "SELECT id FROM sluice_outbox WHERE topic = 'notification'")]
    written = [event for (event,) in fleet.rows("posts", "SELECT event_id FROM notifications")]
    expect(sorted(map(str, asked)) == sorted(map(str, written)),
           "each notification is there once; not so:", (len(asked), len(written)))
    types = dict(fleet.rows("posts", "SELECT type, count(*) FROM notifications GROUP BY type"))
    applies = dict(fleet.rows("posts", "SELECT status, count(*) FROM applies GROUP BY status"))
    expect((types.get("APPLY_RECEIVED", 0), types.get("APPLY_APPROVED", 0),
            types.get("APPLY_REJECTED", 0)) ==
           (sum(applies.values()), applies.get("APPROVED", 0), applies.get("REJECTED", 0)),
           "each application and each decision is told once; not so:", (types, applies))
    return {"posts": len(posts), "tombstones": len(indexed) - len(shown),
            "applications": sum(applies.values()), "notifications": len(written)}
