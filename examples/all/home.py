#!/usr/bin/env python3
"""The page of all examples: one file, served to whoever asks.

usage: home.py --listen=127.0.0.1:PORT
"""
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = (Path(__file__).resolve().parent / "page.html").read_bytes()


class Home(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = PAGE if self.path == "/" else b"there is nothing here\n"
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if self.path == "/"
                         else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_) -> None:
        pass


def main() -> None:
    host, _, port = sys.argv[1].removeprefix("--listen=").rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"ready http=http://{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
