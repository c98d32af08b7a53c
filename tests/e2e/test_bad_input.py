"""What comes in broken, from clients and from upstreams. Each refusal is held word for word as a golden text."""
import gzip
import json
import re
import resource
import socket
import threading
import time

import pytest

import golden
import imposter
from harness import IMPATIENT, KEY, config, patience, provider, raw, rss_kib, until

OK = [{"role": "user", "content": "Hi"}]
BIG = "big-model"
GET = b"GET /healthz HTTP/1.1\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HI = b'"messages":[{"role":"user","content":"Hi"}]'


def chat(**fields) -> bytes:
    return json.dumps({"model": BIG, "messages": OK, **fields}).encode()


def nested(depth: int) -> bytes:
    return b'{"model":"big-model","messages":[{"role":"user","content":"Hi"}],"x":' + b"[" * depth + b"]" * depth + b"}"


# ---------------------------------------------------------------- bodies

BODIES = {
    "empty-body": b"",
    "not-json": b"hello",
    "not-an-object": b'["hello"]',
    "cut-in-the-middle": b'{"model":"big-model","messages":[{"role":"user","conte',
    "trailing-comma": b'{"model":"big-model","messages":[],}',
    "garbage-behind": chat() + b"}",
    "single-quotes": b"{'model':'big-model'}",
    "nul-byte": b'{"model":"big\x00model","messages":[{"role":"user","content":"Hi"}]}',
    "invalid-utf8": b'{"model":"big-model","messages":[{"role":"user","content":"caf\xe9"}]}',
    "overlong-utf8": b'{"model":"big-model","messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "lone-surrogate": b'{"model":"big-model","messages":[{"role":"user","content":"\\ud83d"}]}',
    "swapped-surrogates": b'{"model":"big-model","messages":[{"role":"user","content":"\\ude00\\ud83d"}]}',
    "utf16": '{"model":"big-model"}'.encode("utf-16"),
    "nan": b'{"model":"big-model","messages":[{"role":"user","content":"Hi"}],"temperature":NaN}',
    "no-model": json.dumps({"messages": OK}).encode(),
    "empty-model": chat(model=""),
    "model-is-a-number": chat(model=7),
    "model-is-null": chat(model=None),
    "no-messages": json.dumps({"model": BIG}).encode(),
    "empty-messages": chat(messages=[]),
    "messages-is-text": chat(messages="Hi"),
    "message-is-text": chat(messages=["Hi"]),
    "message-without-role": chat(messages=[{"content": "Hi"}]),
    "role-is-a-number": chat(messages=[{"role": 1, "content": "Hi"}]),
    "content-is-a-number": chat(messages=[{"role": "user", "content": 7}]),
    "stream-is-text": chat(stream="yes"),
    "max-tokens-is-text": chat(max_tokens="many"),
    "max-tokens-negative": chat(max_tokens=-5),   # -1 is llama.cpp's "no limit" and passes
    "max-tokens-fraction": chat(max_tokens=1.5),
    "max-tokens-huge": chat(max_tokens=10**30),
    "tools-is-text": chat(tools="all"),
    "stream-options-is-text": chat(stream=True, stream_options="usage"),
    "response-format-is-text": chat(response_format="json"),
    "duplicate-model": b'{"model":"big-model","model":"other","messages":[{"role":"user","content":"Hi"}]}',
    "duplicate-stream": b'{"model":"big-model","stream":false,%s,"stream":true}' % HI,
    "duplicate-messages": b'{"model":"big-model","messages":[{"role":"user","content":"Hi"}],"messages":[]}',
    "nesting-64": nested(64),
    "nesting-100000": nested(100_000),
    "too-many-messages": json.dumps({"model": BIG, "messages": OK * 20_001}).encode(),
    "too-many-tools": chat(tools=[{"type": "function", "function": {"name": f"f{i}"}} for i in range(513)]),
    "unknown-model": chat(model="big-modle"),
    "unknown-provider": chat(model="fakeclod/big-model"),
    "model-name-of-1-mb": chat(model="m" * 1_000_000),
    "model-name-with-newline": chat(model="big\r\nX-Evil: 1"),
}


