"""Fixtures of the process tests. They run the built programs; SLUICE_BUILD names another folder."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.register_assert_rewrite("harness")

from harness.gateway import Gateway, Upstream  # noqa: E402
from harness.orders import Orders  # noqa: E402
from harness import servers  # noqa: E402
from harness.process import Process  # noqa: E402


# --- real servers

def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the workers, if there are any, makes the folder for the servers."""
    if not hasattr(config, "workerinput") and servers.FOLDER not in os.environ:
        config.stash[SERVERS] = servers.make_folder()


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVERS in config.stash:
        servers.remove_folder(config.stash[SERVERS])


SERVERS = pytest.StashKey[Path]()


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


# --- processes


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """start([program, ...]) starts a process that is gone when the test is."""
    processes: list[Process] = []

    def start_one(command: list[str | Path], **options) -> Process:
        log = tmp_path / f"process-{len(processes)}.log"
        processes.append(Process(command, log, **options))
        return processes[-1]

    yield start_one
    for process in processes:
        process.close()


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """The orders example as `make demo` starts it, shared by a file's tests; payments at once."""
    running = Orders(tmp_path_factory.mktemp("orders"))
    try:
        running.start("--payment-delay-ms=0")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def slow_orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """The same, with payments that take their time, as in the demo."""
    running = Orders(tmp_path_factory.mktemp("slow-orders"))
    try:
        running.start("--payment-delay-ms=1500")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def impatient_orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """The same, with orders that time out soon if their payment is held."""
    running = Orders(tmp_path_factory.mktemp("impatient-orders"))
    try:
        running.start("--payment-delay-ms=0", "--expire-after-ms=500")
        yield running
    finally:
        running.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A service behind the gateway whose answers a test chooses."""
    running = Upstream()
    yield running
    running.close()


@pytest.fixture
def open_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """open_gateway(routes, **config) starts a gateway; at the end each must stop with status 0."""
    gateways: list[Gateway] = []

    def open_one(routes: list[dict], **config) -> Gateway:
        gateways.append(Gateway(tmp_path, routes, **config))
        return gateways[-1]

    yield open_one
    for gateway in gateways:
        gateway.close()
