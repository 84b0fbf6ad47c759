"""MariaDB beside the real programs: what arrives whatever happens, and what is told when it cannot."""
from __future__ import annotations

import ctypes
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pymysql
import pytest
from harness.command import fails, works
from harness.mariadb_outbox import Outbox, Writers
from harness.process import program
from harness.servers import MariadbDatabase
from harness.waiting import wait_until

KILLS = 5


def test_writers_with_rollbacks_and_savepoints_arrive_once_in_the_order_of_their_keys(
        mariadb, start, tmp_path) -> None:
    outbox = Outbox(mariadb, tmp_path)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    writers = Writers(outbox)
    try:
        writers.wait_more(1500)
    finally:
        writers.stop()
    outbox.wait_sent()
    outbox.check_arrived()
    assert outbox.sent()[0] > 10, "claimed while they wrote"
    assert mariadb.rows("SELECT DISTINCT status FROM sluice_event_status") == [("SENT",)]


def test_a_relay_that_is_killed_again_and_again_loses_and_doubles_nothing(
        mariadb, start, tmp_path) -> None:
    outbox = Outbox(mariadb, tmp_path)
    writers = Writers(outbox, 4)
    try:
        for _ in range(KILLS):
            relay = start(outbox.relay_command())
            relay.wait_ready()
            before = outbox.sent()
            wait_until(lambda: outbox.sent() > before, "a relay goes on", 60)
            relay.popen.send_signal(signal.SIGKILL)
            relay.popen.wait()
    finally:
        writers.stop()
    start(outbox.relay_command()).wait_ready()
    outbox.wait_sent()
    outbox.check_arrived()


def test_two_relays_at_once_lose_double_and_reorder_nothing(mariadb, start, tmp_path) -> None:
    outbox = Outbox(mariadb, tmp_path)
    relays = [start(outbox.relay_command()) for _ in range(2)]
    for relay in relays:
        relay.wait_ready()
    writers = Writers(outbox, 4)
    try:
        writers.wait_more(400)
        relays[0].popen.send_signal(signal.SIGKILL)
        relays[0].popen.wait()
        writers.wait_more(200)
    finally:
        writers.stop()
    outbox.wait_sent()
    outbox.check_arrived()


def test_confirmed_rows_that_are_old_enough_are_deleted_and_no_others(
        mariadb, start, tmp_path) -> None:
    outbox = Outbox(mariadb, tmp_path)
    insert = ("INSERT INTO sluice_outbox (topic, message_key, type, payload, created_at)"
              " SELECT 'things', 'k', 'T', '{}', %s FROM seq_1_to_3500")
    mariadb.rows(insert, 1000)
    young = mariadb.value("SELECT 1000 * (unix_timestamp() + 60)")
    mariadb.rows(insert, young)
    start(outbox.relay_command("--relay.retention=1h")).wait_ready()
    outbox.wait_sent()
    wait_until(lambda: mariadb.value("SELECT count(*) FROM sluice_outbox") == 3500, "they go")
    assert mariadb.rows("SELECT DISTINCT created_at FROM sluice_outbox") == [(young,)]
    assert "3500" in mariadb.value("SELECT cast(retained_position AS CHAR) FROM sluice_relay")
    assert "nothing" in works("status", "--database", mariadb.url)


@pytest.mark.parametrize("outage", ["restarted", "killed"])
def test_an_outage_of_mariadb_is_waited_for_and_loses_nothing(
        private_mariadb, start, tmp_path, outage) -> None:
    server = private_mariadb()
    database = MariadbDatabase(server.url)
    outbox = Outbox(database, tmp_path)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    writers = Writers(outbox, 4)
    try:
        writers.wait_more(200)
        server.stop() if outage == "restarted" else server.kill()
        wait_until(lambda: "delivery is interrupted" in relay.said(), "the relay notices", 30)
        server.start()
        writers.wait_more(200)
    finally:
        writers.stop()
    outbox.wait_sent()
    outbox.check_arrived()
    assert relay.is_running() and "delivery goes on" in relay.said()


