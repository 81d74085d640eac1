"""A web server on this machine that serves files, and misbehaves as a script says."""

import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What one request gets."""

    content: bytes = b""
    status: int = 200
    content_type: str = "application/zip"
    etag: str = '"1"'
    ranges: bool = True
    conditional: bool = True
    """Whether If-Range is heeded."""
    length: int | None = None
    """Size that is announced in place of the true one."""
    announced: bool = True
    """Whether any size is; if not, the end of the connection is the end of the file."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    stall_after: int | None = None
    """Bytes of the body after which nothing comes until the server closes."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """What the server was asked, and how many bytes of a body it sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    sent: int = 0


class FileServer:
    """Serves `answers` by path: one after the other, the last one again and again; 404 for other paths."""

    def __init__(self):
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path, *answers):
        """Set the answers of a path; give its address."""
        self.answers[path] = list(answers)
        return self.address + path

    def asked(self, path):
        return [request for request in self.requests if request.path == path]

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                request = Request(self.command, self.path, dict(self.headers), body)
                server.requests.append(request)
                answers = server.answers.get(self.path, [Answer(b"<html>none", 404, "text/html")])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                content, status, headers = server._judge(answer, request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                ends = [end for end in (answer.cut_after, answer.stall_after) if end is not None]
                content = content[: ends[0]] if ends else content
                request.sent = len(content)
                with suppress(ConnectionError):  # the client may have read enough
                    self.wfile.write(content)
                if answer.stall_after is not None:
                    self.wfile.flush()
                    server._closing.wait()

            do_POST = do_GET

            def log_message(self, *_):
                pass

        return Handler

    @staticmethod
    def _judge(answer, request):
        content, status = answer.content, answer.status
        headers = {"Content-Type": answer.content_type, **answer.headers}
        if answer.etag:
            headers["ETag"] = answer.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        unchanged = not answer.conditional or request.headers.get("If-Range", answer.etag) == answer.etag
        if wanted and answer.ranges and unchanged and status == 200:
            start, total = int(wanted[1]), len(content)
            if start >= total:
                return b"", 416, {"Content-Range": f"bytes */{total}"}
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
            content, status = content[start:], 206
        if answer.announced:
            headers["Content-Length"] = str(len(content) if answer.length is None else answer.length)
        return content, status, headers
