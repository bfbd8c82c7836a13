"""A small hub on the loopback: the few answers of the Hugging Face hub that loading needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

SHA = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:4] == ["api", "models", "someone", "tiny"]:
            known = len(parts) == 4 or parts[5] in ("step1000", SHA)
            return self.listing() if known else self.refuse(404, "RevisionNotFound")
        if parts[:2] == ["someone", "tiny"] and parts[2] == "resolve":
            return self.file(self.folder / parts[4])
        if parts[-1] == "gated" or "gated" in parts:
            return self.refuse(403, "GatedRepo")
        return self.refuse(404, "RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def listing(self) -> None:
        files = [{"rfilename": f.name, "size": f.stat().st_size} for f in self.folder.iterdir()]
        body = {"id": "someone/tiny", "sha": SHA, "siblings": files}
        self.answer(json.dumps(body).encode(), "application/json", {})

    def file(self, path: Path) -> None:
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        tag = hashlib.sha1(content).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": SHA}
        return self.answer(content, "application/octet-stream", headers)

    def answer(self, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in (
            {"Content-Type": kind, "Content-Length": str(len(body))} | headers
        ).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as the model `someone/tiny`; gives the endpoint and the requests."""
    asked: list[str] = []
    handler = type("Folder", (Handler,), {"folder": folder, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
