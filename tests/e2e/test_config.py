"""Configuration: each mistake is told with place and fix; a running daemon takes changes whole or not at all."""
import os
import signal
import time

import pytest

import golden
from harness import Home, cli, config, provider, until

A = '[[provider]]\nname = "a"\nkind = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"\n'
MISTAKES = {
    "unknown-key": '[server]\nlisten = "127.0.0.1:0"\nlissten = 3\n',
    "unknown-section": '[sever]\nlisten = "127.0.0.1:0"\n',
    "unknown-provider-key": A + 'plaec = "cloud"\n',
    "wrong-type": "[policy]\npaid = \"yes\"\n",
    "wrong-type-list": A + 'models = "big"\n',
    "wrong-duration": '[local]\nkeep_alive = "10 minutes"\n',
    "wrong-size": '[local]\nmemory_limit = "lots"\n',
    "wrong-place": A + 'place = "clod"\n',
    "wrong-trust": A + 'trust = "T9"\n',
    "unknown-kind": '[[provider]]\nname = "a"\nkind = "opnai"\n',
    "bad-url": '[[provider]]\nname = "a"\nkind = "openai-compatible"\nbase_url = "127.0.0.1:1"\n',
    "url-with-password": A.replace("127", "u:p@127"),
    "no-url": '[[provider]]\nname = "a"\nkind = "openai-compatible"\n',
    "no-name": '[[provider]]\nkind = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"\n',
    "same-name-twice": A * 2,
    "local-is-taken": '[[provider]]\nname = "local"\nkind = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"\n',
    "not-toml": "[server\nlisten = 1\n",
    "key-twice": '[server]\nlisten = "127.0.0.1:0"\nlisten = "127.0.0.1:1"\n',
    "key-in-the-file": A + 'key = "sk-abcdefghijklmnop"\n',
    "bad-listen": '[server]\nlisten = "localhost"\n',
    "port-too-big": '[server]\nlisten = "127.0.0.1:70000"\n',
    "not-utf8": b'[server]\nlisten = "\xff"\n',
}


def test_set_changes_one_key_of_a_running_daemon(make):
    one = make("# mine\n" + config() + "# the end\n")
    done = one.cli("set", "policy.small_tokens", "77")
    assert done.code == 0 and "77" in done.out and str(one.home.file) in done.out
    text = one.home.file.read_text()
    assert text.startswith("# mine\n") and text.endswith("# the end\n") and text.count("77") == 1
    until(lambda: "reloaded" in one.stderr, 3, "the daemon takes it over")
    assert "small_tokens = 77" in one.cli("config", "show").out


def test_set_refuses_what_the_daemon_would(make):
    one = make(config())
    before = one.home.file.read_text()
    for key, value, code in (("server.listen", "0.0.0.0:1", 3), ("policy.small_tokens", "few", 3),
                             ("server.lisen", "x", 1), ("server.listen", None, 2)):
        done = one.cli("set", key, *([value] if value else []))
        assert done.code == code and done.err, (key, done)
        assert one.home.file.read_text() == before
    assert "did you mean server.listen" in one.cli("set", "server.lisen", "x").err


def test_set_makes_the_file_and_mends_a_broken_one(home):
    home.file.unlink(missing_ok=True)
    environment = {"INTERTIE_CONFIG": ""}
    assert cli(home, "set", "log.level", "debug", environment=environment).code == 0
    assert 'level = "debug"' in home.file.read_text() and home.file.stat().st_mode & 0o777 == 0o600
    home.file.write_text('[log]\nlevel = "loud"   # too much\n')
    assert cli(home, "set", "log.level=info").code == 0
    assert home.file.read_text() == '[log]\nlevel = "info"   # too much\n'
    assert cli(home, "set", "--unset", "log.level").code == 0
    assert home.file.read_text() == "[log]\n"