# What the message must hold, whatever its golden says.
WORDS = {"unknown-model": "big-model", "unknown-provider": "fakecloud/big-model", "no-model": "auto",
         "cut-in-the-middle": "byte"}


@pytest.fixture(scope="module")
def shared():
    """One daemon for all requests that may not reach an upstream, and proof that none did."""
    from harness import Daemon
    upstream = imposter.Imposter()
    with Daemon(config(provider("fakecloud", upstream.base_url))) as one:
        yield one
        assert one.chat(model=BIG).status == 200, "the daemon still serves"
        assert len(upstream.chats) == 1
    upstream.close()


@pytest.mark.parametrize("name", BODIES)
def test_body(shared, name):
    answer = shared.post(BODIES[name])
    assert 400 <= answer.status < 500, answer.body[:300]
    assert answer.error["type"] and answer.error["message"]
    assert WORDS.get(name, "") in answer.error["message"], answer.error["message"]
    golden.answer(f"body-{name}", answer)


@pytest.mark.parametrize("name", ["big", "unicode", "escapes", "numbers", "nesting-40", "spaces"])
def test_odd_but_right(daemon, upstream, name):
    """What looks alarming and is fine must pass, untouched."""
    body = {
        "big": chat(messages=[{"role": "user", "content": "x" * 2_000_000}]),
        "unicode": chat(messages=[{"role": "user", "content": "naïve 日本語 🙂 \u202e"}]),
        "escapes": b'{"model":"big-model","messages":[{"role":"user","content":"\\u0041\\n\\"\\\\ \\ud83d\\ude00"}]}',
        "numbers": b'{"model":"big-model",%s,"seed":18446744073709551615,"x":1e308}' % HI,
        "nesting-40": nested(40),
        "spaces": b' \r\n\t{ "model" : "big-model" ,\n"messages":[ {"role":"user", "content":"Hi"} ] } \n',
    }[name]
    answer = daemon.post(body)
    assert answer.status == 200, answer.body[:300]
    sent, asked = upstream.chats[0].json, json.loads(body)
    sent.pop("stream_options", None)
    assert sent == asked


def test_model_that_nobody_listed_goes_to_the_provider_that_was_named(daemon, upstream):
    """A list in the configuration isn't a border: `provider/model` says where to, and the provider knows its models."""
    assert daemon.chat(model="fakecloud/brand-new").status == 200
    assert upstream.chats[0].json["model"] == "brand-new"


def test_25_mb_arrive_whole(daemon, upstream):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 25_000_000}}
    answer = daemon.chat([{"type": "text", "text": "What?"}, image], model=BIG)
    assert answer.status == 200, answer.body[:300]
    assert len(upstream.chats[0].body) > 25_000_000
    assert upstream.chats[0].json["messages"][0]["content"][1] == image


def test_25_mb_are_refused_where_configured(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url), server='max_body = "1 MB"'))
    answer = one.chat("x" * 25_000_000, model=BIG)
    assert answer.status == 413 and upstream.chats == []
    golden.answer("body-over-a-configured-limit", answer)


def test_65_mb_are_refused_at_once(shared):
    with socket.create_connection(("127.0.0.1", shared.port)) as sock:
        begin = time.monotonic()
        sock.sendall(POST + b"Content-Type: application/json\r\nContent-Length: 68157440\r\n\r\n{")
        sock.settimeout(patience(2))
        head = sock.recv(65536)
    assert head.startswith(b"HTTP/1.1 413 "), head[:200]
    assert time.monotonic() - begin < patience(0.5), "it waited for a body it refuses"
    golden.check("body-65-mb", head.decode(), (r"Date: .*", "Date: NOW"))


