"""The ways in: sockets that systemd hands over, the unix socket, and clients that hold a door open."""
import os
import signal
import socket
import threading
import time

import pytest

import golden
from harness import Daemon, Home, config, patience, provider, raw, until

BIG = "big-model"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


# ---------------------------------------------------------------- sockets handed over

@pytest.fixture
def waiting():
    """Bound and listening before any daemon runs, as systemd holds it."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def read_all(sock: socket.socket) -> bytes:
    answer = b""
    while piece := sock.recv(65536):
        answer += piece
    return answer


def test_the_first_request_waits_for_the_daemon(make, waiting, upstream):
    """It connects before anything serves; the daemon answers it, on that port and not the configured one."""
    port = waiting.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port), timeout=patience(10)) as early:
        early.sendall(HEALTH)
        one = make(config(provider("fakecloud", upstream.base_url), listen="127.0.0.1:1"), hand_over=(waiting,))
        assert read_all(early).startswith(b"HTTP/1.1 200 ")
    assert one.port == port
    assert one.chat(model=BIG).text == "Hello from the cloud."
    assert one.get("/healthz", unix=True).status == 200, "the unix socket is there as always"
    assert f"listening on http://127.0.0.1:{port}\n" in one.lines


def test_the_socket_outlives_the_daemon(make, waiting):
    """systemd listens on while the service is down: a request of that time is answered by the next daemon."""
    port = waiting.getsockname()[1]
    for _ in range(2):
        one = make(config(), hand_over=(waiting,))
        assert one.get("/healthz").status == 200
        one.stop()
    with socket.create_connection(("127.0.0.1", port), timeout=patience(10)) as between:
        between.sendall(HEALTH)
        make(config(), hand_over=(waiting,))
        assert read_all(between).startswith(b"HTTP/1.1 200 ")


def test_tcp_and_unix_are_handed_over_together(make, waiting):
    """The unix socket may be the very one of the configuration: nobody is in the daemon's way then."""
    home = Home()
    home.socket.parent.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(home.socket))
            unix.listen()
            one = make(config(), home=home, hand_over=(waiting, unix))
            assert one.get("/healthz").status == one.get("/healthz", unix=True).status == 200
            assert "another program" not in one.stderr and f"listening on unix:{home.socket}\n" in one.lines
            with pytest.raises(AssertionError, match="left behind"):   # it is systemd's to remove
                one.stop()
            assert home.socket.exists()
    finally:
        home.remove()


def test_several_threads_share_what_was_handed_over(make, waiting):
    with socket.create_server(("127.0.0.1", 0)) as second:
        one = make(config(server="io_threads = 2"), hand_over=(waiting, second))
        for sock in (waiting, second):
            assert raw(sock.getsockname()[1], HEALTH).startswith(b"HTTP/1.1 200 ")
        assert [line for line in one.lines if line.startswith("listening on http")] == [
            f"listening on http://127.0.0.1:{s.getsockname()[1]}\n" for s in (waiting, second)]


def test_what_was_meant_for_another_process_is_left_alone(make, waiting):
    one = make(config(), hand_over=(waiting,), environment={"TEST_LISTEN_PID": "1"})
    assert one.port != waiting.getsockname()[1]
    assert one.get("/healthz").status == 200


def refusal(hand_over: socket.socket) -> str:
    one = Daemon(config(), hand_over=(hand_over,), start=False)
    try:
        with pytest.raises(AssertionError, match="before it listened"):
            one.start()
        assert one.process.returncode not in (0, None)
        one.process = None
        return one.stderr
    finally:
        one.close()


def test_a_socket_for_everyone_is_refused():
    """[server] listen refuses such an address; a .socket unit may not bring it in by the back door."""
    with socket.create_server(("0.0.0.0", 0)) as one:
        golden.check("activation-for-everyone", refusal(one), (r":\d{4,5}", ":PORT"))


def test_a_socket_for_everyone_is_refused_on_ipv6():
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as one:
        golden.check("activation-for-everyone-ipv6", refusal(one), (r":\d{4,5}", ":PORT"))


