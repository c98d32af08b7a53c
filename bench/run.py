#!/usr/bin/env python3
"""Intertie against nginx in one run, in front of the same mock upstream. `./dev bench [quick|full]` calls this.

Absolute times shift with the host; ratios within one run hold. So every round measures direct, nginx and candidate one
right after the other (their order turns), a row is the median of the rounds' ratios, and a run whose direct answers
are uneven is called noisy and blesses nothing. CPU comes from schedstat over all threads of the process tree.

Two layouts: "same core" pins proxy, mock and client to one core (no wake-ups across cores: repeats best); "split" gives
the proxy a core of its own and everything else another.
"""
import argparse, datetime, itertools, json, os, pathlib, platform, re, shutil, socket, statistics, subprocess, sys, tempfile, time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# Row: (name, limit "must hold", moonshot, unit). Ratios to nginx unless a unit is given.
LIMITS = {
    "added p50, same core": (1.10, 0.95, ""),
    "CPU per request, c=8": (1.15, 0.95, ""),
    "CPU per request, c=64": (1.15, 0.95, ""),
    "requests/s per core, c=64": (0.95, 1.10, ""),
    "added TTFT p50": (1.05, 0.92, ""),
    "CPU per SSE chunk, back to back": (1.2, 1.03, ""),
    "CPU per SSE chunk, 20 ms pace": (1.0, 0.85, ""),
    "idle RSS": (12, 5.5, "MiB"),
    "per idle client": (4, 2, "KB"),
    "per live SSE stream": (12, 6, "KB"),
    "start to first 200": (100, 20, "ms"),
    "idle wake-ups": (2, 1, "/s"),
}
HIGHER_IS_BETTER = {"requests/s per core, c=64"}
CORES = sorted(os.sched_getaffinity(0))


# ---- processes -------------------------------------------------------------------------------------------------------

def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process tree that listens on a port."""

    def __init__(self, name: str, command: list, port: int, env: dict | None = None, ready: str = "", log: str = ""):
        self.name, self.command, self.port, self.env, self.ready, self.log = name, command, port, env, ready, log
        self.process = None

    def start(self) -> float:
        """Starts it; milliseconds until it answered."""
        begun = time.monotonic()
        with open(self.log or os.devnull, "ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not self.answers():
            if self.process.poll() is not None:
                raise SystemExit(f"bench: {self.name} ended with {self.process.returncode}\n{tail(self.log)}")
            if time.monotonic() - begun > 30:
                raise SystemExit(f"bench: {self.name} didn't answer within 30 s\n{tail(self.log)}")
            time.sleep(0.0005)
        return (time.monotonic() - begun) * 1000

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                s.sendall(f"GET {self.ready or '/stats'} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                head = s.recv(4096)
                return head.startswith(b"HTTP/1.1 200") if self.ready else head.startswith(b"HTTP/1.1")
        except OSError:
            return False

    def pids(self) -> list:
        found, new = [], [self.process.pid]
        while new:
            found += new
            new = [int(child) for pid in new for task in tasks(pid)
                   for child in read(f"/proc/{pid}/task/{task}/children").split()]
        return found

    def cpu(self) -> float:
        """CPU seconds of all threads so far."""
        return sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0] or 0)
                   for pid in self.pids() for task in tasks(pid)) / 1e9

    def rss_kb(self) -> int:
        return sum(int(m[1]) for pid in self.pids() if (m := re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))))

    def switches(self) -> int:
        return sum(int(m[1]) for pid in self.pids() for task in tasks(pid)
                   if (m := re.search(r"^voluntary_ctxt_switches:\s+(\d+)", read(f"/proc/{pid}/task/{task}/status"), re.M)))

    def pin(self, core: int) -> None:
        for pid in self.pids():
            for task in tasks(pid):
                try:
                    os.sched_setaffinity(int(task), {core})
                except ProcessLookupError:
                    pass

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "0"


def tasks(pid: int) -> list:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []


def tail(path: str) -> str:
    return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-15:]) if path else ""


# ---- the field -------------------------------------------------------------------------------------------------------

CONFIG = """[server]
listen = "127.0.0.1:{port}"

