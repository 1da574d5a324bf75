"""Prints the environment of a measurement as JSON.

    python benches/environment.py record [COMMAND...]  # machine, versions, commit and command
    python benches/environment.py stamp RECORD         # card and commit of such a record, in short
    python benches/environment.py commit               # only the commit
    python benches/environment.py has PACKAGE...       # fails if a package is not installed
    python benches/environment.py cuda-wheels          # the folder of CUDA in PyTorch's wheels
    cargo bench --no-run --message-format json | python benches/environment.py executable

None of these imports PyTorch, which would take seconds each time.
"""

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import subprocess
import sys
from pathlib import Path

GPU = (
    "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.sm,temperature.gpu,"
    "compute_mode"
)


def output(*command):
    """Returns the output of a program; None if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def first(path, key):
    """Returns the value of the first line `key : value` of a file in /proc."""
    try:
        with open(path) as file:
            return next(
                (line.split(":", 1)[1].strip() for line in file if line.startswith(key)), None
            )
    except OSError:
        return None


def gpu():
    found = output("nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader")
    return dict(zip(GPU.split(","), found.splitlines()[0].split(", "))) if found else None


def commit():
    """Returns the commit, with `+` if files differ from it. A pack has it in a file."""
    found = output("git", "rev-parse", "HEAD")
    if found is not None:
        return found + (
            "+" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
        )
    packed = Path(__file__).parents[1] / "commit"
    return packed.read_text().strip() if packed.exists() else None


def package(name):
    """Returns the folder of an installed package; None if it is not installed."""
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions():
    torch = runpy.run_path(str(package("torch") / "version.py")) if package("torch") else {}
    return {
        "python": platform.python_version(),
        "torch": torch.get("__version__"),
        "cuda of torch": torch.get("cuda"),
        "cudnn of torch": version("nvidia-cudnn-cu13"),
        "transformers": version("transformers"),
        "peft": version("peft"),
        "rustc": output("rustc", "--version"),
    }


def stamp(found):
    """Returns card and commit, as in `NVIDIA H200, 1a2b3c4d5`."""
    card = (found["gpu"] or {}).get("name", "no GPU")
    commit = found["commit"] or "unknown commit"
    return f"{card}, {commit[:9]}{'+' if commit.endswith('+') else ''}"


def record(command):
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "command": command,
        "processor": first("/proc/cpuinfo", "model name"),
        "processors": len(os.sched_getaffinity(0)),
        "memory": first("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "gpu": gpu(),
        **versions(),
    }


def executable(lines, name=None):
    """Returns the program in cargo's last message that has one (of the target `name`, if given)."""
    messages = [json.loads(line) for line in lines if line.startswith("{")]
    named = (
        message
        for message in reversed(messages)
        if name in (None, message.get("target", {}).get("name"))
    )
    return next((message["executable"] for message in named if message.get("executable")), "")


def main(what, *words):
    if what == "record":
        print(json.dumps(record(" ".join(words)), indent=2))
    elif what == "stamp":
        print(stamp(json.loads(Path(words[0]).read_text())))
    elif what == "commit":
        print(commit() or "")
    elif what == "has":
        sys.exit(any(package(name) is None for name in words))
    elif what == "cuda-wheels":
        print(package("torch").parent / "nvidia" / "cu13" if package("torch") else "")
    elif what == "executable":
        print(executable(sys.stdin, *words))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
