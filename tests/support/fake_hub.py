"""A hub on this machine: the answers of Hugging Face's that downloads need, over HTTP."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/?]+))?")


@dataclass
class FakeHub:
    """Repositories with their files, and the requests that were made."""

    files: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    token: str = "hf_test"
    corrupted: set[str] = field(default_factory=set)
    """Files of which something else is sent than was announced."""
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        """Returns the status, the headers and the body for a path."""
        path = path.partition("?")[0]
        found = _INFO.fullmatch(path) or _RESOLVE.fullmatch(path)
        repo = found["repo"] if found else ""
        if found is None or repo not in self.files:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if repo in self.gated and token != f"Bearer {self.token}":
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        revision = found["revision"] or "main"
        commit = COMMITS.get(revision, revision if revision in COMMITS.values() else "")
        if not commit:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if found.re is _INFO:
            siblings = [{"rfilename": name} for name in self.files[repo]]
            return 200, {}, json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        return self._file(repo, found["name"], commit)

    def _file(self, repo: str, name: str, commit: str) -> tuple[int, dict[str, str], bytes]:
        content = self.files[repo].get(name)
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        return 200, headers, content[::-1] if name in self.corrupted else content


@contextmanager
def served(hub: FakeHub) -> Iterator[FakeHub]:
    """Serves a hub while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            authorization = self.headers.get("Authorization") or ""
            status, headers, body = hub.answer(self.path, authorization)
            first = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
            total = len(body)
            if first and status == 200:
                status, body = 206, body[int(first[1]) :]
                headers["Content-Range"] = f"bytes {first[1]}-{total - 1}/{total}"
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  (names of the base class)

        def log_message(self, *_arguments: Any) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
