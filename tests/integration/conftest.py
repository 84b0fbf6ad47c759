"""Fixtures of the process tests. They run the built programs; SLUICE_BUILD names another folder."""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest
from harness.gateway import Gateway, Upstream
from harness.orders import Orders
from harness.process import Process


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
