"""`intertie doctor` against seeded faults: each is found, named, and comes with the line that mends it."""
import contextlib
import hashlib
import http.server
import os
import pathlib
import socket
import sqlite3
import threading

import pytest

import golden
import imposter
from harness import KEY, MODEL, Cli, Home, cli, config, provider


@pytest.fixture
def home():
    one = Home()
    yield one
    one.remove()


def complaints(done: Cli) -> list[dict]:
    """The rows that aren't fine: id, what, level, finding, fix."""
    document = done.json
    assert len(document["checks"]) >= 12, "it says what it looked at"
    return [c for c in document["checks"] if c["level"] != "ok"]


def diagnosed(home: Home, *words: str, environment: dict | None = None, before: list[str] | None = None,
              name: str | None = None, warning: bool = False) -> str:
    """Both forms tell the fault with a fix, and the exit status tells a failure. Returns the finding."""
    done = cli(home, "doctor", "--json", environment=environment, before=before)
    found = complaints(done)
    assert done.code == (0 if not [c for c in found if c["level"] == "fail"] else 1), done.out
    hits = [c for c in found if all(w.lower() in f"{c['id']} {c['what']} {c['finding']} {c['fix']}".lower()
                                    for w in words)]
    assert hits, f"nothing about {words} in {found}"
    assert hits[0]["level"] == ("warn" if warning else "fail") and hits[0]["fix"], hits[0]
    plain = cli(home, "doctor", environment=environment, before=before)
    assert plain.code == done.code and hits[0]["finding"] in plain.out and hits[0]["fix"] in plain.out
    if name:
        golden.check(f"doctor-{name}", "\n".join(f"{c['what']}: {c['finding']}\nfix: {c['fix']}" for c in hits[:1]),
                     (r"\d+(\.\d+)? ?[KMG]i?B", "SIZE"), (r"\b[0-9a-f]{12,64}\b", "SHA256"),
                     (r"process \d+|kill \d+", "process N"), (r"taken by \S+", "taken by PROGRAM"))
    return hits[0]["finding"]


# What depends on the machine that runs the tests and isn't seeded in its place.
OF_THIS_MACHINE = {"disk", "memory", "threads", "open_files", "cpu"}


def wrong(done: Cli) -> list[dict]:
    return [c for c in complaints(done) if c["id"] not in OF_THIS_MACHINE]


def healthy(home: Home, engine: str) -> None:
    home.file.write_text(config(engine=engine, paid=False, listen="127.0.0.1:46831"))
    home.add_model(MODEL)


def test_nothing_wrong(home, engine):
    """The control: without a fault there is no complaint, so each complaint below is about its seed."""
    healthy(home, engine)
    done = cli(home, "doctor", "--json")
    assert done.code == 0 and wrong(done) == [], done.out
    assert cli(home, "doctor").code == 0


def test_nothing_wrong_beside_a_running_daemon(local):
    done = local.cli("doctor", "--json")
    assert done.code == 0 and wrong(done) == [], done.out


def test_no_engine(home, engine):
    healthy(home, "/nowhere/llama-server")
    diagnosed(home, "engine", "/nowhere/llama-server", name="no-engine")


def test_engine_not_executable(home, engine):
    path = home.root / "llama-server"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o644)
    healthy(home, str(path))
    diagnosed(home, "engine", "chmod", str(path), name="engine-not-executable")


def test_engine_is_something_else(home, engine):
    healthy(home, "/bin/true")
    diagnosed(home, "engine", "/bin/true", name="engine-is-something-else")


@pytest.fixture
def shelf(tmp_path):
    """A file server on loopback with the model on it."""
    os.symlink(MODEL, tmp_path / "shelf.gguf")
    handler = lambda *a, **k: Quiet(*a, directory=str(tmp_path), **k)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/shelf.gguf"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_bad_model_hash(home, engine, shelf):
    healthy(home, engine)
    sha = hashlib.sha256(pathlib.Path(MODEL).read_bytes()).hexdigest()
    pulled = cli(home, "models", "pull", shelf, "--sha256", sha, timeout=60)
    assert pulled.code == 0, pulled.err
    file = next(f for f in home.data.rglob("shelf*.gguf"))
    with open(file, "r+b") as stream:
        stream.seek(-1000, 2)
        stream.write(b"\x55" * 16)
    diagnosed(home, "shelf", "hash", name="bad-model-hash")


def test_pull_refuses_a_wrong_hash(home, engine, shelf):
    healthy(home, engine)
    done = cli(home, "models", "pull", shelf, "--sha256", "0" * 64, timeout=60)
    assert done.code != 0 and "sha256" in done.err.lower()
    assert not list(home.data.rglob("shelf.gguf"))


def test_truncated_model(home, engine):
    healthy(home, engine)
    (home.models / "short.gguf").write_bytes(pathlib.Path(MODEL).read_bytes()[:5_000_000])
    diagnosed(home, "short", name="truncated-model")


def test_no_model_at_all(home, engine):
    home.file.write_text(config(engine=engine, listen="127.0.0.1:46831"))
    diagnosed(home, "model", "intertie models", name="no-model")


