#!/usr/bin/env python3
"""clang-tidy over the given files, several at once, until the time is up.

    tools/tidy.py --build build/dev --jobs N --seconds S FILE…

Files are taken in the order given; those not reached in time are counted and named, never silently left out. A result is
kept under BUILD/tidy, keyed by what the file and the headers it includes contain, so an unchanged file costs nothing.
"""
import argparse, concurrent.futures, hashlib, json, pathlib, re, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def local_headers(path: pathlib.Path, seen: set) -> set:
    """The file and every header of ours below it."""
    if path in seen or not path.exists():
        return seen
    seen.add(path)
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(errors="replace"), re.M):
        local_headers(ROOT / "src" / name, seen)
    return seen


def key_of(path: pathlib.Path, rules: str) -> str:
    digest = hashlib.sha256(rules.encode())
    for part in sorted(local_headers(path, set())):
        digest.update(part.read_bytes())
    return digest.hexdigest()[:24]


def check(path: pathlib.Path, build: pathlib.Path, rules: str) -> str:
    """Complaints about one file; empty when it is clean."""
    kept = build / "tidy" / key_of(path, rules)
    if kept.exists():
        return ""
    result = subprocess.run(["nice", "clang-tidy-19", "--quiet", "-p", build, path], capture_output=True, text=True)
    if result.returncode == 0:
        kept.touch()
        return ""
    return result.stdout or result.stderr


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    (options.build / "tidy").mkdir(exist_ok=True)
    known = {pathlib.Path(entry["file"]).resolve() for entry in json.loads((options.build / "compile_commands.json").read_text())}
    files = [file.resolve() for file in options.files if file.resolve() in known]
    rules = (ROOT / ".clang-tidy").read_text()
    end, complaints, left = time.monotonic() + options.seconds, [], []

    def in_time(path: pathlib.Path) -> None:
        if time.monotonic() > end:
            left.append(path)
        elif complaint := check(path, options.build, rules):
            complaints.append(complaint)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(in_time, files))
    print("\n".join(complaints))
    print(f"clang-tidy: {len(files) - len(left)} files, {len(complaints)} with complaints")
    if left:
        print(f"not reached in {options.seconds:.0f} s: {' '.join(str(p.relative_to(ROOT)) for p in left)}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
