"""Private stays private: nothing leaves without a reason that a person wrote, whatever the request says."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import golden
import imposter
from harness import KEY, MODEL, config, provider

BIG = "fakecloud/big-model"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
PRIVATE = {
    "mail": "Please write to anna.schmidt@example-clinic.org today.",
    "card": "Charge it to 4111 1111 1111 1111 please.",
    "card-dashes": "Charge it to 5555-5555-5555-4444 please.",
}
# Keys are put together here so that no scanner takes this file for a leak.
SECRET = {
    "openai": "my key is sk-" + "proj-" + "Ab3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2rS5uV8",
    "aws": "aws AKIA" + "Z7QF3M2NUXW5KLPV is ours",
    "github": "token ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8",
    "private-key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEpAIBAAKCAQEA7bq0\n-----END RSA PRIVATE " + "KEY-----",
}


@pytest.fixture
def both(make, upstream, engine):
    """A local model and a paid cloud that the person turned on."""
    return make(config(provider("fakecloud", upstream.base_url), engine=engine), models=[MODEL])


# ---------------------------------------------------------------- nothing leaves

@pytest.mark.limit(180)
def test_a_thousand_requests_and_not_one_packet(engine):
    for tool, package in (("unshare", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")):
        assert shutil.which(tool, path=PATH), f"{tool} is missing; fix: apt-get install {package}"
    done = subprocess.run(["unshare", "-rnpf", "--kill-child", "--mount-proc", sys.executable, "quiet_place.py"],
                          cwd=pathlib.Path(__file__).parent,
                          text=True,
                          capture_output=True, env={**os.environ, "PATH": PATH})
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["control"] >= 2, "the counter does not count, so its zero would mean nothing"
    assert sum(result["statuses"].values()) == 1000 and result["statuses"].get("200", 0) >= 500, result
    assert not [s for s in result["statuses"] if s.startswith("5")], result
    assert result["elsewhere"] == 0, f"{result['elsewhere']} packets tried to leave"


def test_paid_is_off_by_default(make, upstream):
    text = config(provider("fakecloud", upstream.base_url)).replace("paid = true\n\n", "\n", 1)
    assert "[policy]\n\n" in text
    one = make(text)
    answer = one.chat(model=BIG)
    assert answer.status == 403 and answer.error["code"] == "paid_off" and upstream.requests == []
    golden.answer("paid-is-off", answer)


def test_fresh_daemon_asks_no_upstream_at_start(daemon, upstream):
    daemon.get("/v1/models")
    daemon.get("/readyz")
    assert upstream.requests == [], "nothing is sent before a person asks something"


def test_refusal_says_what_would_change_it(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url), paid=False))
    answer = one.chat(model=BIG)
    text = one.cli("explain", answer.decision).out
    assert "paid" in text and upstream.requests == []


# ---------------------------------------------------------------- private text

@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", PRIVATE)
def test_private_text_stays_though_the_cloud_is_named(both, upstream, name, stream):
    answer = both.chat(PRIVATE[name], model=BIG, max_tokens=2, stream=stream)
    assert upstream.requests == [], "it left"
    assert answer.status == 200 and answer.place == "device"


@pytest.mark.parametrize("name", SECRET)
def test_secret_is_blocked_though_the_cloud_is_named(both, upstream, name):
    answer = both.chat(SECRET[name], model=BIG, max_tokens=2)
    assert upstream.requests == [], "it left"
    assert answer.status == 403 and answer.error["code"] == "policy_block"
    assert SECRET[name].split()[-1] not in answer.body.decode()


@pytest.mark.parametrize("name", [*PRIVATE, *SECRET])
def test_without_a_local_model_it_is_refused(daemon, upstream, name):
    answer = daemon.chat((PRIVATE | SECRET)[name], model=BIG)
    assert answer.status == 403 and upstream.requests == []
    golden.answer(f"private-{name}", answer)


@pytest.mark.parametrize("name", [*PRIVATE, *SECRET])
def test_auto_keeps_it_on_the_device(both, upstream, name):
    answer = both.chat((PRIVATE | SECRET)[name], model="auto", max_tokens=2)
    assert (answer.status, answer.place) == (200, "device") and upstream.requests == []


MAIL = PRIVATE["mail"]
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "send", "arguments": json.dumps({"to": MAIL})}}]}
POSITIONS = {
    "system": {"messages": [{"role": "system", "content": MAIL}, {"role": "user", "content": "Hi"}]},
    "developer": {"messages": [{"role": "developer", "content": MAIL}, {"role": "user", "content": "Hi"}]},
    "history": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": MAIL},
                             {"role": "user", "content": "Go on"}]},
    "part": {"messages": [{"role": "user", "content": [{"type": "text", "text": MAIL}]}]},
    "tool-argument": {"messages": [{"role": "user", "content": "Hi"}, CALL,
                                   {"role": "tool", "tool_call_id": "c1", "content": "sent"}]},
    "tool-result": {"messages": [{"role": "user", "content": "Hi"},
                                 {**CALL, "tool_calls": [{"id": "c1", "type": "function", "function": {
        "name": "send", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": MAIL}]},
    "tool-definition": {"tools": [{"type": "function", "function": {"name": "send", "description": MAIL,
                                                                    "parameters": {}}}]},
    "tool-schema": {"tools": [{"type": "function", "function": {"name": "send",
                                                                "parameters": {"type": "object", "properties": {
        "to": {"type": "string", "default": MAIL}}}}}]},
    "name": {"messages": [{"role": "user", "name": "anna.schmidt@example-clinic.org", "content": "Hi"}]},
    "user": {"user": "anna.schmidt@example-clinic.org"},
    "metadata": {"metadata": {"who": MAIL}},
    "prediction": {"prediction": {"type": "content", "content": MAIL}},
    "stop": {"stop": ["anna.schmidt@example-clinic.org"]},
    "unknown-field": {"x_vendor": {"deep": [[{"note": MAIL}]]}},
    "unknown-key": {"x_vendor": {"anna.schmidt@example-clinic.org": 1}},
    "schema": {"response_format": {"type": "json_schema",
                                   "json_schema": {"name": "x", "schema": {"type": "object", "description": MAIL}}}},
    "escaped": {},
    "reasoning": {"messages": [{"role": "assistant", "content": "x", "reasoning_content": MAIL},
                               {"role": "user", "content": "Hi"}]},
    "refusal": {"messages": [{"role": "assistant", "content": "x", "refusal": MAIL},
                             {"role": "user", "content": "Hi"}]},
}


@pytest.mark.parametrize("position", POSITIONS)
def test_private_text_is_found_in_every_position(daemon, upstream, position):
    body = {"model": BIG, "messages": [{"role": "user", "content": "Hi"}], **POSITIONS[position]}
    data = json.dumps(body).encode()
    if position == "escaped":
        data = data.replace(b'"Hi"', b'"' + "".join(f"\\u{ord(c):04x}" for c in MAIL).encode() + b'"')
    answer = daemon.post(data)
    assert upstream.requests == [], "it left"
    assert answer.status == 403


def test_clean_text_does_leave(daemon, upstream):
    """The control for all of the above: what holds nothing private goes where it was sent."""
    assert daemon.chat("Who was Marie Curie? Version 4111 of RFC 5322, part 12-34-56.", model=BIG).status == 200
    assert len(upstream.chats) == 1


def test_card_number_that_fails_its_check_is_no_card(daemon, upstream):
    assert daemon.chat("Order 4111 1111 1111 1112 is late.", model=BIG).status == 200 and len(upstream.chats) == 1


def test_edge_may_see_mail_and_not_secrets(make, upstream):
    one = make(config(provider("office", upstream.base_url, place="edge", trust="T1", paid=False, key=None),
                      paid=False))
    assert one.chat(MAIL, model="office/big-model").status == 200 and len(upstream.chats) == 1
    assert one.chat(SECRET["github"], model="office/big-model").status == 403 and len(upstream.chats) == 1


# ---------------------------------------------------------------- hints only tighten

@pytest.mark.parametrize("hint", ["device", "edge"])
def test_hint_tightens(both, upstream, hint):
    answer = both.chat("Hi", model=BIG, max_tokens=2, headers={"X-Intertie-Place": hint})
    assert upstream.requests == []
    assert answer.status == 403 and answer.error["code"] == "beyond_asked_place" or answer.place == "device"


@pytest.mark.parametrize("headers", [
    {"X-Intertie-Place": "cloud"}, {"X-Intertie-Max-Cost": "100"}, {"X-Intertie-Paid": "true"},
    {"X-Intertie-Policy": "open"},
    {"X-Intertie-Trust": "T4"}, {"X-Intertie-Class": "C0"}, {"X-Intertie-Allow": "*"}], ids=lambda h: "-".join(h))
def test_hint_loosens_nothing(make, upstream, headers):
    one = make(config(provider("fakecloud", upstream.base_url), paid=False))
    assert one.chat("Hi", model=BIG, headers=headers).status == 403
    assert upstream.requests == []


@pytest.mark.parametrize("name", [*PRIVATE, *SECRET])
def test_no_hint_sends_private_text(daemon, upstream, name):
    answer = daemon.chat((PRIVATE | SECRET)[name], model=BIG,
                         headers={"X-Intertie-Place": "cloud", "X-Intertie-Max-Cost": "100"})
    assert answer.status == 403 and upstream.requests == []


def test_max_cost_refuses_an_unknown_price(daemon, upstream):
    answer = daemon.chat("Hi", model=BIG, headers={"X-Intertie-Max-Cost": "0.01"})
    assert answer.status == 403 and answer.error["code"] == "over_max_cost" and upstream.requests == []


def test_furthest_place_of_the_policy_binds(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url), policy='furthest = "edge"'))
    answer = one.chat(model=BIG)
    assert answer.status == 403 and answer.error["code"] == "beyond_policy_place" and upstream.requests == []


def test_route_only_sends_nothing(daemon, upstream):
    answer = daemon.chat("Hi", model=BIG, headers={"X-Intertie-Route-Only": "1"})
    assert answer.status == 200 and answer.json["legs"][0]["place"] == "cloud" and upstream.requests == []


def test_auto_private_never_leaves(make, upstream):
    one = make(config(provider("fakecloud", upstream.base_url)))
    answer = one.chat(model="auto:private")
    assert answer.status == 403 and answer.error["code"] == "no_private_model" and upstream.requests == []


# ---------------------------------------------------------------- what is kept, said and logged

def test_no_content_is_kept_anywhere(both, upstream):
    words = "zanzibarquokka"
    both.chat(f"Say {words}", max_tokens=2)
    both.chat(f"Say {words}", model=BIG)
    both.post(f'{{"model":"auto","messages":"{words}"}}'.encode())
    both.explain()
    both.stop()
    found = [f for f in pathlib.Path(both.home.root).rglob("*") if f.is_file() and f.stat().st_size < 50_000_000
             and words.encode() in f.read_bytes()]
    assert found == [] and words not in both.stderr


def test_key_is_shown_nowhere(daemon, upstream):
    upstream.then(imposter.error(401, "Incorrect API key provided"))
    answer = daemon.chat(model=BIG)
    seen = [answer.body.decode(), str(answer.headers), daemon.get("/intertie/v1/status").body.decode(),
            daemon.get("/metrics").body.decode(),
            daemon.cli("config", "show").out, daemon.cli("providers", "list", "--json").out, daemon.cli("doctor").out,
            json.dumps(daemon.explain()), pathlib.Path(f"/proc/{daemon.pid}/cmdline").read_text(), daemon.stderr]
    assert [i for i, text in enumerate(seen) if KEY in text] == []
    daemon.stop()
    kept = [f for f in daemon.home.root.rglob("*") if f.is_file() and KEY.encode() in f.read_bytes()]
    assert kept == []


def test_findings_are_named_not_quoted(both):
    decision = both.chat(PRIVATE["mail"], model=BIG, max_tokens=1).decision
    receipt = both.explain(decision)
    assert "EMAIL×1" in receipt["findings"] and receipt["data_class"] == "C2"
    assert "anna.schmidt" not in json.dumps(receipt)


def test_explain_shows_the_class_it_found(both):
    decision = both.chat(PRIVATE["mail"], model=BIG, max_tokens=1).decision
    both.explain(decision)
    text = both.cli("explain", decision).out
    assert "C2" in text and "EMAIL" in text and "device" in text


def test_receipts_file_is_for_this_person_only(daemon):
    daemon.chat(model=BIG)
    daemon.explain()
    files = [f for f in (daemon.home.state / "intertie").rglob("*") if f.is_file()]
    assert files and not [f for f in files if f.stat().st_mode & 0o077]


def test_check_says_what_a_text_holds(daemon, upstream):
    done = daemon.cli("check", "--json", stdin=PRIVATE["mail"] + " " + PRIVATE["card"])
    assert "EMAIL" in done.out and "CARD" in done.out and "anna.schmidt" not in done.out
    assert upstream.requests == []
    clean = daemon.cli("check", stdin="Hello world")
    assert clean.code == 0 and "EMAIL" not in clean.out


def test_daemon_leaves_no_core_and_no_door(daemon):
    """Keys live in its memory: no core dump, and (visible to anyone but root) its /proc entries belong to root."""
    limits = pathlib.Path(f"/proc/{daemon.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")] == [["0", "0"]]
    if os.getuid() != 0:
        assert os.stat(f"/proc/{daemon.pid}/environ").st_uid == 0, "PR_SET_DUMPABLE is still on"


def test_listens_on_loopback_only(daemon):
    table = "".join(pathlib.Path(f"/proc/{daemon.pid}/net/{t}").read_text() for t in ("tcp", "tcp6"))
    mine = [line.split()[1] for line in table.splitlines() if f":{daemon.port:04X} " in line and " 0A " in line]
    assert mine == [f"0100007F:{daemon.port:04X}"]


def test_non_loopback_address_is_refused(make):
    from harness import Home, cli
    home = Home()
    home.file.write_text(config(listen="0.0.0.0:0"))
    done = cli(home, "serve", timeout=10)
    assert done.code != 0 and "loopback" in done.err
    golden.check("listen-everywhere", done.err)
    home.remove()
