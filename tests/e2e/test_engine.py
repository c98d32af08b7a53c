"""The local engine under stress: killed, cancelled, crowded out, starved, broken; the real llama-server and model."""
import json
import os
import pathlib
import shutil
import signal
import stat
import sys
import threading
import time

import pytest

from harness import MODEL, MODEL_NAME, alive, config, patience, rss_kib, sse_data, until

LONG = {"max_tokens": 1500, "temperature": 0}
QUESTION, SHORT = "What is the capital of France?", {"max_tokens": 12, "temperature": 0}
STORY = "Write a very long story about a lighthouse keeper. Never stop."


def children(daemon) -> list[int]:
    return [m["pid"] for m in daemon.status()["local_models"] if m["pid"] > 0]


def only_child(daemon) -> int:
    pids = children(daemon)
    assert len(pids) == 1, pids
    return pids[0]


def ticks(pid: int) -> int:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def assert_idle_soon(pid: int, since: float) -> None:
    """0.3 s after `since` the child must have stopped working: under 5 of 30 clock ticks in the next 0.3 s."""
    time.sleep(max(0.0, patience(0.3) - (time.monotonic() - since)))
    before = ticks(pid)
    time.sleep(0.3)
    assert ticks(pid) - before < 5, "the engine still computes an answer that nobody waits for"


@pytest.fixture
def one(make, engine):
    daemon = make(config(engine=engine, paid=False), models=[MODEL])
    assert daemon.chat("Hi", max_tokens=1).status == 200
    # The first answer is followed by a calibration run, once: these tests look at what the child does with requests.
    until(lambda: daemon.status()["local_models"][0]["calibrated"], 15, "calibration")
    return daemon


# ---------------------------------------------------------------- killed

def test_child_killed_in_the_middle_of_a_stream(one):
    connection, response = one.open_stream(STORY, **LONG)
    begun = response.read1(4096)
    child = only_child(one)
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    events = sse_data(begun + response.read())
    assert events[-1] == "[DONE]" and "error" in events[-2], events[-3:]
    answer = one.chat("What is the capital of France?", max_tokens=16, temperature=0)
    assert answer.status == 200 and "Paris" in answer.text
    assert time.monotonic() - killed < patience(3)
    assert only_child(one) != child
    connection.close()


def test_child_killed_with_a_queue_fails_one_at_most(one):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.chat(STORY, max_tokens=120, temperature=0)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: one.status()["local_models"][0]["running"] == 1 and one.status()["local_models"][0]["waiting"] == 3,
          5, "one running, three waiting")
    os.kill(only_child(one), signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers)[:3] == [200] * 3, [a.status for a in answers]


def test_idle_child_killed_is_replaced_unnoticed(one):
    os.kill(only_child(one), signal.SIGKILL)
    begin = time.monotonic()
    assert one.chat("Hi", max_tokens=1).status == 200
    assert time.monotonic() - begin < patience(3)


def test_daemon_killed_leaves_no_orphan(one):
    kin = one.children()
    assert only_child(one) in kin
    one.stop(signal.SIGKILL)
    until(lambda: not [p for p, start in kin.items() if alive(p, start)], 2, "the children's end")


def test_daemon_starts_again_after_kill(one):
    one.stop(signal.SIGKILL)
    assert one.home.socket.exists(), "kill -9 leaves the socket file behind; else this test shows nothing"
    one.start()
    assert one.chat("Hi", max_tokens=1).status == 200 and one.get("/healthz", unix=True).status == 200


def test_daemon_killed_keeps_settled_receipts(one):
    decision = one.chat("Hi", max_tokens=1).decision
    one.explain(decision)
    time.sleep(0.4)     # the stated flush interval is 200 ms
    one.stop(signal.SIGKILL)
    one.start()
    assert one.explain(decision)["id"] == decision


def test_stop_in_the_middle_of_an_answer(one):
    """llama-server never exits on SIGTERM while a client streams; the daemon must all the same, without orphans."""
    connection, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    one.stop()      # checks the exit status, the time and the children
    events = sse_data(response.read())
    assert events[-1] == "[DONE]", "the answer was cut without a word"
    connection.close()


# ---------------------------------------------------------------- cancelled

def test_cancel_of_a_stream(one):
    connection, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    child = only_child(one)
    response.close()
    connection.close()
    assert_idle_soon(child, time.monotonic())
    assert one.chat("Hi", max_tokens=1).status == 200


