"""What may happen between somebody who asks and an S3 server."""

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Line(ThreadingHTTPServer):
    """The line to an S3 server; the next requests suffer what `faults` has for them, "" for none."""

    def __init__(self, server: str, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Passing)
        self.server, self.faults, self.asked = urlsplit(server).netloc, list[str](), 0

    def handle_error(self, *_: object) -> None:
        """Say nothing of those who were killed while they asked."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.server.asked += 1
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "cut":  # in the middle of what is sent
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            self.close_connection = True
            return
        if self.headers.get("Expect") == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault == "busy":
            self.wfile.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
            return
        line = http.client.HTTPConnection(self.server.server)
        line.request(self.command, self.path, content, {k: v for k, v in self.headers.items() if k != "Expect"})
        answer = line.getresponse()
        found = answer.read()
        line.close()
        if fault == "lost":  # it was done, and nobody hears of it
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(found[: len(found) // 2] if fault == "torn" else found)
        self.close_connection = fault == "torn"

    def log_message(self, *_: object) -> None:
        pass
