#!/usr/bin/env python3
"""Documents are tests: what they show must work.

    tools/docs_check.py [--build build/dev] [--binary build/release/intertie]

- ```cpp blocks in *.md are compiled (syntax only) with the flags of the dev build, warnings as errors. A block is a file
  of its own: its includes at the top, then statements or declarations. A block whose first line is `// sketch` is not.
- ```toml blocks are parsed; one that holds `[server]` or `[[provider]]` also passes `intertie config show`, if built.
- `./dev VERB` anywhere must be a verb of ./dev; `intertie VERB` in ```sh blocks must be one of the command line.
- Relative links must point at something.
"""
import argparse, concurrent.futures, json, os, pathlib, re, shlex, subprocess, sys, tempfile, tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.S | re.M)


def documents() -> list:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def blocks(text: str, *languages: str) -> list:
    """(line, content) of the fenced blocks in these languages."""
    return [(text[:m.start()].count("\n") + 1, m[2]) for m in BLOCK.finditer(text) if m[1] in languages]


def compile_flags(build: pathlib.Path) -> list | None:
    """Flags of any source of ours; include paths and warnings are the same for all."""
    try:
        entries = json.loads((build / "compile_commands.json").read_text())
    except FileNotFoundError:
        return None
    entry = next(e for e in entries if "/src/core/" in e["file"])
    words = shlex.split(entry["command"])
    words = words[next(i for i, w in enumerate(words) if "clang++" in w):]
    drop = {"-c", "-o", entry["file"], "-g1"}
    kept = [w for i, w in enumerate(words) if w not in drop and words[i - 1] != "-o"]
    return [*kept, "-fsyntax-only", "-x", "c++", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-parameter",
            "-Wno-unused-const-variable", "-Wno-unneeded-internal-declaration"]


def compiles(flags: list, document: pathlib.Path, line: int, code: str) -> str:
    if code.startswith("// sketch"):
        return ""
    result = subprocess.run([*flags, "-"], input=f'#line {line + 1} "{document.name}"\n{code}', capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stderr.strip()


def config_holds(binary: pathlib.Path, document: pathlib.Path, line: int, text: str) -> str:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"{document.name}:{line}: {error}"
    if not binary.exists() or not re.search(r"^\[\[?(server|provider|local|policy)", text, re.M):
        return ""
    with tempfile.TemporaryDirectory() as home:
        file = pathlib.Path(home) / "intertie.toml"
        file.write_text(text)
        env = os.environ | {f"XDG_{kind}_HOME": home for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        result = subprocess.run([binary, "--config", file, "config", "show"], capture_output=True, text=True, env=env, timeout=20)
    return "" if result.returncode == 0 else f"{document.name}:{line}: intertie refuses this block: {result.stderr.strip()}"


def verbs_exist(document: pathlib.Path, text: str, dev_verbs: set, cli_verbs: set) -> list:
    wrong = [f"{document.name}: no verb `./dev {verb}`" for verb in re.findall(r"\./dev ([a-z][a-z0-9]*)", text) if verb not in dev_verbs]
    for line, code in blocks(text, "sh", "bash", "console"):
        for verb in re.findall(r"^(?:\$ )?(?:\S*/)?intertie ([a-z]+)", code, re.M):
            if cli_verbs and verb not in cli_verbs:
                wrong.append(f"{document.name}:{line}: no verb `intertie {verb}`")
    return wrong


def links_lead_somewhere(document: pathlib.Path, text: str) -> list:
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [f"{document.name}: link to nothing: {t}" for t in targets
            if not re.match(r"[a-z]+:", t) and not (document.parent / t).exists()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/intertie")
    options = parser.parse_args()
    flags = compile_flags(options.build)
    wrong, snippets, configs = [], [], 0
    dev_verbs = {"test", *re.search(r'^    (setup \|.*)\) "\$verb"', (ROOT / "dev").read_text(), re.M)[1].split(" | ")}
    completion = subprocess.run([options.binary, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    cli_verbs = set(re.search(r'^  local verbs="([^"]+)"', completion, re.M)[1].split())
    for document in documents():
        text = document.read_text()
        snippets += [(document, line, code) for line, code in blocks(text, "cpp")]
        for line, block in blocks(text, "toml"):
            configs += 1
            wrong.append(config_holds(options.binary, document, line, block))
        wrong += verbs_exist(document, text, dev_verbs, cli_verbs) + links_lead_somewhere(document, text)
    if flags is None and snippets:
        wrong.append(f"{options.build}: not configured, so no snippet was compiled; ./dev build dev")
    elif snippets:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            wrong += pool.map(lambda s: compiles(flags, *s), snippets)
    wrong = [w for w in wrong if w]
    print("\n".join(wrong) if wrong else f"documents: {len(snippets)} snippets compile, {configs} configurations hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
