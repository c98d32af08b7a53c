"""The daemon as a test sees it: its own XDG folders, started on a free port, stopped, checked for what it left behind.

Every Daemon that stops is examined: exit status, sanitizer reports, processes that outlived it, sockets it forgot.
"""
from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

BINARY = os.environ.get("INTERTIE_BIN", "")
ENGINE = os.environ.get("INTERTIE_TEST_ENGINE", "")
MODEL = os.environ.get("INTERTIE_TEST_MODEL", "")
MODEL_NAME = pathlib.Path(MODEL).stem.lower() if MODEL else "?"
ALARMS = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "CHECK failed", "terminate called")
KEY = "sk-e2e-0123456789abcdefghijklmnopqrstuvwxyz"    # what the imposters get; must appear nowhere else
STOP = 18    # s: running answers have 10 s to end, then children have 2 + 2 s
SANITIZED = "SAN_OPTIONS" in " ".join(os.environ)      # slower binaries get more time


def patience(seconds: float) -> float:
    return seconds * (4 if SANITIZED else 1)


def until(check, seconds: float, what: str):
    """Polls until `check()` is truthy and returns it; fails with `what` otherwise."""
    end = time.monotonic() + patience(seconds)
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"not within {patience(seconds):g} s: {what}"
        time.sleep(0.01)


# ---------------------------------------------------------------- configuration as text

IMPATIENT = 'connect_timeout = "500ms"\nfirst_byte_timeout = "500ms"\nidle_timeout = "500ms"'   # extra= of a provider

def provider(name: str, base_url: str, *, place: str = "cloud", trust: str = "T4", paid: bool = True,
             key: str | None = "env:FAKE_KEY",
             models: tuple[str, ...] = ("big-model",), kind: str = "openai-compatible", extra: str = "") -> str:
    lines = ["[[provider]]", f'name = "{name}"', f'kind = "{kind}"', f'base_url = "{base_url}"', f'place = "{place}"',
             f'trust = "{trust}"', f"paid = {str(paid).lower()}", f"models = {json.dumps(list(models))}"]
    if key:
        lines.append(f'key = "{key}"')
    return "\n".join(lines + ([extra] if extra else [])) + "\n"


def config(*providers: str, paid: bool = True, engine: str = "none", server: str = "", policy: str = "",
           local: str = "",
           listen: str = "127.0.0.1:0") -> str:
    return (f'[server]\nlisten = "{listen}"\n{server}\n[policy]\npaid = {str(paid).lower()}\n{policy}\n'
            f'[local]\nengine = "{engine}"\n{local}\n' + "\n".join(providers))


# ---------------------------------------------------------------- answers as a test reads them

@dataclass
class Answer:
    status: int
    headers: dict[str, str]            # names in lower case
    body: bytes
    seconds: float = 0.0

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self) -> dict:
        document = self.json
        assert set(document) == {"error"}, f"not an OpenAI error: {self.body[:300]!r}"
        return document["error"]

    @property
    def text(self) -> str:
        return self.json["choices"][0]["message"]["content"]

    @property
    def place(self) -> str | None:
        return self.headers.get("x-intertie-place")

    @property
    def decision(self) -> str:
        return self.headers["x-intertie-decision"]

    @property
    def events(self) -> list:
        """The data of a stream's events: objects, and the string '[DONE]'."""
        return sse_data(self.body)

    @property
    def streamed_text(self) -> str:
        return "".join(c["delta"].get("content") or "" for e in self.events if e != "[DONE]"
                       for c in e.get("choices", []))


def sse_data(body: bytes) -> list:
    found = []
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
        if data:
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


# ---------------------------------------------------------------- processes

def descendants(pid: int) -> dict[int, str]:
    """pid → start time (which tells a reused pid apart) of every process below `pid`."""
    parents, starts = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)], starts[int(entry.name)] = int(fields[1]), fields[19]
    found: dict[int, str] = {}
    grown = True
    while grown:
        grown = False
        for child, parent in parents.items():
            if child not in found and (parent == pid or parent in found):
                found[child], grown = starts[child], True
    return found


def alive(pid: int, start: str) -> bool:
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == start and fields[0] != "Z"


