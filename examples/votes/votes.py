#!/usr/bin/python3
"""votes: a service with none of our libraries. It speaks SQL to its database, and that is all.

    POST /votes             {"choice": "tea"}   200 {"choice", "type": "counted", "count", "version"}
    GET  /votes/CHOICE      the same object
    GET  / or /pages/votes  the page, which reads with a plain EventSource

A vote and its event are one transaction: UPDATE, sluice.publish(...), COMMIT. The relay brings the
event to the broker, the gateway to the browsers.

usage: votes.py --listen=127.0.0.1:PORT --database=postgresql://...|sqlite:FILE [--extension=FILE]
"""
from __future__ import annotations

import json
import re
import signal
import sqlite3
import sys
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = (Path(__file__).resolve().parent / "page.html").read_bytes()
CHOICE = re.compile(r"[a-z0-9-]{1,30}")
TABLE = """CREATE TABLE IF NOT EXISTS vote (
    choice VARCHAR(30) NOT NULL PRIMARY KEY, count BIGINT NOT NULL)"""
COUNT = """INSERT INTO vote (choice, count) VALUES ({0}, 1)
    ON CONFLICT (choice) DO UPDATE SET count = vote.count + 1 RETURNING count"""


class PostgreSQL:
    mark = "%s"
    publish = "SELECT sluice.publish(topic => %s, key => %s, payload => %s, type => %s)"

    def __init__(self, url: str) -> None:
        import psycopg2
        self.connect = lambda: psycopg2.connect(url)

    @contextmanager
    def transaction(self):
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            yield cursor


class SQLite:
    mark = "?"
    publish = "SELECT sluice_publish(?, ?, ?, ?)"

    def __init__(self, file: str, extension: str) -> None:
        self.file, self.extension = file, extension

    @contextmanager
    def transaction(self):
        with closing(sqlite3.connect(self.file, timeout=10, isolation_level=None)) as connection:
            connection.enable_load_extension(True)
            connection.load_extension(self.extension)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise


def vote_object(choice: str, count: int) -> dict:
    return {"choice": choice, "type": "counted", "count": count, "version": count}


def vote(database, choice: str) -> dict:
    """Count a vote and publish that it was counted, together or not at all."""
    with database.transaction() as cursor:
        count = cursor_result(cursor, COUNT.format(database.mark), (choice,))
        counted = vote_object(choice, count)
        cursor.execute(database.publish,
                       ("vote.counted.v1", choice, json.dumps(counted), "VoteCounted"))
        return counted


def look_up(database, choice: str) -> dict:
    with database.transaction() as cursor:
        return vote_object(choice, cursor_result(
            cursor, f"SELECT count FROM vote WHERE choice = {database.mark}", (choice,)) or 0)


def cursor_result(cursor, sql: str, values: tuple) -> int | None:
    row = (cursor.execute(sql, values) or cursor).fetchone()
    return row[0] if row else None


class Votes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    database = None

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, status: int, value: dict) -> None:
        self.answer(status, json.dumps(value).encode())

    def do_GET(self) -> None:
        choice = self.path.removeprefix("/votes/")
        if self.path in ("/", "/pages/votes"):
            self.answer(200, PAGE, "text/html; charset=utf-8")
        elif choice != self.path and CHOICE.fullmatch(choice):
            self.answer_json(200, look_up(self.database, choice))
        else:
            self.answer_json(404, {"message": f"there is nothing at {self.path[:100]}"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(size)) if size.isdecimal() and int(size) <= 1000 else b""
        try:
            choice = json.loads(body)["choice"]
        except (ValueError, TypeError, KeyError):
            choice = None
        if self.path != "/votes":
            self.answer_json(404, {"message": f"there is nothing at {self.path[:100]}"})
        elif not isinstance(choice, str) or not CHOICE.fullmatch(choice):
            self.answer_json(400, {"message": "choice must be 1 to 30 of a-z, 0-9 and '-'"})
        else:
            self.answer_json(200, vote(self.database, choice))

    def log_message(self, *_) -> None:
        pass


def main() -> None:
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    url = options["database"]
    Votes.database = SQLite(url.removeprefix("sqlite:"), options.get("extension", "sluice_sqlite")) \
        if url.startswith("sqlite:") else PostgreSQL(url)
    with Votes.database.transaction() as cursor:
        cursor.execute(TABLE)
    host, _, port = options["listen"].rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Votes)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"ready http=http://{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