def test_65_mb_chunked_are_refused(shared):
    with socket.create_connection(("127.0.0.1", shared.port)) as sock:
        sock.settimeout(patience(10))
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        sent, answer = 0, b""
        try:
            for _ in range(300):
                sock.sendall(piece)
                sent += 1
        except OSError:
            pass
        try:
            answer = sock.recv(65536)
        except OSError:
            pass
    assert 60 < sent < 150, f"{sent} MB were taken where 64 is the limit"
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 "), answer[:200]


def test_expect_100_of_too_much_is_refused_before_it_is_sent(shared):
    answer = raw(shared.port,
                 POST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_expect_100_continues(shared):
    body = chat(model="nope")
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", shared.port), timeout=patience(5)) as sock:
        sock.sendall(head)
        assert sock.recv(1024).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_gzip_body(daemon, upstream):
    answer = daemon.post(gzip.compress(chat()), {"Content-Encoding": "gzip"})
    assert answer.status == 200
    sent = upstream.chats[0]
    assert sent.json["messages"] == OK and sent.header("content-encoding") is None


def test_gzip_bomb(shared):
    answer = shared.post(gzip.compress(b" " * 200_000_000, 9), {"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert rss_kib(shared.pid) < 400_000
    golden.answer("body-gzip-bomb", answer)


def test_gzip_that_is_not(shared):
    golden.answer("body-gzip-broken", shared.post(b"not gzip at all", {"Content-Encoding": "gzip"}))


def test_unknown_encoding(shared):
    answer = shared.post(chat(), {"Content-Encoding": "sdch"})
    assert answer.status == 415 or answer.status == 400
    golden.answer("body-unknown-encoding", answer)


def test_chunked_body(daemon, upstream):
    body = chat()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7))
    answer = raw(daemon.port,
                 POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                 + pieces + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Hello from the cloud." in answer
    assert upstream.chats[0].json["messages"] == OK and not upstream.chats[0].chunked


# ---------------------------------------------------------------- URLs and heads

@pytest.mark.parametrize("name, method, path", [
    ("unknown-path", "GET", "/v1/nothing"), ("root-of-nothing", "GET", "/wp-admin.php"),
    ("wrong-method", "GET", "/v1/chat/completions"),
    ("delete-models", "DELETE", "/v1/models"), ("unknown-model-page", "GET", "/v1/models/big-modl"),
    ("escaping-path", "GET", "/v1/models/../../etc/passwd"), ("explain-of-nothing", "GET", "/intertie/v1/explain/zzz")])
def test_url(shared, name, method, path):
    answer = shared.request(method, path)
    assert answer.status in (400, 404, 405)
    golden.answer(f"url-{name}", answer)


def test_hints_that_make_no_sense(shared):
    for name, value in (("Place", "moon"), ("Max-Cost", "free"), ("Max-Cost", "-1"), ("Max-Cost", "nan"),
                        ("Deadline", "soon")):
        answer = shared.chat(model=BIG, headers={f"X-Intertie-{name}": value})
        assert answer.status == 400 and f"X-Intertie-{name}" in answer.error["message"], (name, value)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADS = {
    "two-lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + SMUGGLED, {400}),
    "length-and-chunked": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
                           {400}),
    "chunked-twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
                      {400, 501}),
    "chunked-not-last": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED, {400, 501}),
    "unknown-transfer-coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400, 501}),
    "space-before-colon": (POST + b"Content-Length : 5\r\n\r\nhello" + SMUGGLED, {400}),
    "length-with-plus": (POST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED, {400}),
    "length-in-hex": (POST + b"Content-Length: 0x5\r\n\r\nhello" + SMUGGLED, {400}),
    "length-negative": (POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED, {400}),
    "length-list": (POST + b"Content-Length: 5, 5\r\n\r\nhello" + SMUGGLED, {400}),
    "length-overflow": (POST + b"Content-Length: 18446744073709551621\r\n\r\nhello" + SMUGGLED, {400, 413}),
    "chunk-size-overflow": (POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"
                            + SMUGGLED, {400, 413}),
    "chunk-size-garbage": (POST + b"Transfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "bare-lf-in-chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + SMUGGLED, {400}),
    "folded-header": (GET + b"Host: localhost\r\nX-A: 1\r\n 2\r\n\r\n", {400}),
    "nul-in-header": (GET + b"Host: localhost\r\nX-A: a\x00b\r\n\r\n", {400}),
    "bare-cr-in-header": (GET + b"Host: localhost\r\nX-A: a\rX-B: b\r\n\r\n", {400}),
    "no-host": (GET + b"\r\n", {400}),
    "two-hosts": (GET + b"Host: 127.0.0.1\r\nHost: evil.example\r\n\r\n", {400}),
    "not-http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", {400, 0}),
    "http-0.9": (b"GET /healthz\r\n\r\n", {400, 505}),
    "http-2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "method-of-1-kb": (b"A" * 1024 + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405, 404, 501}),
    "space-in-path": (b"GET /heal thz HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 505}),
    "header-bomb-count": (GET + b"Host: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(500)) + b"\r\n",
                          {431}),
    "header-bomb-size": (GET + b"Host: localhost\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n", {431}),
    "header-without-end": (GET + b"Host: localhost\r\nX-Big: " + b"a" * 100_000, {431}),
    "path-of-100-kb": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414, 431}),
}


