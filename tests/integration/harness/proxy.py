"""A TCP proxy that writes down which requests pass it, and cuts connections when it is told to."""
from __future__ import annotations

import re
import socket
import threading

from .http import host_and_port

REQUEST_LINE = re.compile(rb"(?:^|\r\n\r\n|\})([A-Z]+) (\S+) HTTP/1\.1\r\n")


class Proxy:
    def __init__(self, target: str) -> None:
        self.target = host_and_port(target)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []  # (method, path)
        self.connections: set[socket.socket] = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.connections |= {client, server}
            threading.Thread(target=self.pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pass_on, args=(server, client, False), daemon=True).start()

    def pass_on(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_client:
                    found = [(method.decode(), path.decode())
                             for method, path in REQUEST_LINE.findall(data)]
                    with self.lock:
                        self.requests += found
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            with self.lock:
                self.connections.discard(each)

    def stream_requests(self) -> list[str]:
        with self.lock:
            return [path for _, path in self.requests if "/stream" in path]

    def cut(self) -> None:
        """Reset all connections that are open now."""
        with self.lock:
            connections = list(self.connections)
        for each in connections:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.close()
        self.cut()
