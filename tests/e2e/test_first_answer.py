"""A fresh install, the real engine, the real default model: the first answer on every way in, and why it came so."""
import json
import re
import stat

from harness import MODEL, MODEL_NAME, config, patience, until

QUESTION = "What is the capital of France?"
BRIEF = ("--max-tokens", "24")
CHEAP = {"max_tokens": 24, "temperature": 0}


def test_chat_answers_from_the_device(local):
    answer = local.chat(QUESTION, **CHEAP)
    assert answer.status == 200
    assert "Paris" in answer.text
    assert answer.place == "device"
    assert answer.headers["x-intertie-model"] == f"local/{MODEL_NAME}"
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.decision) >= 8 and answer.headers["x-intertie-reason"]


def test_chat_object_is_complete(local):
    document = local.chat(QUESTION, **CHEAP).json
    assert document["object"] == "chat.completion"
    assert isinstance(document["id"], str) and document["id"]
    assert document["created"] > 1_700_000_000
    choice = document["choices"][0]
    assert choice["index"] == 0 and choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    usage = document["usage"]
    assert usage["prompt_tokens"] >= 10 and 1 <= usage["completion_tokens"] <= 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_max_completion_tokens_is_honoured(local):
    answer = local.chat("Count from one to one hundred.", max_completion_tokens=5, temperature=0)
    assert answer.json["usage"]["completion_tokens"] == 5
    assert answer.json["choices"][0]["finish_reason"] == "length"


def test_stream_says_the_same_as_the_whole(local):
    whole = local.chat(QUESTION, seed=1, **CHEAP)
    streamed = local.chat(QUESTION, stream=True, seed=1, **CHEAP)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.place == "device"
    assert streamed.streamed_text == whole.text


def test_stream_has_one_finish_and_one_done(local):
    events = local.chat(QUESTION, stream=True, **CHEAP).events
    assert events[-1] == "[DONE]" and events.count("[DONE]") == 1
    chunks = events[:-1]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert len({c["id"] for c in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"].get("role") == "assistant"
    reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]
               and c["choices"][0].get("finish_reason")]
    assert len(reasons) == 1


def test_stream_usage_only_when_asked(local):
    plain = local.chat(QUESTION, stream=True, **CHEAP).events[:-1]
    assert not [c for c in plain if c.get("usage")]
    asked = local.chat(QUESTION, stream=True, stream_options={"include_usage": True}, **CHEAP).events[:-1]
    assert [c for c in asked if c.get("usage")] == [asked[-1]]
    assert asked[-1]["choices"] == [] and asked[-1]["usage"]["completion_tokens"] >= 1


def test_engine_internals_stay_inside(local):
    """What the engine adds for us (timings, prompt progress) isn't part of the dialect that we promise."""
    events = local.chat(QUESTION, stream=True, **CHEAP).events[:-1]
    assert not [c for c in events if "prompt_progress" in c]


def test_stream_arrives_while_it_is_made(local):
    connection, response = local.open_stream("Count from one to fifty.", max_tokens=60)
    first = response.read1(65536)
    assert response.status == 200 and b"data: " in first and b"[DONE]" not in first
    assert b"[DONE]" in response.read()
    connection.close()