@pytest.mark.parametrize("name", HEADS)
def test_head(shared, name):
    data, wanted = HEADS[name]
    answer = raw(shared.port, data, seconds=3)
    assert status_of(answer) in wanted, answer[:300]
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer)) <= 1, "a second request was read out of the first: smuggled"
    assert b"smuggled" not in answer
    if answer.startswith(b"HTTP/1.1 4") and b"application/json" in answer:
        golden.check(f"head-{name}", answer.decode("latin-1"), (r"Date: .*", "Date: NOW"))


def test_pipelined_requests_are_answered_in_order(shared):
    requests = b"".join(b"GET /v1/models/m%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(20))
    answer = raw(shared.port, requests, seconds=1)
    at = [answer.find(b"`m%d`" % i) if b"`m0`" in answer else answer.find(b"m%d" % i) for i in range(20)]
    assert answer.count(b"HTTP/1.1 404") == 20 and -1 not in at and at == sorted(at)


def test_keep_alive_serves_many(shared):
    connection = shared.connection()
    for _ in range(200):
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        assert response.status == 200 and response.read()
    connection.close()


def test_foreign_host_is_refused(shared):
    """A web page that resolved its own name to 127.0.0.1 (DNS rebinding) must get nothing."""
    answer = shared.get("/v1/models", headers={"Host": "evil.example"})
    assert answer.status in (400, 403, 421)
    golden.answer("head-foreign-host", answer)


def test_foreign_origin_is_refused(shared):
    answer = shared.post(chat(), {"Origin": "https://evil.example"})
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    golden.answer("head-foreign-origin", answer)


def test_head_request_has_no_body(shared):
    answer = raw(shared.port, b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and body == b""


# ---------------------------------------------------------------- slow clients and many clients

@pytest.fixture(scope="module", autouse=True)
def slow_clients(request):
    """The limits for slow clients are 10 s for a head and 30 s for a silent body: both are slow while the rest of this
    file runs, and the tests at its end collect what became of them."""
    if not [i for i in request.session.items if i.name in ("test_slow_head_is_cut", "test_silent_body_is_cut")]:
        yield None
        return
    from harness import Daemon
    ends: dict[str, tuple[float, bytes]] = {}
    with Daemon(config()) as one:
        def drip_head() -> None:
            begin = time.monotonic()
            with socket.create_connection(("127.0.0.1", one.port), timeout=0.25) as sock:
                answer = b""
                sock.sendall(GET + b"Host: localhost\r\nX-Slow: ")
                while time.monotonic() - begin < patience(30):
                    try:
                        sock.sendall(b"a")
                        answer = sock.recv(65536)
                        break
                    except TimeoutError:
                        continue
                    except OSError:
                        break
            ends["head"] = (time.monotonic() - begin, answer)

        def hold_body() -> None:
            begin = time.monotonic()
            answer = raw(one.port, POST + b"Content-Length: 1000\r\n\r\n{", seconds=60)
            ends["body"] = (time.monotonic() - begin, answer)
        threads = [threading.Thread(target=t) for t in (drip_head, hold_body)]
        for thread in threads:
            thread.start()
        yield ends, threads
        for thread in threads:
            thread.join()


def test_client_that_does_not_read_is_bounded(daemon, upstream):
    """A client that stops reading slows its own upstream down; it doesn't fill the daemon's memory."""
    filler = imposter.event(imposter.chunk(BIG, {"content": "x" * 60_000}))
    upstream.then(imposter.stream([filler] * 2000))
    before = rss_kib(daemon.pid)
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        body = chat(stream=True)
        sock.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(1.5)
        assert rss_kib(daemon.pid) - before < 16_000, "120 MB of events were buffered for a client that doesn't read"
    assert upstream.wait_chats(1)[0].ended.wait(patience(3)), "upstream went on after the client was gone"


@pytest.mark.limit(100)
def test_ten_thousand_idle_connections(make, upstream):
    count = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= count + 500, \
        f"ulimit -Hn is {hard}; fix: raise it over {count + 500}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 400 if hard == resource.RLIM_INFINITY
                                                else min(hard, count + 400), hard))
    one = make(config(provider("fakecloud", upstream.base_url)))
    assert one.chat(model=BIG).status == 200
    before, sockets = rss_kib(one.pid), []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", one.port), timeout=patience(5)))
        for sock in sockets:
            sock.sendall(GET + b"Host: localhost\r\n\r\n")
        for sock in sockets:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        each = (rss_kib(one.pid) - before) / count
        print(f"{each:.2f} KiB of resident memory per idle connection")
        begin = time.monotonic()
        assert one.chat(model=BIG).status == 200
        assert time.monotonic() - begin < patience(0.5), "slow beside idle connections"
        assert each <= 4.0 * (6 if patience(1) > 1 else 1), f"{each:.2f} KiB per idle connection"
    finally:
        for sock in sockets:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: one.get("/healthz").status == 200, 5, "health after the crowd left")