def test_cancel_of_a_whole_answer(one):
    connection = one.connection()
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "messages": [
        {"role": "user", "content": STORY}], **LONG}), {"Content-Type": "application/json"})
    child = only_child(one)
    before = ticks(child)
    until(lambda: ticks(child) - before > 10, 5, "the engine at work")
    connection.close()
    assert_idle_soon(child, time.monotonic())


def test_cancel_while_the_prompt_is_read(one):
    connection = one.connection()
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "stream": True, "max_tokens": 8,
                                                                   "messages": [
        {"role": "user", "content": "lighthouse keeper story " * 900}]}), {"Content-Type": "application/json"})
    child = only_child(one)
    before = ticks(child)
    until(lambda: ticks(child) - before > 30, 8, "the engine reading")
    connection.close()
    closed = time.monotonic()
    assert_idle_soon(child, closed)
    assert one.chat("Hi", max_tokens=1).seconds < patience(1)


def test_cancel_while_waiting_in_the_queue(one):
    running, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    waiting = one.connection()
    waiting.request("POST", "/v1/chat/completions", json.dumps({"model": "auto",
                                                                "messages": [{"role": "user", "content": "Hi"}]}))
    until(lambda: one.status()["local_models"][0]["waiting"] == 1, 3, "one in the queue")
    waiting.close()
    until(lambda: one.status()["local_models"][0]["waiting"] == 0, 0.3, "an empty queue after its client left")
    response.close()
    running.close()


def test_aborted_answer_is_billed_in_the_receipt(one):
    connection, response = one.open_stream(STORY, **LONG)
    decision = response.getheader("x-intertie-decision")
    for _ in range(5):
        response.read1(512)
    response.close()
    connection.close()
    receipt = one.explain(decision)
    assert receipt["outcome"] == "client_gone"
    assert 1 <= receipt["completion_tokens"] < 1500


# ---------------------------------------------------------------- crowded

def test_queue_serves_everybody(one):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(one.chat(f"Say {n}", max_tokens=8)))
               for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [200] * 8


def test_full_queue_says_when_to_come_back(make, engine):
    one = make(config(engine=engine, paid=False, local="queue = 1"), models=[MODEL])
    one.chat("Hi", max_tokens=1)
    running, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    waiting = one.connection()
    waiting.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "max_tokens": 1,
                                                                "messages": [{"role": "user", "content": "Hi"}]}))
    until(lambda: one.status()["local_models"][0]["waiting"] == 1, 3, "one in the queue")
    refused = one.chat("Hi", max_tokens=1)
    assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
    assert "queue" in refused.error["message"]
    response.close()
    running.close()
    assert waiting.getresponse().status == 200
    waiting.close()


def test_deadline_in_the_queue(one):
    running, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    answer = one.chat("Hi", max_tokens=1, headers={"X-Intertie-Deadline": "1"})
    assert answer.status in (429, 504) and answer.seconds < patience(2)
    response.close()
    running.close()


@pytest.fixture
def crowded(make, engine):
    """Two models of which only one fits."""
    return make(config(engine=engine, paid=False, local='memory_limit = "600 MB"'),
                models=[(MODEL, "first.gguf"), (MODEL, "second.gguf")])


def test_two_models_alternate(crowded):
    for name in ["first", "second"] * 3:
        answer = crowded.chat("What is the capital of France?", model=name, max_tokens=12, temperature=0)
        assert answer.status == 200 and "Paris" in answer.text, answer.body
        assert answer.headers["x-intertie-model"] == f"local/{name}"
        assert len(children(crowded)) == 1, "both are loaded though only one fits"


def test_eviction_never_cuts_a_running_answer(crowded):
    connection, response = crowded.open_stream(STORY, model="first", max_tokens=150, temperature=0)
    begun = response.read1(512)
    other: list = []
    thread = threading.Thread(target=lambda: other.append(crowded.chat(QUESTION, model="second", **SHORT)))
    thread.start()
    events = sse_data(begun + response.read())
    assert events[-1] == "[DONE]"
    assert [c["finish_reason"] for e in events[:-1] for c in e["choices"]
            if c.get("finish_reason")][0] in ("stop", "length")
    assert not [e for e in events[:-1] if "error" in e]
    thread.join()
    assert other[0].status == 200 and "Paris" in other[0].text
    connection.close()