def test_a_connection_is_no_listener():
    """Accept=yes in the unit hands over connections."""
    here, there = socket.socketpair()
    with here, there:
        golden.check("activation-connection", refusal(here))


def test_systemd_hears_of_readiness_and_of_the_end(make):
    home = Home()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(home.root / "notify"))
            told.settimeout(patience(5))
            one = make(config(), home=home, environment={"NOTIFY_SOCKET": str(home.root / "notify")})
            assert told.recv(4096) == b"READY=1"
            one.stop(signal.SIGTERM)
            assert told.recv(4096) == b"STOPPING=1"
    finally:
        home.remove()


# ---------------------------------------------------------------- the unix socket

@pytest.mark.parametrize("headers, status", [
    ({"Host": "evil.example"}, 200),            # no DNS leads to a file: there is nothing to rebind
    ({"Host": ""}, 200),
    ({"Origin": "https://evil.example"}, 403),  # a page got through by way of some proxy
    ({"Origin": "http://localhost.evil.example"}, 403),
    ({"Origin": "http://localhost:3000"}, 200),
    ({"Origin": "null"}, 200),
    ({"Host": "evil.example", "Origin": "https://evil.example"}, 403),
])
def test_host_and_origin_on_the_unix_socket(daemon, headers, status):
    answer = daemon.request("GET", "/v1/models", headers=headers, unix=True)
    assert answer.status == status, answer.body
    assert "access-control-allow-origin" not in answer.headers
    if status == 403:
        assert answer.error["code"] == "forbidden"


def test_host_counts_on_tcp(daemon):
    """The control of the test above: the same Host is refused where DNS could lead."""
    assert daemon.get("/v1/models", headers={"Host": "evil.example"}).status == 403
    assert daemon.get("/v1/models", headers={"Host": ""}).status == 400


def test_a_unix_socket_without_host_is_still_http_1_1(daemon):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience(5))
        sock.connect(str(daemon.home.socket))
        sock.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 "), "RFC 9112, 3.2: Host must be there"


# ---------------------------------------------------------------- bodies that drip

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def drip(port: int, head: bytes, piece: bytes, seconds: float) -> tuple[float, bytes]:
    """Sends `piece` every 50 ms until an answer comes: (when, the answer)."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as sock:
        sock.sendall(POST + head)
        while time.monotonic() - begin < seconds:
            try:
                sock.sendall(piece)
                return time.monotonic() - begin, sock.recv(65536)
            except TimeoutError:
                continue
    return seconds, b""


@pytest.mark.parametrize("name, head, piece", [
    ("length", b"Content-Length: 1000000\r\n\r\n", b" "),
    ("chunked", b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ("chunk-extensions", b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
])
def test_a_body_that_drips_is_cut(make, name, head, piece):
    """Each byte comes well before the limit for silence; the body as a whole has a limit too."""
    one = make(config(server='max_body_time = "1s"'))
    took, answer = drip(one.port, head, piece, patience(8))
    assert answer.startswith(b"HTTP/1.1 408 "), (took, answer)
    assert 0.9 < took < patience(3)
    golden.check("body-drips", answer.decode())


def test_many_drips_hold_up_nobody(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url), server='max_body_time = "1s"'))
    ends: list[bytes] = []
    threads = [threading.Thread(target=lambda: ends.append(
        drip(one.port, b"Content-Length: 1000000\r\n\r\n", b" ", patience(8))[1])) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert one.chat(model=BIG).status == 200
    for thread in threads:
        thread.join()
    assert len(ends) == 40 and all(e.startswith(b"HTTP/1.1 408 ") for e in ends)
    until(lambda: len(os.listdir(f"/proc/{one.pid}/fd")) < 30, 5, "the descriptors of the drips come back")


def test_a_slow_body_within_the_limit_is_heard_out(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url), server='max_body_time = "20s"'))
    body = b'{"model":"big-model","messages":[{"role":"user","content":"Hi"}]}'
    with socket.create_connection(("127.0.0.1", one.port), timeout=patience(10)) as sock:
        sock.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(len(body)):
            sock.sendall(body[at:at + 1])
            time.sleep(0.02)
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")
