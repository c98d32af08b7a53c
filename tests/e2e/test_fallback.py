"""When a leg fails: who is tried next, who is never tried, and what the client, the log and the receipt say."""
import concurrent.futures
import json
import re
import sqlite3
import time

import openai
import pytest

import golden
import imposter
from harness import IMPATIENT, config, patience, provider, until

BIG = "big-model"
MAIL = "Write to anna.schmidt@example-clinic.org about her appointment."


@pytest.fixture
def two(make, upstream, second):
    """Two clouds with the same model; `alpha` is preferred."""
    return make(config(provider("alpha", upstream.base_url, extra=IMPATIENT),
                       provider("beta", second.base_url, extra=IMPATIENT),
                       policy='prefer = ["alpha", "beta"]'))


def test_first_choice_answers_alone(two, upstream, second):
    answer = two.chat(model=BIG)
    assert answer.status == 200 and answer.headers["x-intertie-model"] == "alpha/big-model"
    assert (len(upstream.chats), len(second.chats)) == (1, 0)


FAULTS = {
    "500": imposter.error(500), "502-html": imposter.html(502), "503": imposter.error(503),
    "429": imposter.error(429, code="rate_limit_exceeded"),
    "529": imposter.error(529), "401": imposter.error(401), "402": imposter.error(402), "403": imposter.error(403),
    "reset": imposter.raw(b"", "rst"), "garbage": imposter.raw(b"\x00garbage\r\n\r\n"), "stall": lambda wire,
    _: wire.stall(),
    "html-200": imposter.html(200), "not-json": imposter.whole(200, b"nope"),
    "error-200": imposter.json_answer({"error": {"message": "loading"}}),
    "cut": imposter.wrong_length(+10), "quota": imposter.error(429, code="insufficient_quota"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAULTS)
def test_next_leg_answers(two, upstream, second, fault, stream):
    upstream.then(FAULTS[fault])
    answer = two.chat(model=BIG, stream=stream)
    assert answer.status == 200, answer.body[:300]
    assert (answer.streamed_text if stream else answer.text) == "Hello from the cloud."
    assert answer.headers["x-intertie-model"] == "beta/big-model"
    assert len(upstream.chats) >= 1 and len(second.chats) == 1
    receipt = two.explain(answer.decision)
    assert [(leg["provider"], bool(leg["failure"])) for leg in receipt["legs"]] == [("alpha", True), ("beta", False)]


@pytest.mark.parametrize("name, fault", [
    ("400", imposter.error(400, "bad value")), ("422", imposter.error(422, "bad value")),
    ("refusal", imposter.error(400, "Your request was rejected by the safety system", code="content_policy_violation")),
    ("filter", imposter.error(400, "filtered", code="content_filter"))])
def test_no_other_leg_for_what_is_wrong_everywhere(two, upstream, second, name, fault):
    """A client's fault fails everywhere alike; a provider's safety refusal is never routed around."""
    upstream.then(fault)
    answer = two.chat(model=BIG)
    assert answer.status == 400 and len(upstream.chats) == 1 and second.chats == []


def retries(daemon) -> dict[str, int]:
    text = daemon.get("/metrics").body.decode()
    return {m[1]: int(m[2]) for m in re.finditer(r'intertie_retries_total{result="(\w+)"} (\d+)', text)}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["502-html", "503", "504", "529", "reset", "closed"])
def test_what_passes_is_asked_once_more(two, upstream, second, fault, stream):
    faults = {**FAULTS, "504": imposter.error(504), "closed": imposter.raw(b"", "fin")}
    upstream.then(faults[fault], imposter.text())
    answer = two.chat(model=BIG, stream=stream)
    assert answer.status == 200 and answer.headers["x-intertie-model"] == "alpha/big-model"
    assert len(upstream.chats) == 2 and upstream.chats[0].body == upstream.chats[1].body and second.chats == []
    leg, = two.explain(answer.decision)["legs"]
    assert leg["failure"] is None and leg["attempts"] == 2 and "alpha" in leg["retried_after"]
    assert retries(two) == {"answered": 1, "failed": 0, "over_budget": 0}
    assert "attempt 2" in two.cli("explain", answer.decision).out


def test_what_does_not_pass_is_asked_once_more_and_no_oftener(two, upstream, second):
    upstream.then(imposter.error(503))
    answer = two.chat(model=BIG)
    assert answer.headers["x-intertie-model"] == "beta/big-model" and len(upstream.chats) == 2
    first, last = two.explain(answer.decision)["legs"]
    assert (first["failure"], first["attempts"], "attempts" in last) == ("transient", 2, False)
    assert retries(two) == {"answered": 0, "failed": 1, "over_budget": 0}