def test_a_server_that_says_nothing_is_an_outage_within_seconds(
        private_mariadb, start, tmp_path) -> None:
    server = private_mariadb()
    outbox = Outbox(MariadbDatabase(server.url), tmp_path)
    relay = start(outbox.relay_command())
    relay.wait_ready()
    with server.paused():
        wait_until(lambda: "delivery is interrupted" in relay.said(), "the relay notices", 20)
    wait_until(lambda: "delivery goes on" in relay.said(), "the relay goes on", 30)


def test_init_by_several_at_once_makes_one_database(mariadb) -> None:
    with ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: works("init", "--database", mariadb.url), range(5)))
    assert len(set(done)) == 1, "all tell the same id"
    assert works("init", "--database", mariadb.url) == done[0]


def test_the_printed_schema_is_what_mariadbs_own_program_runs(mariadb, mariadb_url) -> None:
    schema = works("init", "--print", "--database", mariadb.url)
    address = mariadb_url.removeprefix("mariadb://").rstrip("/").partition("@")
    host, _, port = address[2].partition(":")
    done = subprocess.run(
        ["mariadb", "--no-defaults", f"--user={address[0]}", f"--host={host}", f"--port={port}",
         mariadb.name], input=schema, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    works("init", "--database", mariadb.url)
    assert "nothing" in works("status", "--database", mariadb.url)


def test_sql_alone_publishes_with_the_open_transaction_and_not_outside_of_it(mariadb) -> None:
    works("init", "--database", mariadb.url)
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError, match="no transaction is open"):
            cursor.execute("SELECT sluice_publish('t', 'k', 'p', 'T', NULL)")
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT sluice_publish('t', 'k', 'p', 'T', '{\"a\": \"b\"}')")
        (event_id,) = cursor.fetchone()
        cursor.execute("SELECT sluice_inbox_begin('c', %s), sluice_inbox_begin('c', %s)",
                       (event_id, event_id))
        assert cursor.fetchone() == (1, 0)
        cursor.execute("COMMIT")
        cursor.execute("SELECT id, status FROM sluice_event_status")
        assert cursor.fetchall() == ((event_id, "PENDING"),)
        cursor.execute("SET autocommit = 0")
        cursor.execute("SELECT sluice_publish('t', NULL, '', 'T', NULL)")
        connection.rollback()
    assert mariadb.value("SELECT count(*) FROM sluice_outbox") == 1
    assert len(event_id) == 36 and event_id[14] == "7" and event_id[19] in "89ab"


@pytest.mark.parametrize("arguments, wanted", [
    ("'a b', 'k', 'p', 'T', NULL", "the topic must be"),
    ("'..', 'k', 'p', 'T', NULL", "the topic must be"),
    ("NULL, 'k', 'p', 'T', NULL", "the topic must be"),
    ("'t', repeat('k', 1025), 'p', 'T', NULL", "the key must be"),
    ("'t', 'a\nb', 'p', 'T', NULL", "the key must be"),
    ("'t', 'k', 'p', '', NULL", "the type must be"),
    ("'t', 'k', NULL, 'T', NULL", "the payload must be"),
    ("'t', 'k', repeat('p', 1048577), 'T', NULL", "the payload must be"),
    ("'t', 'k', 'p', 'T', '[]'", "the headers must be"),
    ("'t', 'k', 'p', 'T', '{'", "the headers must be"),
])
def test_what_breaks_a_rule_is_refused_by_sluice_publish(mariadb, arguments, wanted) -> None:
    works("init", "--database", mariadb.url)
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        with pytest.raises(pymysql.err.MySQLError, match=wanted):
            cursor.execute(f"SELECT sluice_publish({arguments})")


def with_user(mariadb, password: str, grants: str) -> str:
    """A user of the database's own; the URL that names it."""
    user = mariadb.name[-30:]
    mariadb.on_server(f"CREATE USER {user} IDENTIFIED BY '{password}'")
    if grants:
        mariadb.on_server(f"GRANT {grants} ON {mariadb.name}.* TO {user}")
    scheme, _, rest = mariadb.url.partition("://")
    return f"{scheme}://{user}:{{}}@{rest.partition('@')[2]}"


