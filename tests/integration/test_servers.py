"""The scripts of tools/servers: real servers that a test or a demonstration starts for itself."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from harness.process import ROOT
from harness.servers import has_ended
from harness.waiting import wait_until

SERVERS = ["postgresql", "mariadb", "kafka"]
SCHEMES = {"postgresql": "postgresql://", "mariadb": "mariadb://", "kafka": "kafka://"}


def server(name: str, verb: str, *options: object) -> subprocess.CompletedProcess:
    return subprocess.run([ROOT / "tools/servers" / name, verb, *map(str, options)],
                          capture_output=True, text=True, timeout=300,
                          env={"KAFKA_JIT_LEVEL": "1", **os.environ})


def up(name: str, data: Path, *options: object) -> str:
    done = server(name, "up", "--data", data, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def port(data: Path) -> int:
    return int((data / "port").read_text())


def pid(data: Path) -> int:
    return int((data / "pid").read_text())


def is_listening(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for data; what a test left running in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="sluice-servers-") as path:
        Path(path).chmod(0o711)  # each server's own account passes through it
        try:
            yield Path(path)
        finally:
            for data in Path(path).iterdir():
                for name in SERVERS:
                    if data.name.startswith(name):
                        server(name, "down", "--data", data, "--wipe")


@pytest.mark.parametrize("name", SERVERS)
def test_up_is_idempotent_and_down_leaves_nothing(folder, name):
    data = folder / name
    address = up(name, data)
    assert address.startswith(SCHEMES[name])
    assert 20000 <= port(data) < 32000 and f":{port(data)}" in address
    first = pid(data)
    assert up(name, data) == address and pid(data) == first
    assert server(name, "status", "--data", data).stdout.split() == [address, "pid", str(first)]

    assert server(name, "down", "--data", data).returncode == 0
    assert has_ended(first) and not is_listening(port(data))
    gone = server(name, "status", "--data", data)
    assert (gone.returncode, gone.stdout) == (1, "down\n")

    assert up(name, data) == address, "it comes back on its port, with its data"
    last = pid(data)
    assert server(name, "down", "--data", data, "--wipe").returncode == 0
    assert has_ended(last) and not data.exists()
    assert server(name, "down", "--data", data, "--wipe").returncode == 0, "down is idempotent, too"


@pytest.mark.parametrize("name", SERVERS)
def test_two_at_once_have_different_ports_and_a_killed_one_comes_back(folder, name):
    one, two = folder / f"{name}-1", folder / f"{name}-2"
    starting = [subprocess.Popen([ROOT / "tools/servers" / name, "up", "--data", data],
                                 stdout=subprocess.DEVNULL) for data in (one, two)]
    assert [process.wait(120) for process in starting] == [0, 0]
    assert port(one) != port(two)

    os.kill(pid(one), signal.SIGKILL)
    wait_until(lambda: has_ended(pid(one)), "the end of the killed server")
    address = (one / "address").read_text().strip()
    assert up(name, one) == address
    assert is_listening(port(two))


def test_an_up_while_another_up_starts_it_waits_for_that_one(folder):
    data = folder / "postgresql"
    starting = [subprocess.Popen([ROOT / "tools/servers/postgresql", "up", "--data", data],
                                 stdout=subprocess.PIPE, text=True) for _ in range(3)]
    addresses = {process.communicate(timeout=60)[0] for process in starting}
    assert len(addresses) == 1 and addresses.pop().startswith("postgresql://")


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_server_begins_with_a_copy_of_prepared_data(folder, name):
    template, data = folder / f"{name}-template", folder / name
    assert server(name, "prepare", "--data", template).returncode == 0
    assert not (template / "pid").exists()
    up(name, data, "--from", template)
    assert (template / "db").is_dir()


def test_a_setting_stays_until_others_are_given(folder):
    data = folder / "postgresql"

    def work_mem(address: str) -> str:
        return subprocess.run(["psql", address, "-AtXc", "SHOW work_mem"], check=True, text=True,
                              capture_output=True).stdout.strip()

    assert work_mem(up("postgresql", data, "--set", "work_mem=5MB")) == "5MB"
    server("postgresql", "down", "--data", data)
    assert work_mem(up("postgresql", data)) == "5MB"
    server("postgresql", "down", "--data", data)
    assert work_mem(up("postgresql", data, "--set", "work_mem=6MB")) == "6MB"


def test_a_taken_port_and_a_folder_with_other_files_are_refused_in_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = server("postgresql", "up", "--data", folder / "postgresql", "--port", number)
    assert done.returncode == 1
    assert done.stderr == (f"tools/servers/postgresql: port {number} is taken by another program: "
                           "choose another --port\n")

    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("years of work")
    for verb in (["up"], ["down", "--wipe"]):
        done = server("postgresql", verb[0], "--data", mine, *verb[1:])
        assert (mine / "thesis").exists()
    done = server("postgresql", "up", "--data", mine)
    assert done.returncode == 1 and "is not empty" in done.stderr


def test_the_usage_names_every_verb():
    done = server("kafka", "--help")
    assert done.returncode == 0
    for verb in ("up", "status", "down", "prepare", "check"):
        assert f"\n  {verb} " in done.stdout
    assert server("kafka", "dance").returncode == 2


RUN = ROOT / "tools/servers/run"


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_TEST_")}


def test_a_command_runs_with_servers_beside_it_which_are_gone_afterwards():
    script = 'psql "$SLUICE_TEST_POSTGRESQL" -AtXc "SELECT 6*7"; echo "$SLUICE_TEST_SERVERS"; exit 3'
    done = subprocess.run([RUN, "postgresql", "--", "sh", "-c", script], capture_output=True,
                          text=True, timeout=60, env=clean_environment())
    answer, folder = done.stdout.split()
    assert (done.returncode, answer) == (3, "42"), done.stderr
    assert not Path(folder).exists()


def test_a_server_that_runs_already_is_used():
    given = clean_environment() | {"SLUICE_TEST_KAFKA": "kafka://127.0.0.1:9"}
    done = subprocess.run([RUN, "kafka", "--", "printenv", "SLUICE_TEST_KAFKA"], env=given,
                          capture_output=True, text=True, timeout=20)
    assert done.stdout == "kafka://127.0.0.1:9\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_servers_are_gone_however_their_run_ends(number):
    running = subprocess.Popen([RUN, "postgresql", "--", "sh", "-c",
                                'echo "$SLUICE_TEST_SERVERS"; exec cat'],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=clean_environment())
    folder = Path(running.stdout.readline().strip())
    server_port, server_pid = port(folder / "postgresql"), pid(folder / "postgresql")
    assert is_listening(server_port)
    running.send_signal(number)
    running.stdin.close()
    running.wait(30)
    running.stdout.close()
    wait_until(lambda: not folder.exists(), "the end of the servers' data")
    assert has_ended(server_pid)