[[provider]]
name = "mock"
kind = "vllm"
base_url = "http://127.0.0.1:{mock}/v1"
place = "device"
trust = "T0"
models = [{models}]
"""


class Field:
    """Mock, nginx and candidate, started, with a folder of their own."""

    def __init__(self, options, directory: pathlib.Path):
        self.options, self.directory, self.model = options, directory, options.model
        build = pathlib.Path(options.build)
        self.load = build / "bench/bench_load"
        self.mock = Server("mock", [build / "bench/bench_mock", str(port := free_port())], port, ready="/stats")
        self.nginx = self.make_nginx("nginx")
        self.candidate = self.make_candidate(1)

    def make_nginx(self, name: str) -> Server:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        port = free_port()
        text = (HERE / "nginx.conf.in").read_text()
        for key, value in {"DIR": home, "MOCK": self.mock.port, "PORT": port, "USER": "user root;" if os.getuid() == 0 else ""}.items():
            text = text.replace(f"@{key}@", str(value))
        (home / "nginx.conf").write_text(text)
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if not binary:
            raise SystemExit("bench: no nginx; `./dev setup bench` installs it")
        self.nginx_binary = binary
        return Server(name, [binary, "-p", str(home), "-c", str(home / "nginx.conf")], port, ready="/stats", log=str(home / "log"))

    def make_candidate(self, models: int) -> Server:
        if self.options.candidate == "nginx":
            return self.make_nginx("candidate")
        home, port, path = self.directory / "candidate", free_port(), pathlib.Path(self.options.candidate).resolve()
        home.mkdir(exist_ok=True)
        if not path.exists():
            raise SystemExit(f"bench: no {path}; `./dev build` makes it, or name another with --candidate")
        if self.options.candidate_args is not None:
            arguments = self.options.candidate_args.format(port=port, mock=self.mock.port).split()
            return Server(path.name, [path, *arguments], port, ready="", log=str(home / "log"))
        names = ["gpt-4.1", *(f"other-{i:04}" for i in range(models - 1))]
        (home / "intertie.toml").write_text(CONFIG.format(port=port, mock=self.mock.port, models=", ".join(f'"{n}"' for n in names)))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("INTERTIE_", "XDG_"))}
        env |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        env |= {"XDG_RUNTIME_DIR": str(home), "INTERTIE_CONFIG": str(home / "intertie.toml"),
                "INTERTIE_SERVER_LISTEN": f"127.0.0.1:{port}"}
        return Server("intertie", [path, "serve", *self.options.serve_args.split()], port, env, "/readyz", str(home / "log"))

    def start(self) -> None:
        for server in (self.mock, self.nginx, self.candidate):
            server.start()
        self.choose_model()

    def choose_model(self) -> None:
        """`auto` costs a decision, so it is what counts; a candidate that doesn't know it gets the model's own name."""
        for name in dict.fromkeys([self.model, "gpt-4.1"]):
            self.model = name
            if self.run_load(self.candidate, ["--seconds", "0.05"], quiet=True)["errors"] == 0:
                return
        raise SystemExit(f"bench: {self.candidate.name} doesn't answer requests\n{tail(self.candidate.log)}")

    def run_load(self, server: Server, arguments: list, core: int | None = None, quiet: bool = False) -> dict:
        command = [self.load, str(server.port), "--model", self.model, *map(str, arguments)]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        cpu = server.cpu()
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not result.stdout.startswith("{"):
            raise SystemExit(f"bench: load against {server.name} failed: {result.stderr[-1500:]}")
        answer = json.loads(result.stdout)
        answer["cpu"] = server.cpu() - cpu
        if answer["errors"] and not quiet:
            raise SystemExit(f"bench: {answer['errors']} wrong answers from {server.name}; a fast wrong answer is worth nothing\n"
                             f"{result.stderr[-1500:]}")
        return answer

    def stop(self) -> None:
        for server in (self.candidate, self.nginx, self.mock):
            server.stop()

    def pin_same_core(self) -> int:
        core = CORES[-1]
        for server in (self.mock, self.nginx, self.candidate):
            server.pin(core)
        return core

    def pin_split(self) -> int:
        proxy, rest = CORES[0], CORES[-1]
        self.mock.pin(rest)
        self.nginx.pin(proxy)
        self.candidate.pin(proxy)
        return rest


# ---- measuring -------------------------------------------------------------------------------------------------------

class Report:
    def __init__(self):
        self.lines, self.missed, self.absurd, self.noise = [], [], [], []

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self.lines.append(text)

    def row(self, name: str, value: float, detail: str) -> None:
        hold, moonshot, unit = LIMITS[name]
        better = (lambda a, b: a >= b) if name in HIGHER_IS_BETTER else (lambda a, b: a <= b)
        verdict = "moonshot" if better(value, moonshot) else "holds" if better(value, hold) else "OVER"
        sign = "≥" if name in HIGHER_IS_BETTER else "≤"
        if verdict == "OVER":
            self.missed.append(name)
            if not better(value, hold / 2 if name in HIGHER_IS_BETTER else hold * 2):
                self.absurd.append(name)
        self.say(f"  {name:<34} {value:8.2f} {unit or '×':<4} {sign} {hold:<6g} {verdict:<9} {detail}")


def rounds(field: Field, servers: list, count: int, arguments: list, core: int) -> dict:
    """count × each server once, the order turning, so that drift of the host hits all alike."""
    results = {server.name: [] for server in servers}
    for i in range(count):
        turned = servers[i % len(servers):] + servers[:i % len(servers)]
        for server in turned:
            results[server.name].append(field.run_load(server, arguments, core))
    return results


def ratio_of(results: dict, nginx: Server, candidate: Server, figure) -> tuple[float, float, float]:
    ours, theirs = [figure(r) for r in results[candidate.name]], [figure(r) for r in results[nginx.name]]
    return (statistics.median(a / b if b else float("nan") for a, b in zip(ours, theirs)),
            statistics.median(ours), statistics.median(theirs))


def added(results: dict, field: Field, kind: str, quantile: str) -> tuple[float, float, float]:
    """What a proxy adds to the direct answer, round by round."""
    pairs = []
    for direct, nginx, ours in zip(*(results[s.name] for s in (field.mock, field.nginx, field.candidate))):
        base = direct[kind][quantile]
        pairs.append((ours[kind][quantile] - base, nginx[kind][quantile] - base))
    return (statistics.median(a / b if b > 0 else float("nan") for a, b in pairs),
            statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))


def latency_rows(field: Field, report: Report, count: int, seconds: float) -> None:
    core = field.pin_same_core()
    results = rounds(field, [field.mock, field.nginx, field.candidate], count, ["--seconds", seconds, "--warm", 0.1], core)
    ratio, ours, theirs = added(results, field, "latency", "p50")
    _, ours99, theirs99 = added(results, field, "latency", "window_p99")
    direct = results[field.mock.name]
    middle = statistics.median(r["latency"]["p50"] for r in direct)
    report.row("added p50, same core", ratio, f"{ours:.1f} / {theirs:.1f} µs on {middle:.1f}; p99 {ours99:.1f} / {theirs99:.1f} µs")
    spread = max(r["latency"]["p50"] for r in direct) / min(r["latency"]["p50"] for r in direct)
    worst = statistics.median(r["latency"]["p999"] for r in direct)
    if spread > 1.25:
        report.noise.append(f"direct p50 differs by {spread:.2f}× between rounds")
    if worst > max(10 * middle, 500):
        report.noise.append(f"direct p99.9 is {worst:.0f} µs at a p50 of {middle:.0f} µs")


def cpu_rows(field: Field, report: Report, count: int, seconds: float) -> None:
    core = field.pin_split()
    both = [field.nginx, field.candidate]
    per_request = lambda r: r["cpu"] / r["total"] * 1e6
    for c in (8, 64):
        results = rounds(field, both, count, ["--connections", c, "--seconds", seconds, "--warm", 0.1], core)
        ratio, ours, theirs = ratio_of(results, *both, per_request)
        report.row(f"CPU per request, c={c}", ratio, f"{ours:.1f} / {theirs:.1f} µs")
    ratio, ours, theirs = ratio_of(results, *both, lambda r: r["total"] / r["cpu"])
    seen, *_ = ratio_of(results, *both, lambda r: r["per_second"])
    report.row("requests/s per core, c=64", ratio, f"{ours:.0f} / {theirs:.0f} per CPU second; seen by the client: {seen:.2f}×")


def varied_line(field: Field, report: Report, count: int, seconds: float) -> None:
    """A burst of like requests shares its story in the ledger; here each brings one of its own. Said, not judged."""
    core, both = field.pin_split(), [field.nginx, field.candidate]
    results = rounds(field, both, count, ["--connections", 8, "--vary", "--seconds", seconds, "--warm", 0.1], core)
    ratio, ours, theirs = ratio_of(results, *both, lambda r: r["cpu"] / r["total"] * 1e6)
    report.say(f"  {'  no two requests alike, c=8':<34} {ratio:8.2f} ×                     {ours:.1f} / {theirs:.1f} µs")


def stream_rows(field: Field, report: Report, count: int, seconds: float) -> None:
    both = [field.nginx, field.candidate]
    first = ["--stream", "--chunks", 3, "--pace", 200, "--warm", 0.05, "--seconds"]
    core = field.pin_same_core()
    calm, *_ = added(rounds(field, [field.mock, *both], max(3, count - 2), [*first, seconds * 0.6], core), field, "first", "p50")
    core = field.pin_split()
    ratio, ours, theirs = added(rounds(field, [field.mock, *both], count, [*first, seconds], core), field, "first", "p50")
    report.row("added TTFT p50", ratio, f"{ours:.1f} / {theirs:.1f} µs; on the same core {calm:.2f}×")
    per_event = lambda r: r["cpu"] / r["events"] * 1e6
    results = rounds(field, both, count, ["--stream", "--connections", 8, "--chunks", 256, "--seconds", seconds], core)
    ratio, ours, theirs = ratio_of(results, *both, per_event)
    report.row("CPU per SSE chunk, back to back", ratio, f"{ours:.2f} / {theirs:.2f} µs")
    paced = ["--stream", "--connections", 100, "--chunks", 25, "--pace", 20000, "--seconds", 0.9, "--warm", 0.05]
    results = rounds(field, both, count, paced, core)
    ratio, ours, theirs = ratio_of(results, *both, per_event)
    report.row("CPU per SSE chunk, 20 ms pace", ratio, f"{ours:.2f} / {theirs:.2f} µs")


def held_kb(field: Field, server: Server, count: int, what: str) -> float:
    """KB of resident memory per connection that is held."""
    before = server.rss_kb()
    arguments = ["--connections", str(count), "--hold", what, "--model", field.model]
    if what == "streams":
        arguments += ["--stream", "--chunks", "100000", "--pace", "250000"]
    holder = subprocess.Popen([field.load, str(server.port), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline().strip() != "ready":
            raise SystemExit(f"bench: {server.name} didn't hold {count} {what} connections")
        time.sleep(0.3)
        return (server.rss_kb() - before) / count
    finally:
        holder.stdin.close()
        holder.wait()
        time.sleep(0.1)


def memory_rows(field: Field, report: Report, seconds: float, connections: int) -> None:
    """On fresh processes: memory that a run before has left behind would hide what a connection costs."""
    rss, idle, live = {}, {}, {}
    for server in (field.nginx, field.candidate):
        server.stop()
        starts = []
        for _ in range(5):
            starts.append(server.start())
            server.stop()
        server.start()
        time.sleep(0.5)
        rss[server.name] = server.rss_kb() / 1024
        if server is field.candidate:
            switches, begun = server.switches(), time.monotonic()
            time.sleep(seconds)
            wakes = (server.switches() - switches) / (time.monotonic() - begun)
        field.run_load(server, ["--seconds", 0.2])
        idle[server.name] = held_kb(field, server, connections, "idle")
        server.stop()
        server.start()
        field.run_load(server, ["--seconds", 0.2])
        live[server.name] = held_kb(field, server, connections, "streams")
    ours, theirs = field.candidate.name, field.nginx.name
    report.row("idle RSS", rss[ours], f"nginx {rss[theirs]:.1f}")
    report.row("per idle client", idle[ours], f"nginx {idle[theirs]:.1f} (with {connections})")
    report.row("per live SSE stream", live[ours], f"nginx {live[theirs]:.1f} (with {connections})")
    report.row("start to first 200", statistics.median(starts), "median of 5")
    report.row("idle wake-ups", wakes, f"over {seconds:g} s, all threads")


def open_loop(field: Field, report: Report, seconds: float) -> None:
    """Half of what nginx can do, on a timetable: stalls show here that a closed loop hides."""
    core = field.pin_split()
    top = field.run_load(field.nginx, ["--connections", 64, "--seconds", 0.5], core)["per_second"]
    rate = int(top / 2)
    report.say(f"\nOpen loop, {rate} requests/s on a timetable, 64 connections, {seconds:g} s (µs from the time on the table)")
    for server in (field.mock, field.nginx, field.candidate):
        got = field.run_load(server, ["--connections", 64, "--rate", rate, "--seconds", seconds, "--warm", 0.2], core)
        t = got["latency"]
        report.say(f"  {server.name if server is not field.mock else 'direct':<10} p50 {t['p50']:8.1f}  p99 {t['p99']:9.1f}"
                   f"  p99.9 {t['p999']:9.1f}  max {t['max']:9.1f}  done {got['per_second']:.0f}/s")


# ---- growth ----------------------------------------------------------------------------------------------------------

def slope(points: list) -> float:
    """Least squares through (x, y)."""
    mx, my = (statistics.mean(p[i] for p in points) for i in (0, 1))
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)


def growth_body(field: Field, report: Report) -> None:
    report.say("\nCPU per request against body size (µs)")
    core, sizes = field.pin_split(), [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20]
    points = {s.name: [] for s in (field.nginx, field.candidate)}
    for size, server in itertools.product(sizes, (field.nginx, field.candidate)):
        got = field.run_load(server, ["--connections", 4, "--body", size, "--seconds", 1], core)
        points[server.name].append((size / 1024, got["cpu"] / got["total"] * 1e6))
    report.say("  KB        " + "".join(f"{size >> 10:>9}" for size in sizes) + "   slope, µs per KB")
    for name, seen in points.items():
        report.say(f"  {name:<10}" + "".join(f"{y:9.1f}" for _, y in seen) + f"   {slope(seen):.3f}")


def growth_models(field: Field, report: Report) -> None:
    if field.options.candidate_args is not None or field.options.candidate == "nginx":
        return
    report.say("\nCPU per request against models known (µs)")
    counts, points = [10, 100, 1000], []
    for count in counts:
        field.candidate.stop()
        field.candidate = field.make_candidate(count)
        field.candidate.start()
        core = field.pin_split()
        got = [field.run_load(field.candidate, ["--connections", 8, "--seconds", 1], core) for _ in range(3)]
        points.append((count, statistics.median(g["cpu"] / g["total"] * 1e6 for g in got)))
    report.say("  models    " + "".join(f"{c:>9}" for c in counts) + "   slope, µs per 100 models")
    report.say(f"  {field.candidate.name:<10}" + "".join(f"{y:9.1f}" for _, y in points) + f"   {slope(points) * 100:.3f}")


def growth_streams(field: Field, report: Report) -> None:
    report.say("\nCPU per SSE chunk against live streams, 20 ms pace (µs)")
    core, counts = field.pin_split(), [1, 10, 100, 1000]
    points = {s.name: [] for s in (field.nginx, field.candidate)}
    for count, server in itertools.product(counts, (field.nginx, field.candidate)):
        got = field.run_load(server, ["--stream", "--connections", count, "--chunks", 50, "--pace", 20000, "--seconds", 1.5], core)
        points[server.name].append((count, got["cpu"] / got["events"] * 1e6))
    report.say("  streams   " + "".join(f"{c:>9}" for c in counts) + "   slope, µs per 100 streams")
    for name, seen in points.items():
        report.say(f"  {name:<10}" + "".join(f"{y:9.2f}" for _, y in seen) + f"   {slope(seen) * 100:.3f}")


# ---- report ----------------------------------------------------------------------------------------------------------

def output(command: list) -> str:
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    return (result.stdout + result.stderr).strip().split("\n")[0]


def describe(field: Field, report: Report, form: str) -> str:
    commit = output(["git", "-C", ROOT, "describe", "--always", "--dirty=-changed", "--exclude=*"])
    cpu = re.search(r"model name\s*:\s*(.*)", read("/proc/cpuinfo"))
    system = re.search(r'PRETTY_NAME="(.*)"', read("/etc/os-release"))
    candidate = os.path.relpath(field.options.candidate, ROOT) if field.candidate.name == "intertie" else field.candidate.name
    report.say(f"bench {form}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit}")
    report.say(f"machine: {cpu[1] if cpu else platform.machine()}, {len(CORES)} cores; {system[1] if system else ''}, Linux {platform.release()}")
    report.say(f"yardstick: {output([field.nginx_binary, '-v'])}; candidate: {candidate}"
               + (f" ({output([field.options.candidate, 'version'])})" if field.candidate.name == "intertie" else "")
               + f"; model asked for: {field.model}")
    report.say(f"load average at the start: {' '.join(f'{x:.2f}' for x in os.getloadavg())}\n")
    return commit


def verdict(report: Report, options) -> int:
    report.say(f"\nload average at the end: {' '.join(f'{x:.2f}' for x in os.getloadavg())}")
    if report.noise:
        report.say("noisy: " + "; ".join(report.noise) + ". This run blesses nothing.")
    if report.missed:
        report.say("over the limit: " + ", ".join(report.missed))
    if options.informational:
        bad = [] if report.noise else report.absurd
        if bad:
            report.say("absurd, hence a failure even here: " + ", ".join(bad))
        return 1 if bad else 0
    return 3 if report.noise else 1 if report.missed else 0


def measure(options, directory: pathlib.Path, report: Report) -> str:
    full = options.form == "full"
    field = Field(options, directory)
    try:
        field.start()
        commit = describe(field, report, options.form)
        count, seconds = (9, 1.0) if full else (5, 0.4)
        report.say("  candidate against nginx              value      limit    verdict   candidate / nginx")
        latency_rows(field, report, count, seconds)
        cpu_rows(field, report, count, seconds)
        varied_line(field, report, 3, seconds)
        stream_rows(field, report, count, seconds)
        memory_rows(field, report, 10 if full else 3, 1000 if full else 600)
        if full:
            open_loop(field, report, 5)
            growth_body(field, report)
            growth_streams(field, report)
            growth_models(field, report)
        stats = json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{field.mock.port}/stats"))
        report.say(f"\nthe mock saw {stats['requests']} requests, {stats['malformed']} malformed")
        if stats["malformed"]:
            report.absurd.append("malformed requests reached the upstream")
        return commit
    finally:
        field.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("form", nargs="?", choices=["quick", "full"], default="quick")
    parser.add_argument("--build", default=str(ROOT / "build/release"), help="where bench_load and bench_mock were built")
    parser.add_argument("--candidate", default=str(ROOT / "build/release/intertie"), help="binary to measure; `nginx` measures nginx against itself")
    parser.add_argument("--candidate-args", help="for another proxy: its arguments, with {port} and {mock}")
    parser.add_argument("--serve-args", default="--io-threads 1", help="arguments of `intertie serve`")
    parser.add_argument("--model", default="auto", help="model name that the client asks for")
    parser.add_argument("--informational", action="store_true", help="fail only on absurd results")
    parser.add_argument("--save", action="store_true", help="also write bench/results/DATE-COMMIT.txt (full does)")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="intertie-bench-") as directory:
        commit = measure(options, pathlib.Path(directory), report)
    status = verdict(report, options)
    if options.form == "full" or options.save:
        to = HERE / "results" / f"{datetime.date.today():%Y-%m-%d}-{commit}.txt"
        to.parent.mkdir(exist_ok=True)
        to.write_text("\n".join(report.lines) + "\n")
        print(f"written: {to.relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
