"""Real servers for every process test: see integration/harness/servers.py."""
from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "integration")]

pytest.register_assert_rewrite("harness")

from harness import servers  # noqa: E402

SERVERS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the workers, if there are any, makes the folder for the servers."""
    if not hasattr(config, "workerinput") and servers.FOLDER not in os.environ:
        config.stash[SERVERS] = servers.make_folder()


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVERS in config.stash:
        servers.remove_folder(config.stash[SERVERS])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where workers share the tests, those that share a fixture of their file stay together."""
    for item in items:
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()
        if any(found[-1].scope in ("module", "class") for found in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def run_lock() -> Callable[[str], ContextManager[None]]:
    """run_lock(name): what only one worker of the run may do at a time."""
    @contextmanager
    def locked(name: str) -> Iterator[None]:
        with open(Path(os.environ[servers.FOLDER]) / f".{name}", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    return locked


def shared(name: str) -> str:
    try:
        return servers.shared_url(name)
    except servers.NoServer as error:
        pytest.skip(str(error))


def private(name: str) -> Iterator[Callable[..., servers.Server]]:
    running: list[servers.Server] = []

    def start_one(*settings: str) -> servers.Server:
        try:
            running.append(servers.private_server(name, *settings))
        except servers.NoServer as error:
            pytest.skip(str(error))
        return running[-1]

    yield start_one
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def postgresql_url() -> str:
    return shared("postgresql")


@pytest.fixture(scope="session")
def mariadb_url() -> str:
    return shared("mariadb")


@pytest.fixture(scope="session")
def kafka_url() -> str:
    return shared("kafka")


@pytest.fixture(scope="session")
def opensearch_url() -> str:
    """The node is every test's: use index names of your own (servers.fresh_name())."""
    return shared("opensearch")


@pytest.fixture(scope="session")
def unit_environment() -> dict[str, str]:
    """What unit test programs are told about servers; those that cannot run here are left out."""
    found = {}
    for name in ("postgresql", "mariadb", "kafka"):
        try:
            found[f"SLUICE_TEST_{name.upper()}"] = servers.shared_url(name)
        except servers.NoServer:
            pass
    return found


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[servers.PostgresqlDatabase]:
    """A database of the test's own: .url, .rows(sql, ...), .value(sql, ...), .connect()."""
    database = servers.PostgresqlDatabase(postgresql_url)
    yield database
    database.drop()


@pytest.fixture
def mariadb(mariadb_url: str) -> Iterator[servers.MariadbDatabase]:
    """A database of the test's own: .url, .rows(sql, ...), .value(sql, ...), .connect()."""
    database = servers.MariadbDatabase(mariadb_url)
    yield database
    database.drop()


@pytest.fixture
def kafka(kafka_url: str) -> servers.KafkaTopics:
    """The shared broker: .url, and .topic(name) for names that no other test uses."""
    return servers.KafkaTopics(kafka_url)


@pytest.fixture
def private_postgresql() -> Iterator[Callable[..., servers.Server]]:
    """private_postgresql("key=value", ...) starts a server to .kill(), .pause(), .restart()."""
    yield from private("postgresql")


@pytest.fixture
def private_mariadb() -> Iterator[Callable[..., servers.Server]]:
    yield from private("mariadb")


@pytest.fixture
def private_kafka() -> Iterator[Callable[..., servers.Server]]:
    yield from private("kafka")