# ---------------------------------------------------------------- upstreams that misbehave

UPSTREAM = {
    "400": imposter.error(400, "Unsupported value: 'temperature'", code="unsupported_value", param="temperature"),
    "401": imposter.error(401, "Incorrect API key provided", code="invalid_api_key"),
    "402": imposter.error(402, "Insufficient balance", code="insufficient_balance"),
    "403": imposter.error(403, "Country not supported", code="unsupported_country"),
    "404": imposter.error(404, "The model does not exist", code="model_not_found"),
    "413": imposter.error(413, "Request too large", code="request_too_large"),
    "429": imposter.error(429, "Rate limit reached", code="rate_limit_exceeded", headers={"Retry-After": "17"}),
    "429-quota": imposter.error(429, "You exceeded your current quota", type="insufficient_quota",
                                code="insufficient_quota"),
    "500": imposter.error(500, "The server had an error", type="server_error"),
    "503": imposter.error(503, "Overloaded", type="server_error"),
    "529": imposter.error(529, "Overloaded", type="overloaded_error"),
    "418": imposter.error(418, "I'm a teapot"),
    "302": imposter.whole(302, b"", "text/html", {"Location": "http://127.0.0.1:1/"}),
    "204": imposter.raw(b"HTTP/1.1 204 No Content\r\n\r\n", "keep"),
    "html-502": imposter.html(502),
    "html-200": imposter.html(200),
    "html-503-as-json": imposter.whole(503, b"<html>down</html>"),
    "garbage": imposter.raw(b"\x00\x01\x02 this is no HTTP\r\n\r\n"),
    "not-json": imposter.whole(200, b"certainly! here is your answer"),
    "json-cut": imposter.whole(200, b'{"id":"x","choices":[{"index":0,"mess'),
    "json-array": imposter.json_answer([1, 2, 3]),
    "json-without-choices": imposter.json_answer({"id": "x", "object": "chat.completion"}),
    "error-with-200": imposter.json_answer({"error": {"message": "model is loading", "type": "server_error",
                                                      "code": None}}),
    "closed-at-once": imposter.raw(b""),
    "reset-at-once": imposter.raw(b"", "rst"),
    "cut-in-the-head": imposter.raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "cut-in-the-body": imposter.wrong_length(+10),
    "stall-before-the-head": lambda wire, _: wire.stall(),
    "stall-in-the-body": imposter.raw(JSON_HEAD + b'Content-Length: 500\r\n\r\n{"id"', "stall"),
    "header-bomb": imposter.raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"),
    "length-and-chunked": imposter.raw(JSON_HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                                       b"2\r\n{}\r\n0\r\n\r\n"),
    "two-lengths": imposter.raw(JSON_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"),
}


# Upstream's own words reach the client that caused them. All others must say who failed: refused keys above all, since
# it isn't the client's key that is wrong.
RELAYED = {"400", "404", "413", "418", "429", "500", "503", "529", "error-with-200"}


def level_ports(upstream) -> tuple[str, str]:
    return str(upstream.port), "PORT"


@pytest.mark.parametrize("name", UPSTREAM)
def test_upstream(make, upstream, name):
    upstream.then(UPSTREAM[name])
    one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
    answer = one.chat(model=BIG)
    assert answer.status >= 400 and answer.headers["content-type"].startswith("application/json")
    assert answer.error["message"] and answer.error["type"]
    assert answer.seconds < patience(4)
    assert KEY not in answer.body.decode() + one.stderr
    if name not in RELAYED:
        assert "fakecloud" in answer.error["message"], "who failed?"
    golden.answer(f"upstream-{name}", answer, level_ports(upstream))


BEGUN = imposter.text_events("half an answer is here", BIG)[:3]
STREAMS = {
    "cut": imposter.stream(BEGUN, pace=0.03, end="cut"),
    "reset": imposter.stream(BEGUN, pace=0.03, end="reset"),
    "stall": imposter.stream(BEGUN, pace=0.03, end="stall"),
    "garbage-event": imposter.stream([*BEGUN, b"data: {not json\n\n"], pace=0.03),
    "html-event": imposter.stream([*BEGUN, b"<html>502</html>\n\n"], pace=0.03, end="cut"),
    "error-event": imposter.stream([*BEGUN, imposter.event({"error": {
        "message": "engine fell over", "type": "server_error", "code": "oops", "param": None}})], pace=0.03),
    "nothing": imposter.stream([]),
    "only-done": imposter.stream([imposter.DONE]),
    "cut-at-once": imposter.stream([], end="cut"),
    "error-at-once": imposter.stream([imposter.event({"error": {"message": "engine fell over",
                                                                "type": "server_error"}})]),
    "bad-chunk-size": imposter.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
}
NOT_BEGUN = {"nothing", "only-done", "cut-at-once", "error-at-once", "bad-chunk-size"}


@pytest.mark.parametrize("name", STREAMS)
def test_broken_stream(make, upstream, name):
    """After the first byte: what came, then an error event, then [DONE]; no silent cut, no fake normal finish. Before
    it: a plain error, with its status."""
    upstream.then(STREAMS[name])
    one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
    answer = one.chat(model=BIG, stream=True)
    assert answer.seconds < patience(4)
    if name in NOT_BEGUN:
        assert answer.status in (502, 504) and answer.error["message"], answer.body
    else:
        assert answer.status == 200 and answer.streamed_text == "half an", answer.body
        assert answer.events[-1] == "[DONE]" and answer.events.count("[DONE]") == 1
        assert set(answer.events[-2]) == {"error"} and answer.events[-2]["error"]["message"]
        assert not [c for e in answer.events[:-2] for c in e["choices"] if c.get("finish_reason")]
    golden.answer(f"stream-{name}", answer, level_ports(upstream))


@pytest.mark.parametrize("end", ["cut", "reset", "stall"])
def test_broken_stream_for_a_client_that_did_not_stream(make, upstream, end):
    """Nothing was sent yet, so the client gets a plain error, never half an answer as a whole one."""
    upstream.then(imposter.stream(imposter.text_events("half an answer", BIG)[:3], end=end))
    one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
    answer = one.chat(model=BIG)
    assert answer.status in (502, 504) and answer.error["message"]
    assert b"half" not in answer.body


def test_upstream_refuses_connections(make):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        one = make(config(provider("fakecloud", f"http://127.0.0.1:{sock.getsockname()[1]}/v1", extra=IMPATIENT)))
        answer = one.chat(model=BIG)
    assert answer.status in (502, 503)
    golden.answer("upstream-refuses-connections", answer, (r"127\.0\.0\.1:\d+", "ADDRESS"))


def test_upstream_name_does_not_exist(make):
    one = make(config(provider("fakecloud", "http://nowhere.invalid/v1", extra=IMPATIENT)))
    answer = one.chat(model=BIG, timeout=40)
    assert answer.status in (502, 503) and "nowhere.invalid" in answer.error["message"]


def test_upstream_drips_and_is_heard_out(daemon, upstream):
    body = json.dumps(imposter.completion("slow but fine", BIG)).encode()
    upstream.then(imposter.drip(imposter.head(200, {"Content-Type": "application/json",
                                                    "Content-Length": str(len(body))}) + body, 0.002, 3))
    assert daemon.chat(model=BIG).text == "slow but fine"


def test_upstream_closes_after_each_answer(daemon, upstream):
    """A pooled connection that died is replaced without the client hearing of it."""
    def once(wire, request):
        imposter.json_answer(imposter.completion("again", BIG))(wire, request)
        wire.finish()
    upstream.then(once)
    assert [daemon.chat(model=BIG).status for _ in range(10)] == [200] * 10


def test_answer_without_length_ends_at_close(daemon, upstream):
    body = json.dumps(imposter.completion("until close", BIG)).encode()
    upstream.then(imposter.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body))
    assert daemon.chat(model=BIG).text == "until close"


