"""Compares the cache that p2p writes with the one that Python's huggingface_hub writes, and lets each read the other's.

    python tests/reference/hub.py target/debug/p2p

Serves tests/fixtures/mini-sd from a local HTTP server; no network is used. Requires huggingface_hub.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ID = "ada/mini-sd"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOLDER = Path(__file__).parent.parent / "fixtures/mini-sd"
FILES = {p.relative_to(FOLDER).as_posix(): p.read_bytes() for p in sorted(FOLDER.rglob("*")) if p.is_file()}


def is_large(path):
    return path.endswith(".safetensors")


def etag(path):
    data = FILES[path]
    if is_large(path):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path, name):
    """A file in the list of a revision (`name` is `rfilename`) or of a tree (`name` is `path`)."""
    size = len(FILES[path])
    found = {name: path, "type": "file", "size": size, "blobId": etag(path), "oid": etag(path)}
    if is_large(path):
        found["lfs"] = {"sha256": etag(path), "oid": etag(path), "size": size, "pointerSize": 135}
    return found


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, body, headers=()):
        self.send_response(200)
        for name, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{ID}/tree/"):
            return self.answer(json.dumps([entry(p, "path") for p in FILES]).encode())
        if path.startswith(f"/api/models/{ID}"):
            listed = {"id": ID, "sha": COMMIT, "siblings": [entry(p, "rfilename") for p in FILES]}
            return self.answer(json.dumps(listed).encode())
        name = path.removeprefix(f"/{ID}/resolve/").split("/", 1)[-1]
        if name not in FILES:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.answer(FILES[name], {"ETag": f'"{etag(name)}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET


def layout(home):
    """Link targets and file hashes by path, without the records that only Python keeps."""
    repo = Path(home) / "hub/models--ada--mini-sd"
    found = {}
    for path in sorted(repo.rglob("*")):
        name = path.relative_to(repo).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and not name.startswith(("trees/", ".no_exist/")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def python(home, code):
    run = subprocess.run([sys.executable, "-c", code], env=environment(home), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def p2p(home, *args):
    run = subprocess.run([sys.argv[1], *args], env=environment(home), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def environment(home):
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HF_HOME": str(home), "HF_ENDPOINT": ENDPOINT, "HF_HUB_DISABLE_TELEMETRY": "1"}


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
ENDPOINT = f"http://127.0.0.1:{server.server_port}"

EXPLAIN = ["explain", "--offline", "--model", ID, "--src", "a cat", "--dst", "a dog"]
FIND = f"""
from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache
folder = snapshot_download({ID!r}, local_files_only=True)
for path in {[p for p in FILES]!r}:
    found = try_to_load_from_cache({ID!r}, path)
    assert isinstance(found, str) and found.startswith(folder), (path, found)
cache = scan_cache_dir()
assert not cache.warnings, cache.warnings
(repo,) = cache.repos
assert repo.repo_id == {ID!r} and repo.refs["main"].commit_hash == {COMMIT!r}
print(folder)
"""

with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
    pulled = p2p(ours, "models", "pull", ID)
    assert python(ours, FIND) == pulled, "Python finds what p2p downloaded"
    fetch = f"from huggingface_hub import snapshot_download; print(snapshot_download({ID!r}))"
    python(theirs, fetch)
    assert layout(ours) == layout(theirs), "both caches have the same layout"
    p2p(theirs, *EXPLAIN)
    assert p2p(theirs, "models", "path", ID).endswith(COMMIT)
    # Without a server, p2p draws from the files that Python downloaded.
    server.shutdown()
    p2p(theirs, "edit", "--model", ID, "--offline", "--src", "a cat", "--dst", "a dog", "--steps", "1", "-W", "64", "-H", "64", "-o",
        f"{theirs}/out")
print(f"{len(FILES)} files: both caches have the same layout, and each side reads the other's")