def test_port_taken(home, engine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        healthy(home, engine)
        home.file.write_text(config(engine=engine, paid=False, listen=f"127.0.0.1:{port}"))
        diagnosed(home, "port", str(port), name="port-taken")


def test_port_taken_stops_serve_with_the_fix(home, engine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.file.write_text(config(listen=f"127.0.0.1:{taken.getsockname()[1]}"))
        done = cli(home, "serve", timeout=10)
        assert done.code == 1 and "taken" in done.err and str(taken.getsockname()[1]) in done.err


def with_cloud(home: Home, engine: str, upstream, **more) -> None:
    healthy(home, engine)
    home.file.write_text(config(provider("fakecloud", upstream if isinstance(upstream, str) else upstream.base_url,
                                         **more), engine=engine,
                                listen="127.0.0.1:46831"))


def test_key_missing(home, engine, upstream):
    with_cloud(home, engine, upstream, key="env:NO_SUCH_KEY")
    diagnosed(home, "fakecloud", "NO_SUCH_KEY", name="key-missing")


def test_key_wrong(home, engine, upstream):
    upstream.when("/models", imposter.error(401, "Incorrect API key provided", code="invalid_api_key"))
    with_cloud(home, engine, upstream)
    problem = diagnosed(home, "fakecloud", "key", name="key-wrong")
    assert KEY not in problem


def test_key_file_readable_by_all(home, engine, upstream):
    key = home.root / "key"
    key.write_text("sk-in-a-file-0123456789")
    key.chmod(0o644)
    with_cloud(home, engine, upstream, key=f"file:{key}")
    diagnosed(home, str(key), "chmod 600", name="key-file-readable-by-all")


def test_key_file_missing(home, engine, upstream):
    with_cloud(home, engine, upstream, key=f"file:{home.root}/nokey")
    diagnosed(home, f"{home.root}/nokey")


def test_provider_unreachable(home, engine):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with_cloud(home, engine, f"http://127.0.0.1:{sock.getsockname()[1]}/v1")
        diagnosed(home, "fakecloud", name="provider-unreachable", warning=True)


def test_provider_with_an_untrusted_certificate(home, engine, certificates):
    upstream = imposter.Imposter(tls=certificates)
    with_cloud(home, engine, upstream)
    diagnosed(home, "fakecloud", "certificate", warning=True)
    upstream.close()


def test_too_little_memory(home, engine):
    healthy(home, engine)
    home.file.write_text(config(engine=engine, paid=False, listen="127.0.0.1:46831", local='memory_limit = "60 MB"'))
    diagnosed(home, "memory", name="too-little-memory")


IN_A_SPACE_OF_ITS_OWN = ["unshare", "-rm", "sh", "-ec"]


def test_full_disk(home, engine):
    healthy(home, engine)
    script = f'mount -t tmpfs -o size=256k none {home.state}; mkdir -m 700 {home.state}/intertie; ' \
             f'dd if=/dev/zero of={home.state}/filler bs=1k count=300 2>/dev/null || true; exec "$@"'
    diagnosed(home, "disk", str(home.state), before=[*IN_A_SPACE_OF_ITS_OWN, script, "sh"], name="full-disk")


def test_state_folder_not_writable(home, engine):
    healthy(home, engine)
    script = f'mkdir -p {home.state}/intertie; mount -t tmpfs -o ro none {home.state}/intertie; exec "$@"'
    diagnosed(home, "write", f"{home.state}/intertie", before=[*IN_A_SPACE_OF_ITS_OWN, script, "sh"],
              name="state-not-writable")


def test_state_folder_is_a_file(home, engine):
    healthy(home, engine)
    (home.state / "intertie").write_text("in the way")
    diagnosed(home, f"{home.state}/intertie")


def test_folders_open_to_others(home, engine):
    healthy(home, engine)
    (home.run / "intertie").mkdir()
    (home.run / "intertie").chmod(0o777)
    diagnosed(home, f"{home.run}/intertie", "chmod 700", name="folder-open-to-others")


def test_config_error(home, engine):
    healthy(home, engine)
    home.file.write_text("[server]\nlissten = 3\n")
    diagnosed(home, "2:", 'did you mean "listen"', name="config-error")


def test_clock_is_behind(home, engine, make):
    """A decision's id holds its time: the newest one is moved 40 days ahead, as if the clock had gone back since.
    An id is milliseconds above 23 random bits."""
    one = make(config(engine="none"), home=home)
    one.chat("Hi")
    one.explain()
    one.stop()
    with contextlib.closing(sqlite3.connect(home.state / "intertie" / "receipts.db")) as database:
        old = database.execute("SELECT max(id) FROM receipts").fetchone()[0]
        database.execute("UPDATE receipts SET id = ? WHERE id = ?", (old + ((40 * 86_400_000) << 23), old))
        database.commit()
    healthy(home, engine)
    diagnosed(home, "clock", "behind")


def test_stale_socket(home, engine):
    healthy(home, engine)
    home.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(home.socket))
    diagnosed(home, str(home.socket), name="stale-socket", warning=True)


def test_processor_without_avx(home, engine):
    healthy(home, engine)
    cpuinfo = home.root / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Old\nflags\t\t: fpu vme sse sse2 ssse3 sse4_1 sse4_2\n\n")
    diagnosed(home, "avx", environment={"INTERTIE_CPUINFO": str(cpuinfo)}, name="no-avx")


def test_several_faults_are_told_together(home, engine, upstream):
    with_cloud(home, "/nowhere/llama-server", upstream, key="env:NO_SUCH_KEY")
    (home.models / "short.gguf").write_bytes(b"GGUF")
    done = cli(home, "doctor", "--json")
    text = str(complaints(done))
    assert "/nowhere/llama-server" in text and "NO_SUCH_KEY" in text and "short" in text


def test_doctor_without_network_ends_soon(home, engine):
    import time
    with_cloud(home, engine, "http://192.0.2.1/v1")
    begin = time.monotonic()
    cli(home, "doctor", before=["unshare", "-rn"])
    assert time.monotonic() - begin < 15
