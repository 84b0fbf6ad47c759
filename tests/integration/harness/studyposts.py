"""The studyposts example part by part, on any servers, with two gateways if a test wants them."""
from __future__ import annotations

import importlib.util
import itertools
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Callable
from urllib.parse import urlencode

from .command import sluice, works
from .http import Answer, call
from .process import BUILD, ROOT, Process, program
from .sse import Follower
from .waiting import wait_until

LATER = "2099-01-01T00:00:00"
numbers = itertools.count(1)

# Every endpoint that needs a token; {id} is of whatever it is about.
ENDPOINTS = [
    ("POST", "/api/posts"), ("PATCH", "/api/posts/{id}"), ("PATCH", "/api/posts/{id}/close"),
    ("DELETE", "/api/posts/{id}"), ("GET", "/api/posts"), ("GET", "/api/posts/{id}"),
    ("GET", "/api/posts/search"), ("POST", "/api/posts/{id}/applies"),
    ("DELETE", "/api/posts/{id}/applies"), ("GET", "/api/posts/{id}/applies"),
    ("PATCH", "/api/applies/{id}/approve"), ("PATCH", "/api/applies/{id}/reject"),
    ("GET", "/api/notifications"), ("GET", "/api/notifications/unread-count"),
    ("PATCH", "/api/notifications/{id}/read"), ("PATCH", "/api/notifications/read-all"),
    ("GET", "/api/admin/failed-notifications"), ("GET", "/api/admin/failed-post-syncs"),
    ("GET", "/api/notifications/snapshot"), ("GET", "/api/notifications/subscribe"),
    ("GET", "/api/users/{id}/notifications")]


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("studyposts_example",
                                                  ROOT / "examples/studyposts/example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class User:
    """Somebody who has signed in."""

    def __init__(self, gateway: Callable[[], str], nickname: str) -> None:
        self.gateway = gateway
        self.nickname = nickname
        answer = call("POST", gateway() + "/api/auth/dev", {"nickname": nickname})
        assert (answer.status, answer.body["code"]) == (200, "LOGIN_SUCCESS"), answer
        self.id = answer.body["data"]["userId"]
        self.token = answer.body["data"]["accessToken"]
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        return call(method, self.gateway() + path, body, self.headers)

    def data(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The data of an answer that must be this success."""
        answer = self.call(method, path, body)
        assert (answer.status, answer.body["success"]) == (status, True), answer
        return answer.body.get("data")

    def create(self, title: str = "C by heart", **changes: Any) -> dict:
        return self.data("POST", "/api/posts", {
            "title": title, "description": "We read a page a day.", "techStack": "C, SQL",
            "maxMembers": 2, "deadline": LATER, **changes}, 201)

    def apply(self, post: dict, message: str = "me, please") -> dict:
        return self.data("POST", f"/api/posts/{post['id']}/applies", {"message": message}, 201)

    def approve(self, application: dict) -> dict:
        return self.data("PATCH", f"/api/applies/{application['id']}/approve")

    def search(self, **query: Any) -> dict:
        return self.data("GET", f"/api/posts/search?{urlencode(query)}")

    def wait_found(self, keyword: str, is_right: Callable[[list[dict]], bool],
                   seconds: float = 30) -> list[dict]:
        """What search says of a keyword, once it is right."""
        def found() -> list[dict] | None:
            page = self.search(keyword=keyword)
            return page["content"] or [{}] \
                if not page["degraded"] and is_right(page["content"]) else None
        return wait_until(found, f"search finds what it should for {keyword}", seconds)

    def notifications(self) -> list[dict]:
        return self.data("GET", "/api/notifications?size=100")["content"]

    def wait_notified(self, *types: str, seconds: float = 30) -> list[dict]:
        """The notifications, once their types, oldest first, are these."""
        def right() -> list[dict] | None:
            found = self.notifications()[::-1]
            return found if [each["type"] for each in found] == list(types) else None
        return wait_until(right, f"{self.nickname} is told {types}", seconds)

    def follow(self, gateway: Callable[[], str] | None = None, by: str = "bearer") -> Follower:
        headers = self.headers if by == "bearer" else {"Cookie": f"studyposts={self.token}"}
        where = gateway or self.gateway
        return Follower(lambda: where() + "/api/notifications/subscribe", headers=headers)


def live(follower: Follower) -> list[tuple[int, str]]:
    """(version, event) of what a page saw."""
    return [(json.loads(message.data)["version"], message.name) for message in follower.messages
            if message.name in ("connect", "notification", "read")]


class StudyPosts:
    """Services, relay and gateways, each a process of its own."""

    def __init__(self, folder: Path, posts: Any = None, indexer: Any = None, broker: str = "",
                 search: str = "", index: str = "study_posts") -> None:
        """`posts` and `indexer`: databases of harness/servers.py; files if they are left out."""
        self.data = folder
        self.posts = posts
        self.indexer = indexer
        self.posts_url = posts.url if posts else f"sqlite:{folder}/posts.db"
        self.indexer_url = indexer.url if indexer else f"sqlite:{folder}/indexer.db"
        self.broker = broker or f"local:{folder}/log.db"
        self.search_url = search or f"sqlite:{folder}/search.db"
        self.index = index
        self.clock = folder / "clock"
        self.running: dict[str, Process] = {}
        self.address: dict[str, str] = {}
        self.example = load_example()
        self.example.prepare(folder, {})

    # --- parts

    def start(self, *names: str) -> None:
        """Of posts, search, relay, gateway, gateway2; a service comes back on its own port."""
        for name in names:
            self.running[name] = Process(self.command(name), self.data / f"{name}.log")
            ready = self.running[name].wait_ready(60)
            self.address[name] = ready.get("http") or ready.get("gateway") or ready["console"]

    def command(self, name: str) -> list[str]:
        listen = self.address.get(name, "http://127.0.0.1:0").removeprefix("http://")
        if name in ("posts", "search"):
            known = {"data": self.data, "broker": self.broker, "search": self.search_url,
                     "database": {"posts": self.posts_url, "indexer": self.indexer_url},
                     "options": {"clock": self.clock, "index": self.index}}
            path, words = next((path, words) for service, path, words in self.example.SERVICES
                               if service == name)
            return [program(path), f"--listen={listen}", *(word.format(**known) for word in words)]
        if name == "relay":
            return [program("sluice"), "relay", f"--broker={self.broker}",
                    f"--database={self.posts_url}", "--console.listen=127.0.0.1:0"]
        config = self.data / "gateway.yaml"
        known = {"data": self.data, "address": self.address}
        config.write_text("\n".join([
            f'broker: "{self.broker}"', "gateway:", "  retry: 100ms",
            *("  " + line for line in self.example.GATEWAY.format(**known).strip().split("\n")),
            "  routes:",
            *("    " + line for line in self.example.ROUTES.format(**known).strip().split("\n"))]))
        return [program("sluice"), "gateway", f"--config={config}", f"--gateway.listen={listen}",
                "--console.listen=off"]

    def start_all(self) -> None:
        self.start("posts", "search", "relay", "gateway")

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].close()

    def close(self) -> None:
        try:
            for name in ("gateway", "gateway2", "relay", "search", "posts"):
                if name in self.running and self.running[name].is_running():
                    assert self.running[name].end() == 0, self.running[name].said()[-2000:]
        finally:
            for process in self.running.values():
                process.close()

    # --- clients and inspectors

    def gateway(self) -> str:
        return self.address["gateway"]

    def user(self, nickname: str) -> User:
        """Somebody new."""
        return User(self.gateway, f"{nickname} {next(numbers)}")

    def rows(self, database: str, sql: str, *values: Any) -> list[tuple]:
        """A statement on an embedded database."""
        with closing(sqlite3.connect(self.data / database, timeout=20,
                                     isolation_level=None)) as connection:
            return connection.execute(sql, values).fetchall()

    def publish(self, topic: str, key: str, payload: str, type: str = "PostSync") -> None:
        """An event that no service of ours would write."""
        words = (topic, key, payload, type)
        if self.posts:
            with closing(self.posts.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT sluice_publish(%s, %s, %s, %s, NULL)", words)
                cursor.execute("COMMIT")
            return
        with closing(sqlite3.connect(self.data / "posts.db", timeout=20,
                                     isolation_level=None)) as sql:
            sql.enable_load_extension(True)
            sql.load_extension(str(BUILD / "sluice_sqlite.so"))
            sql.execute("BEGIN IMMEDIATE")
            sql.execute("SELECT sluice_publish(?, ?, ?, ?)", words).fetchone()
            sql.execute("COMMIT")

    def indexed(self) -> int:
        """How many events of post-sync are applied."""
        if self.indexer:
            return self.indexer.value("SELECT count(*) FROM sluice.inbox")
        return self.rows("indexer.db", "SELECT count(*) FROM sluice_inbox")[0][0]

    def records(self, topic: str, keys: set[str] | None = None) -> list[dict]:
        """What stands in the topic, or the records of some keys."""
        found = [json.loads(line) for line in works(
            "tail", "--broker", self.broker, "--topic", topic, "--from", "start", "--exit",
            "--json").splitlines()]
        return [record for record in found if keys is None or record["key"] in keys]

    def replay(self, records: list[dict]) -> None:
        """The same contents again, as new events, which no inbox can know."""
        before = self.indexed()
        for record in records:
            self.publish(record["topic"], record["key"], json.dumps(record["payload"]))
        wait_until(lambda: self.indexed() == before + len(records), "the replay is applied", 60)

    def held(self, stage: str) -> list[tuple[str, str]]:
        """(key, state) of the dead letters of the relay or a consumer, in order."""
        url = self.indexer_url if stage == "post-sync-group" else self.posts_url
        return [(each["key"], each["state"]) for each in json.loads(works(
            "dead-letter", "list", "--json", "--stage", stage, "--database", url))]

    def check_delivered(self) -> None:
        """Every event of the outbox is in its topic and applied, once and in order."""
        def breaches() -> dict:
            done = sluice("verify", "--database", self.posts_url, "--broker", self.broker,
                          f"post-sync-group={self.indexer_url}", "--horizon", "0ms", "--json")
            assert done.returncode in (0, 1) and done.stdout, done.stderr
            return {name: count for name, count in json.loads(done.stdout)["breaches"].items()
                    if count}
        with suppress(AssertionError):
            wait_until(lambda: not breaches(), "every event is delivered once and in order", 180)
        assert breaches() == {}
        assert [self.held(stage) for stage in ("relay", "post-sync-group", "notification-group")
                ] == [[], [], []]
