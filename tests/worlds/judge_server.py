"""A judge on loopback that speaks the OpenAI-compatible protocol; what it says is up to the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | int | None
"""A text, a status code to fail with, or None for a body that is no completion."""


@dataclass
class Judge:
    """What was asked, and how it is answered: ``reply`` sees the system text and the user's, and how often it was asked."""

    reply: Callable[[str, str, int], Answer]
    base_url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    at_once: int = 0
    busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(reply: Callable[[str, str, int], Answer]) -> Iterator[Judge]:
    """Serve a judge while the block runs."""
    judge = Judge(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with judge.lock:
                judge.busy += 1
                judge.at_once = max(judge.at_once, judge.busy)
                judge.asked.append(body)
                judge.keys.append(self.headers.get("Authorization", ""))
                times = sum(each == body for each in judge.asked)
            try:
                messages = {message["role"]: message["content"] for message in body["messages"]}
                answer = judge.reply(messages.get("system", ""), messages["user"], times)
            finally:
                with judge.lock:
                    judge.busy -= 1
            status = answer if isinstance(answer, int) else 200
            told: Any = {"error": {"message": f"no, {self.headers.get('Authorization')}"}}
            if self.path != "/v1/chat/completions":
                status = 404
            elif isinstance(answer, str):
                told = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]}
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    judge.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