def test_passwords_come_by_url_file_and_environment_and_are_never_shown(mariadb, tmp_path) -> None:
    url = with_user(mariadb, "s:cr@t", "ALL")
    file = tmp_path / "password"
    file.write_text("s:cr@t\n")
    bare = url.replace(":{}", "")
    said = [works("init", "--database", url.format("s%3Acr%40t")),
            works("init", "--database", f"{bare}?password_file={file}"),
            works("init", "--database", bare, environment={"MYSQL_PWD": "s:cr@t"}),
            fails("status", "--database", url.format("wrong")),
            fails("init", "--database", url.format("wrong") + "_not_there")]
    assert "Access denied" in said[3] and "check user and password" in said[3]
    assert not any(word in text for text in said for word in ("s%3A", "s:cr@t", "wrong"))
    mariadb.on_server(f"DROP USER {mariadb.name[-30:]}")


def test_a_user_without_rights_is_told_which_are_missing(mariadb) -> None:
    url = with_user(mariadb, "p", "SELECT").format("p")
    said = fails("init", "--database", url)
    assert "denied" in said and "CREATE ROUTINE" in said
    works("init", "--database", mariadb.url)
    assert "nothing" in works("status", "--database", url)
    mariadb.on_server(f"DROP USER {mariadb.name[-30:]}")


@pytest.mark.parametrize("change, wanted", [
    ("/nowhere", "make it with CREATE DATABASE"),
    ("?socket=/nowhere/s", "Can't connect to local"),
    ("?colour=red", "a parameter that is none of"),
    ("?read_timeout=0", "a timeout that is no number of seconds"),
    ("?tls=maybe", "a tls that is none of"),
    ("?password_file=/nowhere/p", "cannot read the password file"),
    ("/a/b", "no database's name, or more than that"),
])
def test_what_is_wrong_with_a_url_is_told(mariadb, change, wanted) -> None:
    url = mariadb.url.rpartition("/")[0] + change if change[0] == "/" else mariadb.url + change
    assert wanted in fails("init", "--database", url)


def test_missing_tables_are_told_with_the_way_out(mariadb) -> None:
    said = fails("dead-letter", "list", "--database", mariadb.url)
    assert "sluice's tables are missing" in said and "sluice init --database" in said


def test_a_read_only_server_is_told(private_mariadb) -> None:
    server = private_mariadb()
    database = MariadbDatabase(server.url)
    url = with_user(database, "p", "ALL").format("p")
    database.on_server("SET GLOBAL read_only = 1")
    assert "the server is read-only, as a replica is" in fails("init", "--database", url)


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("reaction", ctypes.c_int), ("library_code", ctypes.c_int),
                ("sqlstate", ctypes.c_char * 6), ("text", ctypes.c_char * 512)]


class Event(ctypes.Structure):
    _fields_ = [("topic", ctypes.c_char_p), ("key", ctypes.c_char_p), ("type", ctypes.c_char_p),
                ("payload", ctypes.c_char_p), ("payload_size", ctypes.c_size_t),
                ("headers", ctypes.c_void_p), ("header_count", ctypes.c_size_t),
                ("id", ctypes.c_char_p), ("time_ms", ctypes.c_int64)]


def test_a_payload_larger_than_the_servers_packets_is_refused_and_costs_nothing(
        private_mariadb) -> None:
    database = MariadbDatabase(private_mariadb("max_allowed_packet=1048576").url)
    library = ctypes.CDLL(program("libsluice.so"))
    error, handle = Error(), ctypes.c_void_p()

    def event(size: int) -> Event:
        return Event(topic=b"t", key=b"k", type=b"T", payload=b"x" * size, payload_size=size)

    def works_on(status: int) -> None:
        assert status == 0, error.text
    works_on(library.sluice_database_open(database.url.encode(), ctypes.byref(handle),
                                          ctypes.byref(error)))
    works_on(library.sluice_begin(handle, ctypes.byref(error)))
    works_on(library.sluice_publish(handle, ctypes.byref(event(1000)), None, ctypes.byref(error)))
    assert library.sluice_publish(handle, ctypes.byref(event(1 << 20)), None,
                                  ctypes.byref(error)) == -1
    assert b"more than the server's max_allowed_packet of 1048576; raise it" in error.text
    works_on(library.sluice_publish(handle, ctypes.byref(event(1 << 19)), None,
                                    ctypes.byref(error)))
    works_on(library.sluice_commit(handle, ctypes.byref(error)))
    library.sluice_database_close(handle)
    assert database.rows("SELECT octet_length(payload) FROM sluice_outbox ORDER BY position") == [
        (1000,), (1 << 19,)]