def rss_kib(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


@dataclass
class Cli:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Home:
    """The XDG folders of one imaginary person, short enough for unix sockets, and the environment that names them."""

    def __init__(self) -> None:
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="itt-"))
        self.config, self.state, self.data, self.run = (self.root / n for n in ("c", "s", "d", "r"))
        for folder in (self.config, self.state, self.data, self.run):
            folder.mkdir(mode=0o700)
        self.file = self.config / "intertie" / "intertie.toml"
        self.file.parent.mkdir()
        self.socket = self.run / "intertie" / "intertie.sock"
        self.models = self.data / "intertie" / "models"

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "LLVM_PROFILE_FILE") or n.endswith("SAN_OPTIONS")}
        return {**kept, "HOME": str(self.root), "LANG": "C.UTF-8", "XDG_CONFIG_HOME": str(self.config),
                "XDG_STATE_HOME": str(self.state), "XDG_DATA_HOME": str(self.data), "XDG_RUNTIME_DIR": str(self.run),
                "INTERTIE_CONFIG": str(self.file), "FAKE_KEY": KEY, **(extra or {})}

    def add_model(self, source: str | pathlib.Path, name: str | None = None) -> None:
        self.models.mkdir(parents=True, exist_ok=True)
        target = self.models / (name or pathlib.Path(source).name)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


# What systemd does for a .socket unit: descriptors from 3 on, and the variables that say so (sd_listen_fds(3)).
HAND_OVER = """
import fcntl, os, sys
count = next(i for i, a in enumerate(sys.argv[1:]) if not a.isdigit())
held = [fcntl.fcntl(int(a), fcntl.F_DUPFD, 64) for a in sys.argv[1:1 + count]]
for number, fd in enumerate(held, 3):
    os.dup2(fd, number)
    os.close(fd)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=os.environ.get("TEST_LISTEN_PID", str(os.getpid())))
os.execv(sys.argv[1 + count], sys.argv[1 + count:])
"""