def test_missing_key(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url, key="env:NO_SUCH_KEY")))
    answer = one.chat(model=BIG)
    assert upstream.chats == []
    assert "NO_SUCH_KEY" in one.cli("providers", "list").out, "the list says which variable is missing"
    golden.answer("missing-key", answer)


def test_no_model_at_all(make):
    one = make(config())
    answer = one.chat()
    assert answer.status == 503
    golden.answer("no-model-at-all", answer)
    assert one.get("/readyz").status == 503 and one.get("/healthz").status == 200


def test_concurrent_bad_and_good(daemon):
    """Bad requests beside good ones on the same worker harm nobody."""
    failures: list[str] = []

    def good() -> None:
        for _ in range(30):
            if daemon.chat(model=BIG).status != 200:
                failures.append("good")

    def bad() -> None:
        for body in list(BODIES.values())[:30]:
            if not 400 <= daemon.post(body).status < 500:
                failures.append("bad")
    threads = [threading.Thread(target=t) for t in (good, bad, good, bad)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# ---------------------------------------------------------------- what became of the slow clients

def test_slow_head_is_cut(slow_clients):
    slow_clients[1][0].join()
    took, answer = slow_clients[0]["head"]
    assert 9 < took < patience(14), "the limit for a head is 10 s"
    assert answer.startswith(b"HTTP/1.1 408 ")
    golden.check("head-slow", answer.decode(), (r"Date: .*", "Date: NOW"))


def test_silent_body_is_cut(slow_clients):
    slow_clients[1][1].join()
    took, answer = slow_clients[0]["body"]
    assert 29 < took < patience(36), "the limit for a silent body is 30 s"
    assert answer.startswith(b"HTTP/1.1 408 ")
    golden.check("head-silent-body", answer.decode(), (r"Date: .*", "Date: NOW"))
