"""The official JavaScript SDK: js/sdk.test.mjs runs once against a daemon with the real engine and one with a cloud
row; each of its tests is a test here."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import imposter
from harness import Daemon, config, patience, provider

SOURCE = pathlib.Path(__file__).parent / "js" / "sdk.test.mjs"
NAMES = [n for n in re.findall(r'^test\("([^"]+)"', SOURCE.read_text(), re.M)] + [
    f"cloud error {s}" for s in (400, 404, 429, 500, 503)]


@pytest.fixture(scope="module")
def results(local):
    folder = os.environ.get("INTERTIE_E2E_JS", "")
    assert folder, "INTERTIE_E2E_JS is not set: run this through tests/e2e/run BINARY"
    assert shutil.which("node"), "node is missing; fix: apt-get install nodejs"
    upstream = imposter.Imposter()
    broken = imposter.event({"error": {"message": "engine fell over", "type": "server_error", "code": None,
                                       "param": None}})
    upstream.when("cue:tools", imposter.tools(("call_1", "get_weather", '{"city":"Paris"}')))
    upstream.when("cue:json", imposter.text('{"ok":true}'))
    upstream.when("cue:broken", imposter.stream([*imposter.text_events("half an answer", "big-model")[:3], broken],
                                                pace=0.05))
    upstream.when("cue:cut", imposter.text("half an answer", after=3, end="cut"))
    upstream.when("cue:slow", imposter.text("word " * 500, pace=0.02))
    upstream.when("cue:stall", lambda wire, _: wire.stall())
    for status in (400, 404, 429, 500, 503):
        upstream.when(f"cue:error-{status}", imposter.error(status))
    script = pathlib.Path(folder) / SOURCE.name      # node finds packages beside the script
    shutil.copyfile(SOURCE, script)
    rows = [provider(f"fail{cue}", upstream.base_url, models=(f"m{cue}",))
            for cue in (400, 404, 429, 500, 503, "broken", "cut", "stall")]
    with Daemon(config(provider("fakecloud", upstream.base_url), *rows)) as daemon:
        offset = time.monotonic() - time.time()
        done = subprocess.run(["node", str(script), local.url, daemon.url], capture_output=True, text=True,
                              timeout=patience(90))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        slow = next((r for r in upstream.chats if b"cue:slow" in r.body), None)
        if slow:
            slow.ended.wait(3)
        yield {"by_name": {r["name"]: r for r in lines}, "stderr": done.stderr, "slow": slow, "offset": offset}
    upstream.close()


def test_every_js_test_ran(results):
    assert list(results["by_name"]) and set(results["by_name"]) == set(NAMES), results["stderr"]


@pytest.mark.parametrize("name", NAMES)
def test_js(results, name):
    assert name in results["by_name"], f"did not run\n{results['stderr'][-2000:]}"
    result = results["by_name"][name]
    assert result["ok"], result.get("error")


def test_js_abort_stops_upstream(results):
    aborted = results["by_name"]["cloud abort"]["note"]["abortedAt"] / 1000 + results["offset"]
    assert results["slow"].gone_at is not None, "upstream went on"
    assert results["slow"].gone_at - aborted < patience(0.3)