class Daemon:
    def __init__(self, text: str, *, models=(), environment: dict[str, str] | None = None, home: Home | None = None,
                 start: bool = True, before: list[str] | None = None, wait: bool = True,
                 hand_over: tuple[socket.socket, ...] = ()):
        self.home = home or Home()
        self._owns_home = home is None
        self._environment = environment or {}
        self._before = before or []
        self._hand_over = hand_over
        self.home.file.write_text(text)
        for model in models:
            self.home.add_model(*model) if isinstance(model, tuple) else self.home.add_model(model)
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []
        self.port = 0
        if start:
            self.start()
        if start and wait and models and 'engine = "none"' not in text:
            until(lambda: b'"local/' in self.get("/v1/models").body, 5, "the local models in the list")

    # --- life
    def start(self) -> "Daemon":
        assert BINARY, "INTERTIE_BIN is not set: run this through tests/e2e/run BINARY"
        self.lines, self.port = [], 0
        handed = tuple(s.fileno() for s in self._hand_over)
        before = [*self._before, *([sys.executable, "-c", HAND_OVER, *map(str, handed)] if handed else [])]
        self.process = subprocess.Popen([*before, BINARY, "serve"], env=self.home.environment(self._environment),
                                        pass_fds=handed,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True,
                                        errors="replace", cwd=self.home.root)
        self._pump = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._pump.start()
        until(lambda: self.port or self.process.poll() is not None, 10,
              "the line 'listening on http://…'\n" + self.stderr)
        assert self.port, f"the daemon ended with {self.process.wait()} before it listened:\n{self.stderr}"
        return self

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            self.lines.append(line)
            if match := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(match[1])

    @property
    def stderr(self) -> str:
        return "".join(self.lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def children(self) -> dict[int, str]:
        return descendants(self.pid)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends the daemon and checks what it left: nothing."""
        if not self.process:
            return
        process, self.process = self.process, None
        crashed = process.poll()
        children = descendants(process.pid)
        if crashed is None:
            process.send_signal(how)
        try:
            code = process.wait(patience(STOP))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not stop within {patience(STOP):g} s of signal {how}:\n{self.stderr}")
        self._pump.join(5)
        assert crashed is None, f"the daemon had ended by itself with {crashed}:\n{self.stderr}"
        until(lambda: not [p for p, s in children.items() if alive(p, s)], 3,
              f"end of the daemon's children {list(children)}")
        alarms = [a for a in ALARMS if a in self.stderr]
        assert not alarms, f"{alarms} in the daemon's log:\n{self.stderr[-6000:]}"
        if how == signal.SIGTERM:
            assert code == 0, f"exit status {code} after SIGTERM:\n{self.stderr[-3000:]}"
            assert not self.home.socket.exists(), "the unix socket was left behind"

    def restart(self, text: str | None = None) -> "Daemon":
        self.stop()
        if text is not None:
            self.home.file.write_text(text)
        return self.start()

    def close(self) -> None:
        try:
            self.stop()
        finally:
            if self._owns_home:
                self.home.remove()

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- requests
    def connection(self, unix: bool = False, timeout: float = 30) -> http.client.HTTPConnection:
        if unix:
            return UnixConnection(str(self.home.socket), patience(timeout))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience(timeout))

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *,
                unix: bool = False, timeout: float = 30) -> Answer:
        begin = time.monotonic()
        connection = self.connection(unix, timeout)
        try:
            try:
                connection.request(method, path, body, headers or {})
            except ConnectionRefusedError:
                end = self.process.poll() if self.process else "stopped by the test"
                raise AssertionError(f"nobody listens; exit status {end}\n{self.stderr}") from None
            response = connection.getresponse()
            data = response.read()
            return Answer(response.status, {n.lower(): v for n, v in response.getheaders()}, data,
                          time.monotonic() - begin)
        finally:
            connection.close()

    def get(self, path: str, **kw) -> Answer:
        return self.request("GET", path, **kw)

    def post(self, document, headers: dict[str, str] | None = None, path: str = "/v1/chat/completions", **kw) -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})}, **kw)

    def chat(self, content: str = "Say hello.", model: str = "auto", headers: dict[str, str] | None = None,
             unix: bool = False,
             timeout: float = 30, **fields) -> Answer:
        return self.post({"model": model, "messages": [{"role": "user", "content": content}], **fields}, headers,
                         unix=unix,
                         timeout=timeout)

    def open_stream(self, content: str = "Say hello.", model: str = "auto", headers: dict[str, str] | None = None,
                    **fields):
        """A streamed chat with its head read: (connection, response). The test reads or cuts it."""
        connection = self.connection()
        body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": True, **fields}
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"Content-Type": "application/json", **(headers or {})})
        return connection, connection.getresponse()

    def explain(self, decision: str = "last") -> dict:
        """Receipts are written in batches every 200 ms: asks until it is there."""
        answer = None

        def look() -> bool:
            nonlocal answer
            answer = self.get(f"/intertie/v1/explain/{decision}")
            return answer.status == 200
        until(look, 3, f"receipt of {decision}")
        return answer.json

    def cli(self, *arguments: str, timeout: float = 30, environment: dict[str, str] | None = None,
            stdin: str = "") -> Cli:
        """The command line of the same person: it finds this daemon by its unix socket."""
        return cli(self.home, *arguments, timeout=timeout, stdin=stdin,
                   environment={**self._environment, **(environment or {})})

    def status(self) -> dict:
        return self.get("/intertie/v1/status").json


def cli(home: Home, *arguments: str, environment: dict[str, str] | None = None, timeout: float = 30, stdin: str = "",
        before: list[str] | None = None) -> Cli:
    """The command line, as a person would call it, with output that is no terminal."""
    done = subprocess.run([*(before or []), BINARY, *arguments], env=home.environment(environment), input=stdin,
                          text=True,
                          capture_output=True, timeout=patience(timeout), cwd=home.root, errors="replace")
    alarms = [a for a in ALARMS if a in done.stderr]
    assert not alarms, f"{alarms} from `intertie {' '.join(arguments)}`:\n{done.stderr[-6000:]}"
    return Cli(done.returncode, done.stdout, done.stderr)


def raw(port: int, data: bytes, seconds: float = 5, shut: bool = False) -> bytes:
    """Sends bytes as they are and returns all that comes until the daemon closes or `seconds` pass without a byte."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(patience(seconds))
        answer = b""
        try:
            sock.sendall(data)
            if shut:
                sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        return answer