@pytest.mark.parametrize("fault", ["500", "429", "401", "garbage", "html-200", "cut", "stall"])
def test_what_will_not_pass_is_not_asked_again(two, upstream, second, fault):
    upstream.then(FAULTS[fault], imposter.text())
    assert two.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"
    assert len(upstream.chats) == 1


def test_retries_are_a_tenth_of_the_requests(two, upstream, second):
    """A provider that fails each second time: the first failure is retried, the next ones only as its budget fills up."""
    upstream.then(*[imposter.error(503), imposter.text()] * 60)
    told = 0
    for _ in range(30):
        answer = two.chat(model=BIG)
        assert answer.status == 200
        told += sum(leg.get("retries_spent", False) for leg in two.explain(answer.decision)["legs"])
    count = retries(two)
    done = count["answered"] + count["failed"]
    assert 1 <= done <= 1 + 3 and count["over_budget"] == told > 0
    assert len(upstream.chats) <= 30 + done


def test_short_retry_after_is_waited_for(two, upstream, second):
    upstream.then(imposter.error(429, headers={"Retry-After": "1"}), imposter.text())
    answer = two.chat(model=BIG)
    assert answer.headers["x-intertie-model"] == "alpha/big-model" and second.chats == []
    first, again = upstream.chats
    assert again.at - first.at >= 1


def test_retry_after_beyond_the_deadline_is_not_waited_for(two, upstream, second):
    upstream.then(imposter.error(429, headers={"Retry-After": "2"}), imposter.text())
    answer = two.chat(model=BIG, headers={"X-Intertie-Deadline": "1.5"})
    assert answer.headers["x-intertie-model"] == "beta/big-model" and len(upstream.chats) == 1
    assert answer.seconds < 1.5


def test_after_the_first_byte_there_is_no_other_leg(two, upstream, second):
    upstream.then(imposter.text("half an answer is here", after=3, end="cut"))
    got = []
    with pytest.raises(openai.APIError):
        with openai.OpenAI(base_url=f"{two.url}/v1", api_key="x", max_retries=0) as sdk:
            for chunk in sdk.chat.completions.create(model=BIG, messages=[{"role": "user", "content": "Hi"}],
                                                     stream=True):
                got.append(chunk.choices[0].delta.content or "")
    assert "".join(got) == "half an" and second.chats == []
    receipt = two.explain()
    assert receipt["outcome"] == "broken_mid_stream" and len(receipt["legs"]) == 1


def test_stall_after_the_first_byte_ends_in_an_error_event(two, upstream, second):
    upstream.then(imposter.text("half an answer is here", after=3, end="stall"))
    answer = two.chat(model=BIG, stream=True)
    assert answer.streamed_text == "half an" and answer.events[-1] == "[DONE]" and "error" in answer.events[-2]
    assert second.chats == [] and answer.seconds < patience(3)


def test_broken_stream_of_a_whole_answer_may_be_tried_elsewhere(two, upstream, second):
    """The client asked for no stream and saw nothing: the next leg may answer, and no word of the first appears."""
    upstream.then(imposter.stream(imposter.text_events("half an answer", BIG)[:3], end="cut"))
    answer = two.chat(model=BIG)
    assert answer.text == "Hello from the cloud." and len(second.chats) == 1


def test_rate_limited_provider_rests(two, upstream, second):
    upstream.then(imposter.error(429, headers={"Retry-After": "30"}), imposter.text())
    assert two.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"
    assert two.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"
    assert len(upstream.chats) == 1, "it was asked again within its Retry-After"


def test_rate_limited_provider_comes_back(two, upstream, second):
    upstream.then(imposter.error(429, headers={"Retry-After": "1"}), imposter.text())
    two.chat(model=BIG)
    time.sleep(1.3)
    assert two.chat(model=BIG).headers["x-intertie-model"] == "alpha/big-model"


def test_refused_key_takes_a_provider_out_and_says_so(two, upstream, second):
    upstream.then(imposter.error(401, "Incorrect API key provided"), imposter.text())
    assert two.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"
    assert two.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"
    assert len(upstream.chats) == 1, "a key that was refused is not tried again"
    states = {p["name"]: p["health"] for p in two.status()["providers"]}
    assert states == {"alpha": "out", "beta": "up"}
    until(lambda: "alpha" in two.stderr and "key" in two.stderr, 1, "a line in the log that tells the person")


def test_refused_key_is_tried_again_after_a_reload(two, upstream, second):
    import signal
    upstream.then(imposter.error(401), imposter.text())
    two.chat(model=BIG)
    two.home.file.write_text(two.home.file.read_text() + "\n# the key in the environment was renewed\n")
    two.process.send_signal(signal.SIGHUP)
    until(lambda: two.chat(model=BIG).headers["x-intertie-model"] == "alpha/big-model", 3, "alpha in use again")


