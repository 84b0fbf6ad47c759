"""What a user is told when something around us is wrong: the cause and the remedy, and status 1."""
from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.command import NOBODY, Database, fails, works
from harness.process import Process, program
from harness.waiting import wait_until

QUIET = ["--console.listen=off"]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that another program listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder that other users can reach, though tmp_path is ours alone."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "sluice-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError):
            while True:
                os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)


def test_a_port_that_is_taken(database: Database, taken: str, tmp_path: Path) -> None:
    wanted = (f"sluice: cannot listen on {taken}: Address already in use; another program uses this "
              "address: stop it, or choose another port (:0 takes a free one)\n")
    assert fails("relay", "--database", database.url, "--broker", f"local:{tmp_path}/l.db",
                 f"--console.listen={taken}").endswith(wanted)
    assert fails("dev", f"--gateway.listen={taken}", "--console.listen=off").endswith(wanted)


def test_a_name_in_place_of_an_address(tmp_path: Path) -> None:
    assert "write a numeric address and a port" in fails("gateway", "--gateway.listen=no.such:80")


def test_a_missing_config_file(tmp_path: Path) -> None:
    assert fails("run", "--config", tmp_path / "app.yaml") == (
        f"sluice: there is no config file '{tmp_path}/app.yaml'; create it, or name another one "
        "with --config FILE\n")
    assert "is a directory; name the YAML file in it" in fails("run", "--config", tmp_path)


def test_keys_that_are_not_set(database: Database) -> None:
    assert fails("status") == (
        "sluice: 'database' is not set; give --database=sqlite:FILE, set SLUICE_DATABASE, or name "
        "a file with --config FILE\n")
    assert "'broker' is not set" in fails("relay", "--database", database.url)
    assert "'broker' is not set" in fails("tail", "--topic", "t")


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/none.db"
    for words in (["status"], ["dead-letter", "list"], ["dead-letter", "redrive", "--all"]):
        assert fails(*words, "--database", url) == (
            f"sluice: there is no database file '{tmp_path}/none.db'; check the path, or make it "
            f"with: sluice init --database {url}\n")
    assert not (tmp_path / "none.db").exists()


def test_a_database_without_our_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "plain.db")) as plain:
        plain.execute("CREATE TABLE mine (x)")
    assert f"create them with: sluice init --database sqlite:{tmp_path}/plain.db" in fails(
        "status", "--database", f"sqlite:{tmp_path}/plain.db")


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert fails("tail", "--broker", f"local:{tmp_path}/none.db", "--topic", "t") == (
        f"sluice: there is no local log '{tmp_path}/none.db'; a relay makes it when it first runs. "
        "Is --broker right?\n")
    assert not (tmp_path / "none.db").exists()


def test_a_corrupt_database(tmp_path: Path, database: Database) -> None:
    corrupt = tmp_path / "corrupt.db"
    corrupt.write_bytes(b"this is no database" * 1000)
    wanted = "file is not a database; the file is no SQLite database: check the path, or restore"
    for words in (["status"], ["init"], ["relay", "--broker", f"local:{tmp_path}/l.db", *QUIET]):
        assert wanted in fails(*words, "--database", f"sqlite:{corrupt}")
    assert wanted in fails("relay", "--database", database.url, "--broker", f"local:{corrupt}",
                           *QUIET)
    assert wanted in fails("tail", "--broker", f"local:{corrupt}", "--topic", "t")
    assert corrupt.read_bytes() == b"this is no database" * 1000


def test_a_folder_that_is_a_file_or_missing(tmp_path: Path, database: Database) -> None:
    (tmp_path / "file").write_text("")
    assert fails("dev", "--data", tmp_path / "file") == (
        f"sluice: '{tmp_path}/file' is no folder; choose another one with --data DIR\n")
    assert "Not a directory; choose another one with --data DIR" in fails(
        "dev", "--data", tmp_path / "file/below")
    wanted = f"there is no folder {tmp_path}/none/; make it, or check the path"
    assert wanted in fails("init", "--database", f"sqlite:{tmp_path}/none/app.db")
    assert wanted in fails("relay", "--database", database.url, "--broker",
                           f"local:{tmp_path}/none/l.db", *QUIET)


def test_no_right_to_write(public: Path, database: Database) -> None:
    (public / "locked").mkdir(0o755)
    assert "Permission denied; give this user the right to write there" in fails(
        "init", "--database", f"sqlite:{public}/locked/app.db", prefix=NOBODY)
    assert "Permission denied; choose another one with --data DIR" in fails(
        "dev", "--data", public / "locked/data", prefix=NOBODY)
    assert "give this user the right to write the file and its folder" in fails(
        "status", "--database", database.url, prefix=NOBODY)


def test_a_locked_database_is_waited_for_and_then_named(database: Database) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ("database is locked; another connection has kept it locked for 5 s: end the "
                "transaction that is open there, then it goes on") in fails(
            "dead-letter", "redrive", "--all", "--database", database.url)


def test_a_full_disk_at_the_start(small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    said = fails("init", "--database", f"sqlite:{small_disk}/app.db")
    assert "full" in said or "the folder exists" in said


def test_a_disk_that_fills_stops_nothing_for_good(
        small_disk: Path, database: Database, start: Callable[..., Process]) -> None:
    """The log's disk fills: the relay waits, says so, loses nothing, and goes on by itself."""
    relay = start([program("sluice"), "relay", "--database", database.url, "--broker",
                   f"local:{small_disk}/log.db", "--console.listen=127.0.0.1:0"])
    relay.wait_ready()
    filler = small_disk / "filler"
    fill(filler)
    ids = [database.publish("orders", f"key-{i}", "x" * 2000) for i in range(30)]
    wait_until(lambda: "full" in relay.said(), "the relay says that the disk is full")
    assert relay.is_running()
    filler.unlink()

    def log_ids() -> list[str]:
        lines = works("tail", "--broker", f"local:{small_disk}/log.db", "--topic", "orders",
                      "--from", "start", "--exit", "--json")
        return [line.split('"id":"')[1][:36] for line in lines.splitlines()]

    wait_until(lambda: len(log_ids()) == 30, "all events are in the log")
    assert sorted(log_ids()) == sorted(ids)
    assert relay.end() == 0
