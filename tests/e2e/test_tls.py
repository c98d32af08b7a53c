"""Clouds over HTTPS: a private CA that was configured, one that was not, and a proxy in between."""
import socket
import threading

import pytest

import golden
import imposter
from harness import IMPATIENT, KEY, config, provider

BIG = "big-model"


@pytest.fixture
def secure(certificates):
    upstream = imposter.Imposter(tls=certificates)
    yield upstream
    upstream.close()


def test_private_ca(make, secure, certificates):
    one = make(config(provider("fakecloud", secure.base_url, extra=f'ca_file = "{certificates.ca}"')))
    assert one.chat(model=BIG).text == "Hello from the cloud."
    assert one.chat(model=BIG, stream=True).streamed_text == "Hello from the cloud."
    assert len({r.connection for r in secure.chats}) == 1, "the connection is kept for the next request"


def test_certificate_of_nobody_is_refused(make, secure):
    one = make(config(provider("fakecloud", secure.base_url, extra=IMPATIENT)))
    answer = one.chat(model=BIG)
    assert answer.status >= 500 and secure.chats == [] and "certificate" in answer.error["message"]
    golden.answer("tls-untrusted", answer)


def test_certificate_for_another_name_is_refused(make, secure, certificates):
    """It names localhost and 127.0.0.1, not 127.0.0.2."""
    other = secure.base_url.replace("localhost", "127.0.0.2")
    listener = socket.create_server(("127.0.0.2", secure.port))

    def relay() -> None:
        try:
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", secure.port))
                for a, b in ((here, there), (there, here)):
                    threading.Thread(target=pump, args=(a, b), daemon=True).start()
        except OSError:
            return

    def pump(a, b) -> None:
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        finally:
            b.close()
    threading.Thread(target=relay, daemon=True).start()
    one = make(config(provider("fakecloud", other, extra=f'ca_file = "{certificates.ca}"\n{IMPATIENT}')))
    answer = one.chat(model=BIG)
    listener.close()
    assert answer.status >= 500 and secure.chats == []


def test_plain_http_server_behind_https_url(make, second, certificates):
    one = make(config(provider("fakecloud", second.base_url.replace("http:", "https:"),
                               extra=f'ca_file = "{certificates.ca}"\n{IMPATIENT}')))
    assert one.chat(model=BIG).status >= 500 and second.chats == []


def test_cancel_reaches_upstream_through_tls(make, secure, certificates):
    import time
    from harness import patience
    secure.then(imposter.text("word " * 500, pace=0.02))
    one = make(config(provider("fakecloud", secure.base_url, extra=f'ca_file = "{certificates.ca}"')))
    connection, response = one.open_stream(model=BIG)
    response.read1(512)
    response.close()
    connection.close()
    begin = time.monotonic()
    assert secure.chats[0].ended.wait(patience(2)) and time.monotonic() - begin < patience(0.3)


def test_https_goes_through_the_proxy_of_the_environment(make, secure, certificates):
    """CONNECT, then TLS inside: the proxy sees the host's name and no key."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def proxy() -> None:
        try:
            here, _ = listener.accept()
        except OSError:
            return
        head = b""
        while b"\r\n\r\n" not in head:
            head += here.recv(4096)
        seen.append(head)
        there = socket.create_connection(("127.0.0.1", secure.port))
        here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def pump(a, b) -> None:
            try:
                while data := a.recv(65536):
                    seen.append(data)
                    b.sendall(data)
            except OSError:
                pass
        threading.Thread(target=pump, args=(there, here), daemon=True).start()
        pump(here, there)
    threading.Thread(target=proxy, daemon=True).start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # Loopback never goes through a proxy, so the provider has a name; the proxy decides where that is.
    one = make(config(provider("fakecloud", f"https://cloud.example:{secure.port}/v1",
                               extra=f'ca_file = "{certificates.ca}"\n{IMPATIENT}')),
               environment={"HTTPS_PROXY": address})
    answer = one.chat(model=BIG)
    listener.close()
    assert seen and seen[0].startswith(b"CONNECT cloud.example:%d HTTP/1.1\r\n" % secure.port)
    assert KEY.encode() not in b"".join(seen)
    assert answer.status >= 500 and "certificate" in answer.error["message"], "it names localhost, not cloud.example"
