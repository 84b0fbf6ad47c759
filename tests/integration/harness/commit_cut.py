"""A proxy before PostgreSQL that cuts connections between a COMMIT and its answer."""
from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # a simple query, as libpq sends it


class CommitCut:
    """Each call of `arm` cuts one connection at its next COMMIT.

    By chance the COMMIT arrives and its answer does not, or the COMMIT does not arrive: from the
    client's side the two look the same.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.target = ("127.0.0.1", port)
        self.random = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.armed = 0
        self.answers_lost = 0
        self.commits_lost = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def arm(self) -> None:
        with self.lock:
            self.armed += 1

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
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            cut = threading.Event()
            threading.Thread(target=self.to_server, args=(client, server, cut), daemon=True).start()
            threading.Thread(target=self.to_client, args=(server, client, cut), daemon=True).start()

    def to_server(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if COMMIT in data and not cut.is_set() and not self.may_pass(cut):
                    break
                server.sendall(data)
        if not cut.is_set():  # else the answer, which nobody hears, closes it
            close(client, server)

    def may_pass(self, cut: threading.Event) -> bool:
        """Whether a COMMIT arrives; `cut` is set if its answer does not."""
        with self.lock:
            if self.armed == 0:
                return True
            self.armed -= 1
            if self.random.random() < 0.5:
                self.commits_lost += 1
                return False
            self.answers_lost += 1
            cut.set()
            return True

    def to_client(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    break
                client.sendall(data)
        close(client, server)

    def close(self) -> None:
        self.listener.close()


def close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
