"""An upstream that only pretends: a real HTTP/1.1 server on loopback; speaks OpenAI's chat dialect, misbehaves on cue.

What it answers is scripted (`then`, `when`); what it was asked is recorded to the byte (`requests`). An answer is a
function `(Wire, Request)`, so that every way to break a connection is a few lines. One thread per connection.
"""
from __future__ import annotations

import json
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Callable


class Gone(Exception):
    """The peer hung up (or the answer ended the connection on purpose)."""


@dataclass
class Request:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float                          # monotonic, when the whole request was here
    connection: int
    chunked: bool = False
    gone_at: float | None = None       # when the peer was seen to hang up during the answer
    answered: bool = False             # the script ran to its end
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class Wire:
    """What an answer may do to the connection."""

    def __init__(self, sock: socket.socket, request: Request):
        self._sock, self._request = sock, request
        self.keep = True

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            self._gone()
            raise Gone from error

    def pause(self, seconds: float) -> None:
        """Waits; a hang-up of the peer ends the wait at once."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            readable, _, _ = select.select([self._sock], [], [], max(0.0, left))
            if not readable:
                return
            try:
                data = self._sock.recv(1)
            except ssl.SSLWantReadError:
                continue
            except OSError:
                data = b""
            if not data:
                self._gone()
                raise Gone
            raise AssertionError("the daemon pipelined a request upstream")

    def stall(self) -> None:
        """Says nothing for as long as the peer holds on."""
        self.pause(120)

    def finish(self) -> None:
        self.keep = False
        raise Gone

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.finish()

    def _gone(self) -> None:
        self._request.gone_at = self._request.gone_at or time.monotonic()


Answer = Callable[[Wire, Request], None]

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
           404: "Not Found",
           413: "Payload Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 529: "Overloaded"}


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"] + [f"{n}: {v}" for n, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status: int, body: bytes, content_type: str = "application/json",
          headers: dict[str, str] | None = None) -> Answer:
    def answer(wire: Wire, _: Request) -> None:
        wire.send(head(status, {"Content-Type": content_type, "Content-Length": str(len(body)),
                                **(headers or {})}) + body)
    return answer


def json_answer(document, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return whole(status, json.dumps(document).encode(), headers=headers)


def error(status: int, message: str = "scripted failure", type: str | None = None, code: str | None = None,
          param: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    type = type or ("server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error")
    return json_answer({"error": {"message": message, "type": type, "param": param, "code": code}}, status, headers)


def html(status: int) -> Answer:
    page = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
    return whole(status, page, "text/html; charset=utf-8")


def completion(content: str | None, model: str, usage=(11, 7), finish: str = "stop", tool_calls=None, **extra) -> dict:
    message: dict = {"role": "assistant", "content": content, "refusal": None}
    if tool_calls:
        message["tool_calls"] = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n,
                                 a in tool_calls]
    document = {"id": "chatcmpl-imposter", "object": "chat.completion", "created": 1_700_000_000, "model": model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
                "system_fingerprint": "fp_imposter", **extra}
    if usage:
        document["usage"] = usage_object(usage)
    return document


def usage_object(usage) -> dict:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def event(document) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunk(model: str, delta: dict, finish: str | None = None, without=frozenset(), **extra) -> dict:
    choice: dict = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    if "finish" in without:
        choice.pop("finish_reason")
    document = {"id": "chatcmpl-imposter", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
                "choices": [choice], **extra}
    if "id" in without:
        document.pop("id")
    return document


def text_events(content: str, model: str, usage=(11, 7), finish: str = "stop", without=frozenset(), tool_calls=None,
                ask_usage: bool = False) -> list[bytes]:
    """The events of one streamed answer; `without` drops what some servers forget: id role finish done usage."""
    role = {} if "role" in without else {"role": "assistant"}
    events = [event(chunk(model, {**role, "content": ""}, without=without))] if role else []
    for piece in content.split(" ") if content else []:
        lead = "" if not any(b'"content":"' in e and b'"content":""' not in e for e in events) else " "
        events.append(event(chunk(model, {"content": lead + piece}, without=without)))
    for index, (call_id, name, arguments) in enumerate(tool_calls or []):
        events.append(event(chunk(model, {"tool_calls": [{"index": index, "id": call_id, "type": "function",
                                                          "function": {
            "name": name, "arguments": ""}}]}, without=without)))
        for at in range(0, len(arguments), 5):
            events.append(event(chunk(model, {"tool_calls": [{"index": index, "function": {
                "arguments": arguments[at:at + 5]}}]}, without=without)))
    if "finish" not in without:
        events.append(event(chunk(model, {}, finish=finish)))
    if ask_usage and usage and "usage" not in without:
        events.append(event({"id": "chatcmpl-imposter", "object": "chat.completion.chunk", "created": 1_700_000_000,
                             "model": model, "choices": [], "usage": usage_object(usage)}))
    if "done" not in without:
        events.append(DONE)
    return events


def stream(events: list[bytes], pace: float = 0.0, end: str = "proper", split: int | None = None) -> Answer:
    """Events as chunked SSE. `end`: proper, cut (FIN, no last chunk), reset, stall. `split`: bytes per write."""
    def answer(wire: Wire, _: Request) -> None:
        wire.send(head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked",
                             "Cache-Control": "no-cache"}))
        for one in events:
            for at in range(0, len(one), split or len(one)):
                piece = one[at:at + (split or len(one))]
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.pause(pace)
        if end == "cut":
            wire.finish()
        if end == "reset":
            wire.reset()
        if end == "stall":
            wire.stall()
        wire.send(b"0\r\n\r\n")
    return answer


def text(content: str = "Hello from the cloud.", *, pace: float = 0.0, usage=(11, 7), finish: str = "stop",
         without=frozenset(),
         tool_calls=None, end: str = "proper", after: int | None = None, split: int | None = None,
         model: str | None = None) -> Answer:
    """A good answer in the form that was asked for; `after` keeps only so many events (then see `end`)."""
    def answer(wire: Wire, request: Request) -> None:
        asked = request.json
        name = model or asked.get("model", "?")
        stop = "tool_calls" if tool_calls else finish
        if asked.get("stream"):
            ask_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            events = text_events(content, name, usage, stop, frozenset(without), tool_calls, ask_usage)
            stream(events[:after], pace, end, split)(wire, request)
        else:
            json_answer(completion(content or None, name, usage, stop, tool_calls))(wire, request)
    return answer


def tools(*calls: tuple[str, str, str], pace: float = 0.0) -> Answer:
    return text("", tool_calls=list(calls), pace=pace)


def drip(inner: bytes, pace: float, step: int = 1) -> Answer:
    """A whole answer, byte by byte."""
    def answer(wire: Wire, _: Request) -> None:
        for at in range(0, len(inner), step):
            wire.send(inner[at:at + step])
            wire.pause(pace)
    return answer


def raw(data: bytes, end: str = "fin") -> Answer:
    """Bytes as they are, then: fin, rst, stall, keep."""
    def answer(wire: Wire, _: Request) -> None:
        if data:
            wire.send(data)
        if end == "fin":
            wire.finish()
        if end == "rst":
            wire.reset()
        if end == "stall":
            wire.stall()
    return answer


def wrong_length(difference: int) -> Answer:
    """A JSON answer whose Content-Length lies by `difference` bytes."""
    def answer(wire: Wire, request: Request) -> None:
        body = json.dumps(completion("wrong length", request.json["model"])).encode()
        wire.send(head(200, {"Content-Type": "application/json", "Content-Length": str(len(body) + difference)}) + body)
        wire.finish()
    return answer


@dataclass
class Rule:
    matches: Callable[[Request], bool]
    answers: list[Answer]

    def take(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Imposter:
    def __init__(self, models: tuple[str, ...] = ("big-model",), tls: "Certificates | None" = None,
                 host: str = "127.0.0.1"):
        self.models, self._tls = models, tls
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self._rules: list[Rule] = []
        self._default = Rule(lambda _: True, [text()])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._connections = 0
        self._listener = socket.create_server((host, 0), backlog=512)
        self.host, self.port = host, self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    # --- the script
    def then(self, *answers: Answer) -> "Imposter":
        """Answers in turn; the last one for ever."""
        self._default = Rule(lambda _: True, list(answers))
        return self

    def when(self, what: str | Callable[[Request], bool], *answers: Answer) -> "Imposter":
        """For requests whose body (or path) holds `what`, before the default."""
        test = what if callable(what) else (lambda r: what.encode() in r.body or what in r.path)
        self._rules.insert(0, Rule(test, list(answers)))
        return self

    # --- the record
    @property
    def chats(self) -> list[Request]:
        return [r for r in self.requests if r.path.split("?")[0].endswith("/chat/completions")]

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{'localhost' if self._tls else self.host}:{self.port}/v1"

    def all_bytes(self) -> bytes:
        return b"\n".join(f"{r.method} {r.path} {r.headers}".encode() + r.body for r in self.requests)

    def wait_chats(self, count: int, seconds: float = 5.0) -> list[Request]:
        end = time.monotonic() + seconds
        while len(self.chats) < count and time.monotonic() < end:
            time.sleep(0.005)
        assert len(self.chats) >= count, f"upstream saw {len(self.chats)} chat requests, expected {count}"
        return self.chats

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for sock in list(self._open):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # --- the server
    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            threading.Thread(target=self._serve, args=(sock, self._connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with self._lock:
            self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = self._tls.context().wrap_socket(sock, server_side=True)
            reader = sock.makefile("rb")
            while (request := self._read(reader, number)) is not None:
                self.requests.append(request)
                wire = Wire(sock, request)
                try:
                    self._answer(wire, request)
                    request.answered = True
                except Gone:
                    break
                finally:
                    request.ended.set()
                if not wire.keep:
                    break
        except (OSError, ValueError) as problem:
            self.problems.append(repr(problem))
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _read(self, reader, number: int) -> Request | None:
        line = reader.readline(65536)
        if not line:
            return None
        method, path, _ = line.decode().split(" ", 2)
        headers = []
        while (line := reader.readline(65536)) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        fields = {n.lower(): v for n, v in headers}
        chunked = "chunked" in fields.get("transfer-encoding", "")
        if chunked:
            body = b""
            while (size := int(reader.readline(), 16)) > 0:
                body += reader.read(size)
                reader.readline()
            reader.readline()
        else:
            body = reader.read(int(fields.get("content-length", "0")))
        return Request(method, path, headers, body, time.monotonic(), number, chunked)

    def _answer(self, wire: Wire, request: Request) -> None:
        for rule in self._rules:
            if rule.matches(request):
                return rule.take()(wire, request)
        if request.path.split("?")[0].endswith("/models"):
            listed = [{"id": m, "object": "model", "created": 1_700_000_000, "owned_by": "imposter"}
                      for m in self.models]
            return json_answer({"object": "list", "data": listed})(wire, request)
        if not request.path.split("?")[0].endswith("/chat/completions"):
            return error(404, f"Unknown request URL: {request.method} {request.path}")(wire, request)
        with self._lock:
            answer = self._default.take()
        return answer(wire, request)


class Certificates:
    """A private CA and a server certificate for localhost and 127.0.0.1, made with the openssl command."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.ca = folder / "ca.pem"
        run = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem",
            "-days", "30", "-subj", "/CN=e2e private CA", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out",
            "server.csr",
            "-subj", "/CN=localhost")
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.pem",
            "-days", "30", "-extfile", "ext")

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context