def test_many_askers_of_two_models_all_get_answers(crowded):
    answers = []

    def ask(name: str) -> None:
        for _ in range(3):
            answers.append(crowded.chat("Hi", model=name, max_tokens=4))
    threads = [threading.Thread(target=ask, args=(n,)) for n in ("first", "second", "first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [200] * 12


def test_pinned_model_is_not_evicted(make, engine):
    one = make(config(engine=engine, paid=False, local='memory_limit = "600 MB"\n[local.model.first]\npinned = true'),
               models=[(MODEL, "first.gguf"), (MODEL, "second.gguf")])
    assert one.chat("Hi", model="first", max_tokens=1).status == 200
    child = only_child(one)
    answer = one.chat("Hi", model="second", max_tokens=1, headers={"X-Intertie-Deadline": "5"})
    assert answer.status in (429, 503, 504) and children(one) == [child]
    assert one.chat("Hi", model="first", max_tokens=1).status == 200


def test_flags_of_one_model(make, engine):
    one = make(config(engine=engine, paid=False,
                      local=f'[local.model."{MODEL_NAME}"]\ncontext = 512\narguments = ["--no-warmup"]'),
               models=[MODEL])
    assert one.chat("Hi", max_tokens=1).status == 200
    command = pathlib.Path(f"/proc/{only_child(one)}/cmdline").read_bytes().split(b"\0")
    assert b"--no-warmup" in command and command[command.index(b"-c") + 1] == b"512"
    answer = one.chat("word " * 2000, max_tokens=4)
    assert answer.status == 400 and answer.error["code"] == "context_length_exceeded"


def test_set_reaches_the_childs_command_line(one):
    """Every flag of the engine can be set for one model; what runs is started anew, and its answer is not cut."""
    def flags() -> list[str]:
        found = list(one.children())
        return pathlib.Path(f"/proc/{found[0]}/cmdline").read_text().split("\0") if len(found) == 1 else []
    answered = one.chat("Say hello.", max_tokens=4)
    assert answered.status == 200
    before = one.home.file.read_text()
    done = one.cli("set", f"{MODEL_NAME}.temp=0.5")
    assert done.code == 0 and "temp" in done.out, done.err
    assert one.cli("set", f"{MODEL_NAME}.context", "1024", "--json").json["after"] == "1024"
    assert all(line in one.home.file.read_text().splitlines() for line in before.splitlines())
    until(lambda: not one.children(), 10, "the end of the child with the old flags")
    assert one.chat("Say hello.", max_tokens=4).status == 200
    now = flags()
    assert now[now.index("--temp") + 1] == "0.5" and now[now.index("-c") + 1] == "1024"


def test_model_that_cannot_fit_is_refused_before_loading(make, engine):
    one = make(config(engine=engine, paid=False, local='memory_limit = "60 MB"'), models=[MODEL])
    answer = one.chat("Hi", model=MODEL_NAME, max_tokens=1)
    assert answer.status == 503 and answer.error["code"] == "does_not_fit" and answer.seconds < patience(1)
    assert "memory" in answer.error["message"] and one.children() == {}


def test_reserved_memory_holds(one):
    """What was reserved for a child, its prompt cache included, is what it stays under, and not by a wide margin."""
    for n in range(2):
        one.chat(f"{n} " + "lighthouse keeper story " * 200, max_tokens=10)
    model = one.status()["local_models"][0]
    measured = rss_kib(model["pid"]) * 1024
    assert 0.6 * model["resident_bytes"] <= measured <= 1.02 * model["resident_bytes"], (measured, model)


def test_idle_model_is_unloaded_and_comes_back(make, engine):
    one = make(config(engine=engine, paid=False, local='keep_alive = "1s"'), models=[MODEL])
    assert one.chat("Hi", max_tokens=1).status == 200
    until(lambda: not children(one), 5, "the idle model's unloading")
    assert one.children() == {}
    assert one.chat("Hi", max_tokens=1).status == 200


# ---------------------------------------------------------------- broken

def test_no_engine_says_so(make):
    one = make(config(engine="none", paid=False), models=[MODEL])
    answer = one.chat("Hi")
    assert answer.status == 503 and answer.error["code"] in ("no_engine", "no_model")


def test_engine_that_always_fails(make):
    one = make(config(engine="/bin/false", paid=False), models=[MODEL])
    answer = one.chat("Hi", timeout=20)
    assert answer.status == 503 and answer.seconds < patience(12)
    assert "/bin/false" in answer.error["message"] or "engine" in answer.error["message"]


@pytest.mark.parametrize("harm", ["truncated", "no-magic", "empty", "text"])
def test_broken_model_file(make, engine, tmp_path, harm):
    whole = pathlib.Path(MODEL).read_bytes()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes({"truncated": whole[:len(whole) // 3], "no-magic": b"XXXX" + whole[4:200_000], "empty": b"",
                        "text": b"hello\n" * 100}[harm])
    one = make(config(engine=engine, paid=False), models=[broken, MODEL])
    answer = one.chat("Hi", model="broken", max_tokens=1)
    assert 400 <= answer.status < 600 and answer.seconds < patience(2)
    assert "broken" in answer.error["message"]
    assert children(one) == [], "a file that can't work was given to the engine"
    assert one.chat("Hi", model=MODEL_NAME, max_tokens=1).status == 200


FAKE_ENGINE = '''\
#!%s
import os, socket, sys
results = []
for family, address in ((socket.AF_INET, ("127.0.0.1", %d)), (socket.AF_INET, ("192.0.2.1", 53)),
                        (socket.AF_INET6, ("::1", %d))):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            sock = socket.socket(family, kind)
            sock.settimeout(1)
            sock.connect(address)
            sock.send(b"out")
            results.append("REACHED %%s" %% (address,))
        except OSError as error:
            results.append("refused %%s" %% error)
with open(%r, "w") as file:
    file.write("\\n".join(results))
sys.exit(1)
'''


def test_child_has_no_network(make, upstream, tmp_path):
    """An engine that tries to talk to anyone, even on this machine, can't."""
    script, report = tmp_path / "engine.py", tmp_path / "report"
    script.write_text(FAKE_ENGINE % (sys.executable, upstream.port, upstream.port, str(report)))
    script.chmod(0o755)
    one = make(config(engine=str(script), paid=False), models=[MODEL])
    one.chat("Hi", timeout=20)
    lines = until(lambda: report.exists() and report.read_text().splitlines(), 5, "the fake engine's report")
    assert len(lines) == 6 and not [line for line in lines if line.startswith("REACHED")], lines
    assert upstream.requests == []


def test_fake_engine_can_reach_out_when_not_a_child(second, tmp_path):
    """The control: outside the daemon the same program does reach loopback, so the test above can fail."""
    import subprocess
    report = tmp_path / "report"
    subprocess.run([sys.executable, "-c", (FAKE_ENGINE % ("x", second.port, second.port,
                                                          str(report))).split("\n", 1)[1]])
    assert "REACHED" in report.read_text()


def test_child_is_private(one):
    """Unix socket for this person only, key not in its command line, no listening TCP port, clean environment."""
    pid = only_child(one)
    command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    socket_path = command[command.index(b"--host") + 1].decode()
    assert socket_path.endswith(".sock") and stat.S_IMODE(os.stat(os.path.dirname(socket_path)).st_mode) == 0o700
    assert not any(a.startswith(b"--api-key") for a in command)
    assert not pathlib.Path(f"/proc/{pid}/environ").read_bytes().count(b"FAKE_KEY="), "the child inherits our keys"
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(fd))
        except OSError:
            pass
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in inodes, line


def test_engine_flags_from_the_environment_do_not_reach_the_child(make, engine):
    one = make(config(engine=engine, paid=False), models=[MODEL],
               environment={"LLAMA_ARG_PORT": "9", "LLAMA_ARG_CTX_SIZE": "64"})
    answer = one.chat("word " * 100, max_tokens=2)
    assert answer.status == 200
    assert b"LLAMA_ARG_CTX_SIZE" not in pathlib.Path(f"/proc/{only_child(one)}/environ").read_bytes()


def test_long_answer_of_one_does_not_stop_health(one):
    connection, response = one.open_stream(STORY, **LONG)
    response.read1(1024)
    for _ in range(20):
        assert one.get("/healthz").seconds < patience(0.25)
    response.close()
    connection.close()


def test_load_and_unload_by_hand(one):
    assert one.request("POST", f"/intertie/v1/models/{MODEL_NAME}/unload").status == 200
    until(lambda: not children(one), 5, "unloading")
    assert one.request("POST", f"/intertie/v1/models/{MODEL_NAME}/load").status == 200
    until(lambda: one.status()["local_models"][0]["state"] == "ready", 10, "loading")


def test_model_added_while_running(one, tmp_path):
    extra = tmp_path / "added-later.gguf"
    shutil.copyfile(MODEL, extra)
    done = one.cli("models", "add", str(extra))
    assert done.code == 0, done.err
    until(lambda: "added-later" in str(one.get("/v1/models").json), 5, "the new model in the list")
    assert one.chat("Hi", model="added-later", max_tokens=1).status == 200
