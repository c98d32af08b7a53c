"""Fixtures, a time limit per test, and the one line that sums a run up."""
from __future__ import annotations

import os
import pathlib
import signal
import tempfile

import pytest

import harness
from harness import Daemon, config, provider
from imposter import Certificates, Imposter

LIMIT = 60
tally = {"passed": 0, "failed": 0, "skipped": 0}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails by itself, with a traceback of where."""
    marker = item.get_closest_marker("limit")
    seconds = int(harness.patience(marker.args[0] if marker else LIMIT))

    def late(*_: object) -> None:
        raise TimeoutError(f"test took longer than {seconds} s")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pytest_runtest_logreport(report):
    if report.skipped:
        tally["skipped"] += 1
    elif report.failed:
        tally["failed"] += 1
    elif report.when == "call":
        tally["passed"] += 1


def pytest_collectreport(report):
    if report.failed:
        tally["failed"] += 1


def pytest_unconfigure(config):
    if not config.getoption("collectonly"):
        print(f"\n{tally['passed']} passed, {tally['failed']} failed, {tally['skipped']} skipped")


@pytest.fixture
def upstream():
    imposter = Imposter()
    yield imposter
    imposter.close()
    assert not [p for p in imposter.problems if "Connection reset" not in p], imposter.problems


@pytest.fixture
def second():
    imposter = Imposter(("big-model", "other-model"))
    yield imposter
    imposter.close()


@pytest.fixture
def daemon(upstream):
    """No engine, one paid cloud provider that a person turned on: `fakecloud/big-model`."""
    with Daemon(config(provider("fakecloud", upstream.base_url))) as one:
        yield one


@pytest.fixture
def make():
    """Any number of daemons, all stopped and examined at the end: make(config_text, …)."""
    made: list[Daemon] = []

    def build(text: str, **kw) -> Daemon:
        made.append(Daemon(text, **kw))
        return made[-1]
    yield build
    problems = []
    for one in reversed(made):
        try:
            one.close()
        except AssertionError as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture(scope="session")
def engine() -> str:
    for name, value in (("INTERTIE_TEST_ENGINE", harness.ENGINE), ("INTERTIE_TEST_MODEL", harness.MODEL)):
        assert value, f"{name} is not set: ./dev test sets it; by hand, export the path of llama-server or the GGUF"
        assert os.path.exists(value), f"{name}={value}: no such file"
    return harness.ENGINE


@pytest.fixture(scope="session")
def local(engine):
    """The real engine with the real default model, nothing else; for tests that leave it as they found it. The engine's
    own default temperature is 0, so that the command line, which sets none, repeats itself too."""
    steady = f'[local.model."{harness.MODEL_NAME}"]\narguments = ["--temp", "0"]'
    with Daemon(config(engine=engine, paid=False, local=steady), models=[harness.MODEL]) as one:
        yield one


@pytest.fixture(scope="session")
def certificates():
    with tempfile.TemporaryDirectory(prefix="itt-ca-") as folder:
        yield Certificates(pathlib.Path(folder))