def test_failing_provider_is_left_alone_for_a_while(two, upstream, second):
    upstream.then(imposter.error(500))
    for _ in range(10):
        assert two.chat(model=BIG).status == 200
    assert len(upstream.chats) <= 6, "an outage is not hammered"
    assert len(second.chats) == 10


def test_all_legs_fail(two, upstream, second):
    upstream.then(imposter.error(500, "alpha is broken"))
    second.then(imposter.error(503, "beta is broken"))
    answer = two.chat(model=BIG)
    assert answer.status >= 500
    receipt = two.explain(answer.decision)
    assert [leg["provider"] for leg in receipt["legs"]] == ["alpha", "beta"] and receipt["outcome"] == "failed"
    golden.answer("all-legs-fail", answer)


def test_named_provider_has_no_other(two, upstream, second):
    upstream.then(imposter.error(500))
    assert two.chat(model="alpha/big-model").status >= 500
    assert second.chats == []


def test_context_too_long_goes_only_where_it_fits(make, upstream, second):
    upstream.then(imposter.error(400, "This model's maximum context length is 4096 tokens",
                                 code="context_length_exceeded"))
    one = make(config(provider("alpha", upstream.base_url), provider("beta", second.base_url),
                      policy='prefer = ["alpha"]'))
    assert one.chat(model=BIG).headers["x-intertie-model"] == "beta/big-model"


def test_fallback_never_crosses_into_a_forbidden_place(make, upstream, second):
    """An e-mail address may go to the own server (T1), not to a public cloud (T4): when it fails, that is all."""
    upstream.then(imposter.error(500))
    one = make(config(provider("office", upstream.base_url, place="edge", trust="T1", paid=False, key=None),
                      provider("public", second.base_url)))
    answer = one.chat(MAIL, model=BIG)
    assert answer.status >= 500 and len(upstream.chats) >= 1 and second.requests == []
    plain = one.chat("Hello", model=BIG)
    assert plain.status == 200 and len(second.chats) == 1, "the same request without the address does fall back"


def test_fallback_never_starts_to_cost(make, upstream, second):
    upstream.then(imposter.error(500))
    one = make(config(provider("free", upstream.base_url, paid=False), provider("dear", second.base_url, paid=True),
                      paid=False))
    assert one.chat(model=BIG).status >= 500 and second.requests == []


def test_fallback_from_cloud_to_the_device(make, upstream, engine):
    from harness import MODEL
    upstream.then(imposter.error(503))
    one = make(config(provider("fakecloud", upstream.base_url), engine=engine), models=[MODEL])
    answer = one.chat("What is the capital of France?", model="auto:best", max_tokens=16, temperature=0)
    assert answer.status == 200
    if upstream.chats:
        assert answer.place == "device"


def test_explain_tells_the_story(two, upstream, second):
    upstream.then(imposter.error(503, "down for repairs"))
    answer = two.chat(model=BIG)
    two.explain(answer.decision)
    text = two.cli("explain", answer.decision).out
    assert text.index("alpha") < text.rindex("beta") and "cloud" in text
    golden.check("explain-of-a-fallback", text, (answer.decision, "ID"),
                 (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*", "TIME"), (r"\b[0-9a-f]{16}\b", "DIGEST"))


def test_slow_admin_read_delays_no_chat(daemon, upstream):
    """Another program holds the receipts' database: `explain` waits for the ledger's writer, and nobody else does."""
    decision = daemon.chat(model=BIG).decision
    daemon.explain(decision)
    other = sqlite3.connect(daemon.home.state / "intertie" / "receipts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        newest = daemon.chat(model=BIG).decision
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(daemon.get, f"/intertie/v1/explain/{newest}")
            begin = time.monotonic()
            for _ in range(5):
                assert daemon.chat(model=BIG).status == 200
            took = time.monotonic() - begin
            waiting = not asked.done()
            other.execute("ROLLBACK")
            assert asked.result().status == 200, asked.result().body
    finally:
        other.close()
    assert waiting, "the admin read did not have to wait: this proves nothing"
    assert took < patience(0.5), f"five chats took {took:.2f} s beside it"


def test_bills_add_up_to_what_upstream_counted(daemon, upstream):
    for n in range(5):
        upstream.then(imposter.text("words " * (n + 1), usage=(10 + n, n + 1)))
        daemon.chat(model=BIG, stream=bool(n % 2))
        receipt = daemon.explain()
        assert (receipt["prompt_tokens"], receipt["completion_tokens"]) == (10 + n, n + 1)
        assert receipt["tokens_measured"] is True
