"""Runs inside a network namespace of its own (`unshare -rn python quiet_place.py`): only loopback is there, everything
else is routed to it and counted by nft. A fresh daemon without keys is asked 1,000 mixed things.

Nothing can leave such a place; the counters show whether anything tried to.
"""
import json
import re
import socket
import subprocess
import sys

RULES = """
table inet quiet {
  counter elsewhere { }
  chain out {
    type filter hook output priority 0; policy accept;
    ip daddr != 127.0.0.0/8 counter name elsewhere;
    ip6 daddr != ::1 counter name elsewhere;
  }
}
"""


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def counted() -> int:
    return int(re.search(r"packets (\d+)", run("nft", "list", "counters"))[1])


def main() -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "route", "add", "default", "dev", "lo")
    run("ip", "-6", "route", "add", "default", "dev", "lo")
    run("nft", "-f", "-", text=RULES)

    # The counter must count, or a zero means nothing.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"x", ("192.0.2.1", 53))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"x", ("2001:db8::1", 53))
    control = counted()

    from harness import ENGINE, MODEL, MODEL_NAME, Daemon, config
    statuses: dict[str, int] = {}
    with Daemon(f'[server]\nlisten = "127.0.0.1:0"\n[local]\nengine = "{ENGINE}"\n', models=[MODEL]) as daemon:
        def chat(text: str, **more):
            return daemon.chat(text, max_tokens=1, **more)
        answered = [       # by the engine, at some cost
            lambda n: chat(f"Say {n}"),
            lambda n: chat(f"Mail anna{n}@example.org about 4111 1111 1111 1111"),
            lambda n: chat("Hi", model="auto:best"),
            lambda n: chat("Hi", model=MODEL_NAME, stream=True),
            lambda n: chat("Hi", headers={"X-Intertie-Place": "cloud"}),
        ]
        others = [
            lambda n: chat("Hi", model="openai/gpt-4o"),
            lambda n: daemon.get("/v1/models"),
            lambda n: daemon.get("/v1/models/gpt-4o"),
            lambda n: daemon.post(b"not json"),
            lambda n: chat([{"type": "text", "text": "Look"},
                            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}]),
            lambda n: daemon.get("/intertie/v1/explain/last" if n % 5 == 0 else "/intertie/v1/receipts?limit=3"),
            lambda n: daemon.get("/metrics"),
            lambda n: daemon.get("/intertie/v1/status", unix=True),
            lambda n: chat("Hi", model="auto:private", headers={"X-Intertie-Route-Only": "1"}),
        ]
        for n in range(1000):
            few = n % 10 == 0
            answer = (answered[n // 10 % len(answered)] if few else others[n % len(others)])(n)
            statuses[str(answer.status)] = statuses.get(str(answer.status), 0) + 1
        for verb in (("doctor",), ("providers", "list"), ("models", "list"), ("status",), ("receipts",)):
            daemon.cli(*verb)
    print(json.dumps({"control": control, "elsewhere": counted() - control, "statuses": statuses}))


if __name__ == "__main__":
    main()