@pytest.fixture
def home():
    one = Home()
    yield one
    one.remove()


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(home, name):
    text = MISTAKES[name]
    home.file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli(home, "serve", timeout=10)
    assert done.code == 3, "exit code 3: configuration invalid\n" + done.err
    assert f"{home.file}:" in done.err, "a mistake is told as file:line:column"
    assert "sk-abcdefghijklmnop" not in done.err
    golden.check(f"config-{name}", done.err)


def test_every_verb_that_needs_a_config_tells_the_mistake(home):
    home.file.write_text(MISTAKES["unknown-key"])
    for verb in (("ask", "x"), ("status",), ("models", "list"), ("providers", "list"), ("config", "show"),
                 ("receipts",)):
        done = cli(home, *verb)
        assert done.code == 3 and "3:" in done.err and 'did you mean "listen"' in done.err, verb


def test_missing_file_that_was_named(home):
    done = cli(home, "serve", environment={"INTERTIE_CONFIG": str(home.root / "nowhere.toml")}, timeout=10)
    assert done.code == 3 and "nowhere.toml" in done.err


def test_defaults_without_a_file(home):
    done = cli(home, "config", "show", environment={"INTERTIE_CONFIG": ""})
    assert done.code == 0 and "127.0.0.1:4683" in done.out and "paid = false" in done.out


def test_path(home):
    home.file.write_text("")
    assert cli(home, "config", "path").out.splitlines()[0].endswith(str(home.file))


def test_init_writes_a_file_that_works_and_never_overwrites(home):
    home.file.unlink(missing_ok=True)
    first = cli(home, "config", "init", environment={"INTERTIE_CONFIG": ""})
    assert first.code == 0, first.err
    written = home.file.read_text()
    assert "[server]" in written and cli(home, "config", "show").code == 0
    home.file.write_text(written + "# mine\n")
    again = cli(home, "config", "init", environment={"INTERTIE_CONFIG": ""})
    assert again.code != 0 and "--force" in again.err and home.file.read_text().endswith("# mine\n")


def test_init_makes_the_file_that_is_missing(home):
    """What the message about a missing file advises must work in that very situation."""
    advice = cli(home, "serve", timeout=10)
    assert advice.code == 3 and "intertie config init" in advice.err
    assert cli(home, "config", "init").code == 0 and "[server]" in home.file.read_text()


def test_show_reads_back(home):
    home.file.write_text(config(provider("fakecloud", "http://127.0.0.1:9/v1"),
                                local='memory_limit = "600 MB"\nkeep_alive = "10m"'))
    shown = cli(home, "config", "show")
    assert shown.code == 0 and "env:FAKE_KEY" in shown.out and 'keep_alive = "10m"' in shown.out
    home.file.write_text(shown.out)
    again = cli(home, "config", "show")
    assert again.code == 0, again.err
    assert again.out == shown.out


def test_environment_goes_over_the_file(home):
    home.file.write_text(config(paid=True))
    shown = cli(home, "config", "show", environment={"INTERTIE_POLICY_PAID": "false",
                                                     "INTERTIE_LOCAL_KEEP_ALIVE": "7m"})
    assert shown.code == 0, shown.err
    assert "paid = false" in shown.out and 'keep_alive = "7m"' in shown.out


def test_mistake_in_the_environment_is_told(home):
    home.file.write_text(config())
    done = cli(home, "config", "show", environment={"INTERTIE_POLICY_PAID": "perhaps"})
    assert done.code == 3 and "INTERTIE_POLICY_PAID" in done.err
    golden.check("config-environment", done.err)


def test_command_line_goes_over_the_environment(make):
    one = make(config(listen="127.0.0.1:1"), environment={"INTERTIE_SERVER_LISTEN": "127.0.0.1:0"})
    assert one.get("/healthz").status == 200 and one.port > 1


def test_key_from_a_file(make, upstream, home):
    key = home.root / "key"
    key.write_text("sk-from-a-file-0123456789\n")
    key.chmod(0o600)
    one = make(config(provider("fakecloud", upstream.base_url, key=f"file:{key}")))
    assert one.chat(model="big-model").status == 200
    assert upstream.chats[0].header("authorization") == "Bearer sk-from-a-file-0123456789"


