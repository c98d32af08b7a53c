"""What other people's servers may send without being asked (gzip), and `providers test` against a real one."""
import gzip
import json
import zlib

import pytest

import golden
import imposter
from harness import IMPATIENT, MODEL, MODEL_NAME, config, patience, provider, rss_kib

BIG = "big-model"


def compressed(inner, coding: str = "gzip", status: int = 200, content_type: str = "application/json",
               cut: int | None = None) -> imposter.Answer:
    """A JSON document, compressed; `cut` drops that many bytes of its end, with a length that fits."""
    plain = inner if isinstance(inner, bytes) else json.dumps(inner).encode()
    body = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](plain)
    body = body[:len(body) - cut] if cut else body
    return imposter.whole(status, body, content_type, {"Content-Encoding": coding})


def compressed_stream(events: list[bytes], pace: float = 0.0, flush: int = zlib.Z_SYNC_FLUSH,
                      cut: bool = False) -> imposter.Answer:
    """Events as gzipped chunked SSE, flushed one by one; `cut` ends before gzip's own end."""
    def answer(wire: imposter.Wire, _: imposter.Request) -> None:
        packer = zlib.compressobj(wbits=31)
        wire.send(imposter.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked",
                                      "Content-Encoding": "gzip"}))
        for one in events:
            if piece := packer.compress(one) + packer.flush(flush):
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.pause(pace)
        if not cut:
            last = packer.flush()
            wire.send(b"%x\r\n%s\r\n" % (len(last), last))
        wire.send(b"0\r\n\r\n")
    return answer


ANSWER = imposter.completion("Hello, packed.", BIG)
EVENTS = imposter.text_events("one two three four", BIG)


def test_compression_is_not_asked_for(daemon, upstream):
    assert daemon.chat(model=BIG).status == 200
    assert upstream.chats[0].header("accept-encoding") in (None, "identity")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_answer_is_unpacked(daemon, upstream, coding):
    upstream.then(compressed(ANSWER, coding))
    answer = daemon.chat(model=BIG)
    assert answer.json == ANSWER
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert daemon.chat(model=BIG).text == "Hello, packed."
    assert len({r.connection for r in upstream.chats}) == 1, "the connection is kept"


@pytest.mark.parametrize("streamed", [True, False])
def test_a_compressed_stream_is_unpacked(daemon, upstream, streamed):
    upstream.then(compressed_stream(EVENTS))
    answer = daemon.chat(model=BIG, stream=streamed)
    assert (answer.streamed_text if streamed else answer.text) == "one two three four"
    assert "content-encoding" not in answer.headers
    if streamed:
        assert answer.events[-1] == "[DONE]" and answer.events.count("[DONE]") == 1


def test_a_compressed_stream_arrives_while_it_is_made(daemon, upstream):
    """What is flushed upstream is passed on, not held until the end."""
    upstream.then(compressed_stream(EVENTS, pace=0.3))
    connection, response = daemon.open_stream(model=BIG)
    first = response.read1(65536)
    assert b"data: " in first and b"four" not in first
    assert not upstream.chats[0].answered
    assert b"[DONE]" in response.read()
    connection.close()


def test_a_compressed_refusal_is_read(daemon, upstream):
    """The error's own words reach the client, unpacked."""
    upstream.then(compressed({"error": {"message": "Unsupported value", "type": "invalid_request_error",
                                        "param": "temperature", "code": "unsupported_value"}}, status=400))
    answer = daemon.chat(model=BIG)
    assert answer.status == 400 and answer.error["code"] == "unsupported_value"


BROKEN = {
    "not-gzip": imposter.whole(200, b"certainly not", headers={"Content-Encoding": "gzip"}),
    "cut": compressed(ANSWER, cut=12),
    "brotli": imposter.whole(200, b"\x0b\x02\x80", headers={"Content-Encoding": "br"}),
    "stream-cut": compressed_stream(EVENTS[:3], cut=True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_compressed_answer(make, upstream, name):
    upstream.then(BROKEN[name])
    one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
    answer = one.chat(model=BIG)
    assert answer.status == 502 and "fakecloud" in answer.error["message"]
    golden.answer(f"compressed-{name}", answer)


def test_a_bomb_from_upstream_is_bounded(make, upstream):
    """300 MB of blanks in 300 kB: refused as too long, and never held in memory."""
    upstream.then(compressed(b" " * 300_000_000))
    one = make(config(provider("fakecloud", upstream.base_url)))
    before = rss_kib(one.pid)
    answer = one.chat(model=BIG)
    assert answer.status == 502
    assert rss_kib(one.pid) - before < 150_000
    golden.answer("compressed-bomb", answer)


def test_an_endless_refusal_is_still_a_refusal(make, upstream):
    """Only the status of an error counts when its body can't be read."""
    page = b"<html>" + b"x" * 3_000_000
    for status, body, expected in ((503, page, 503), (401, page, 401)):
        upstream.then(imposter.whole(status, body, "text/html"))
        one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
        answer = one.chat(model=BIG)
        assert answer.status == expected and "fakecloud" in answer.error["message"]
    upstream.then(imposter.raw(b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"))
    one = make(config(provider("fakecloud", upstream.base_url, extra=IMPATIENT)))
    assert one.chat(model=BIG).status == 503


# ---------------------------------------------------------------- providers test

def test_another_intertie_with_a_real_engine(make, local):
    """Our own daemon is the server that is tested, by its kind, over TCP and over its unix socket."""
    tcp = provider("office", f"{local.url}/v1", kind="intertie", place="edge", trust="T1", paid=False, key=None,
                   models=(MODEL_NAME,))
    unix = provider("shelf", f"unix:{local.home.socket}:/v1", kind="intertie", place="edge", trust="T1", paid=False,
                    key=None, models=())
    one = make(config(tcp, unix))
    for name in ("office", "shelf"):
        done = one.cli("providers", "test", name, timeout=60)
        assert done.code == 0, done.out + done.err
        steps = [line.split(None, 2) for line in done.out.splitlines() if line[:1].isalpha()]
        assert {s[1]: s[0] for s in steps if len(s) > 1 and s[1] in ("name", "connection", "key", "models", "answer")} \
            == {n: "ok" for n in ("name", "connection", "key", "models", "answer")}, done.out
    document = one.cli("providers", "test", "office", "--json", timeout=60)
    assert document.code == 0 and [s["state"] for s in document.json["steps"]].count("failed") == 0
    answer = one.chat("What is the capital of France?", model=f"office/{MODEL_NAME}", max_tokens=24, temperature=0)
    assert answer.status == 200 and answer.place == "edge" and "Paris" in answer.text


def test_another_intertie_without_that_model(make, local):
    wrong = provider("office", f"{local.url}/v1", kind="intertie", place="edge", trust="T1", paid=False, key=None,
                     models=("no-such-model",))
    done = make(config(wrong)).cli("providers", "test", "office", timeout=60)
    assert done.code != 0 and "no-such-model" in done.out
    golden.check("providers-test-wrong-model", done.out, (r"\d+ (models )?listed", "N listed"),
                 (r"for example: .*", "for example: …"))


def test_another_intertie_that_is_gone(make, engine):
    other = make(config(engine=engine, paid=False), models=[MODEL])
    text = config(provider("office", f"{other.url}/v1", kind="intertie", place="edge", trust="T1", paid=False, key=None))
    other.stop()
    done = make(text).cli("providers", "test", "office", timeout=patience(30))
    assert done.code != 0
    golden.check("providers-test-gone", done.out)