def test_unix_socket_answers(local):
    answer = local.chat(QUESTION, unix=True, **CHEAP)
    assert "Paris" in answer.text and answer.place == "device"
    assert stat.S_IMODE(local.home.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(local.home.socket.parent.stat().st_mode) == 0o700


def test_models_list_and_retrieve(local):
    document = local.get("/v1/models").json
    ids = [m["id"] for m in document["data"]]
    assert document["object"] == "list" and "auto" in ids and len(ids) == len(set(ids))
    local_id = next(i for i in ids if i.endswith(MODEL_NAME))
    one = local.get(f"/v1/models/{local_id}")
    assert one.status == 200 and one.json["id"] == local_id and one.json["object"] == "model"
    assert isinstance(one.json["created"], int) and one.json["owned_by"]


def test_every_listed_model_answers(local):
    for name in [m["id"] for m in local.get("/v1/models").json["data"]]:
        if name not in ("auto:best",):
            assert local.chat("Hi", model=name, max_tokens=2).status == 200, name


def test_local_model_names(local):
    for name in (MODEL_NAME, f"local/{MODEL_NAME}", "auto", "auto:private", "auto:fast", "auto:cheap"):
        answer = local.chat("Hi", model=name, max_tokens=2)
        assert (answer.status, answer.place) == (200, "device"), name


def test_answer_names_the_model_that_answered(local):
    assert local.chat("Hi", model="auto", max_tokens=2).json["model"].removeprefix("local/") == MODEL_NAME


def test_explain_tells_where_and_why(local):
    decision = local.chat(QUESTION, **CHEAP).decision
    receipt = local.explain(decision)
    assert receipt["id"] == decision
    text = json.dumps(receipt)
    assert "device" in text and MODEL_NAME in text
    assert QUESTION not in text and "capital" not in text, "a receipt holds no content"


def test_explain_last_and_cli_agree(local):
    decision = local.chat(QUESTION, **CHEAP).decision
    until(lambda: local.get("/intertie/v1/explain/last").json.get("id") == decision, 2, "the receipt")
    done = local.cli("explain", "last", "--json")
    assert done.code == 0, done.err
    assert done.json["id"] == decision
    plain = local.cli("explain", decision)
    assert plain.code == 0 and "device" in plain.out and MODEL_NAME in plain.out
    assert "\x1b[" not in plain.out, "colours are for terminals"


def test_explain_of_an_unknown_id(local):
    assert local.get("/intertie/v1/explain/ZZZZZZZZZZZZZ").status == 404
    answer = local.get("/intertie/v1/explain/no-id")
    assert answer.status == 400 and answer.error["code"] == "bad_receipt_id"
    done = local.cli("explain", "ZZZZZZZZZZZZZ")
    assert done.code == 1 and "intertie receipts" in done.err


def test_receipts_list_newest(local):
    decision = local.chat(QUESTION, **CHEAP).decision
    local.explain(decision)
    done = local.cli("receipts", "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()] if not done.out.lstrip().startswith("[") else done.json
    assert decision in [r["id"] for r in rows]


def test_ask_prints_the_answer(local):
    done = local.cli("ask", QUESTION, *BRIEF)
    assert done.code == 0, done.err
    assert "Paris" in done.out


def test_ask_streams_and_says_why(local):
    done = local.cli("ask", QUESTION, "--stream", "--why", *BRIEF)
    assert done.code == 0, done.err
    assert "Paris" in done.out and "device" in done.out + done.err


def test_ask_takes_a_model(local):
    assert local.cli("ask", "Hi", "--model", MODEL_NAME, *BRIEF).code == 0
    wrong = local.cli("ask", "Hi", "--model", MODEL_NAME + "x")
    assert wrong.code != 0 and MODEL_NAME in wrong.err, "an unknown model is answered with suggestions"


def test_ask_reads_the_question_from_a_pipe(local):
    done = local.cli("ask", "-", *BRIEF, stdin=QUESTION)
    assert done.code == 0 and "Paris" in done.out, done.err


def test_ask_without_a_daemon_says_how_to_start_one(make):
    one = make(config())
    one.stop()
    done = one.cli("ask", QUESTION)
    assert done.code != 0 and "intertie serve" in done.err and done.out == ""


def test_health_and_metrics(local):
    for path in ("/healthz", "/health", "/readyz"):
        assert local.get(path).status == 200, path
    metrics = local.get("/metrics")
    assert metrics.status == 200 and metrics.headers["content-type"].startswith("text/plain")
    for line in metrics.body.decode().splitlines():
        assert re.match(r'^(# (HELP|TYPE) .+|[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eEnaif]+)$', line), line


def test_metrics_count_requests(local):
    def total() -> float:
        lines = local.get("/metrics").body.decode().splitlines()
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if re.match(r"intertie_requests_total[ {]", x))
    before = total()
    local.chat("Hi", max_tokens=1)
    assert total() == before + 1


def test_status_and_models_on_the_command_line(local):
    status = local.cli("status", "--json")
    assert status.code == 0 and [m["name"] for m in status.json["local_models"]] == [MODEL_NAME]
    assert MODEL_NAME in local.cli("status").out
    listed = local.cli("models", "list", "--json")
    assert listed.code == 0
    assert MODEL_NAME in json.dumps(listed.json)
    shown = local.cli("models", "show", MODEL_NAME, "--json")
    assert shown.code == 0 and MODEL_NAME in shown.out, shown.err


def test_models_show_predicts_speed(local):
    local.chat(QUESTION, **CHEAP)
    text = local.cli("models", "show", MODEL_NAME).out
    assert re.search(r"\d+(\.\d+)? ?tok(en)?s?/s", text), text


def test_version(local):
    done = local.cli("version")
    assert done.code == 0 and re.search(r"\b\d+\.\d+\.\d+\b", done.out)


def test_fresh_start_answers_within_seconds(make, engine):
    one = make(config(engine=engine, paid=False), models=[MODEL], wait=False)
    answer = one.chat(QUESTION, **CHEAP)
    assert answer.status == 200, "who says that it listens must know its models: " + answer.body.decode()
    assert "Paris" in answer.text and answer.seconds < patience(8)


def test_default_config_needs_no_file(engine, make):
    """A fresh install: no configuration at all but a free port."""
    one = make("[server]\nlisten = \"127.0.0.1:0\"\n[local]\nengine = \"%s\"\n" % engine, models=[MODEL])
    assert one.chat("Hi", max_tokens=2).place == "device"