def test_key_from_a_systemd_credential(make, upstream, home):
    folder = home.root / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "cloud-key").write_text("sk-credential-0123456789")
    (folder / "cloud-key").chmod(0o400)
    one = make(config(provider("fakecloud", upstream.base_url, key="credential:cloud-key")),
               environment={"CREDENTIALS_DIRECTORY": str(folder)})
    assert one.chat(model="big-model").status == 200
    assert upstream.chats[0].header("authorization") == "Bearer sk-credential-0123456789"


# ---------------------------------------------------------------- changes while it runs

def paid_off(daemon) -> bool:
    return daemon.chat(model="big-model").status == 403


def test_sighup_reloads(daemon, upstream):
    assert not paid_off(daemon)
    folder_watch_blind = daemon.home.file.with_suffix(".new")
    folder_watch_blind.write_text(config(provider("fakecloud", upstream.base_url), paid=False))
    os.replace(folder_watch_blind, daemon.home.file)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: paid_off(daemon), 3, "the new policy in force")
    until(lambda: "reloaded" in daemon.stderr, 1, "a line that says so")


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_changed_file_is_taken_by_itself(daemon, upstream, how):
    assert not paid_off(daemon)
    text = config(provider("fakecloud", upstream.base_url), paid=False)
    if how == "written":
        daemon.home.file.write_text(text)
    else:
        new = daemon.home.file.with_name(".intertie.toml.swp")
        new.write_text(text)
        os.replace(new, daemon.home.file)
    until(lambda: paid_off(daemon), 3, "the new policy in force")


def test_invalid_file_keeps_the_old_one_and_says_why(daemon, upstream):
    daemon.home.file.write_text(config(provider("fakecloud", upstream.base_url), paid=False) + "\n[polcy]\n")
    until(lambda: "polcy" in daemon.stderr, 3, "the mistake in the log")
    assert "did you mean" in daemon.stderr
    assert not paid_off(daemon), "half of an invalid file was taken"
    daemon.home.file.write_text(config(provider("fakecloud", upstream.base_url), paid=False))
    until(lambda: paid_off(daemon), 3, "the mended file in force")


def test_removed_file_keeps_the_old_one(daemon):
    daemon.home.file.unlink()
    daemon.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert daemon.chat(model="big-model").status == 200


def test_provider_added_and_removed_while_running(daemon, upstream, second):
    assert daemon.chat(model="beta/other-model").status == 404
    both = config(provider("fakecloud", upstream.base_url), provider("beta", second.base_url, models=("other-model",)))
    daemon.home.file.write_text(both)
    until(lambda: daemon.chat(model="beta/other-model").status == 200, 3, "the new provider")
    daemon.home.file.write_text(config(provider("fakecloud", upstream.base_url)))
    until(lambda: daemon.chat(model="beta/other-model").status == 404, 3, "the provider's end")


def test_reload_does_not_cut_a_running_answer(daemon, upstream):
    import imposter
    upstream.then(imposter.text("one two three four five six seven eight", pace=0.05))
    connection, response = daemon.open_stream(model="big-model")
    begun = response.read1(512)
    daemon.home.file.write_text(config(paid=False))
    until(lambda: "reloaded" in daemon.stderr, 3, "the reload")
    rest = begun + response.read()
    assert b"eight" in rest and rest.rstrip().endswith(b"[DONE]")
    connection.close()


def test_many_reloads_under_load(daemon, upstream):
    import threading
    texts = [config(provider("fakecloud", upstream.base_url), policy=f"small_tokens = {n}") for n in range(1000, 1020)]
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(daemon.chat(model="big-model").status)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for text in texts:
        daemon.home.file.write_text(text)
        time.sleep(0.02)
    done.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200} and len(statuses) > 20


def test_changed_listen_address_needs_a_restart_and_says_so(daemon, upstream):
    daemon.home.file.write_text(config(provider("fakecloud", upstream.base_url), listen="127.0.0.1:4699"))
    until(lambda: "restart" in daemon.stderr, 3, "a line that says so")
    assert daemon.chat(model="big-model").status == 200
