"""nginx with nchan, as a peer of `tests/bench/run sse`: one worker, its memory store."""
from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from common import Process, cpu_of, memory_of, note, running, wait_for

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# Every folder that nginx would make of its own, in ours: whoever runs this need not be root.
CONFIG = """\
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; use epoll; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 1024M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /sub {{
            nchan_subscriber eventsource;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
        }}
        location /pub {{
            nchan_publisher http;
            nchan_channel_id all;
            nchan_message_buffer_length 10;
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


class Nginx(Process):
    """Its master and its worker, as one."""

    def pids(self) -> list[int]:
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def cpu_s(self) -> float:
        return sum(map(cpu_of, self.pids()))

    def pss_kib(self) -> float:
        return sum(memory_of(pid, "Pss", "smaps_rollup") for pid in self.pids())

    def peak_mib(self) -> float:
        return sum(memory_of(pid, "VmHWM") for pid in self.pids()) / 1024


def nginx() -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return shutil.which("nginx", path=path) if MODULE.exists() else None


def is_there() -> bool:
    if nginx() is None:
        note("nchan is not measured, since it is not installed: "
             "apt-get install -y --no-install-recommends nginx-light libnginx-mod-nchan")
    return nginx() is not None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[Process, str, str, str]]:
    folder.chmod(0o711)  # the worker of a master that is root is somebody else
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(module=MODULE, folder=folder, port=port))
    with running(nginx(), "-e", folder / "error.log", "-c", config, kind=Nginx) as process:

        def serves() -> bool:
            process.check()
            return accepts(port)

        wait_for("nginx serves", serves)
        yield process, str(port), "/sub", "/pub"
