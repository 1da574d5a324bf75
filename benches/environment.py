"""What a measurement was made on, as JSON.

    python benches/environment.py record [COMMAND...]    # the machine, the versions, the commit, the command
    cargo bench --no-run --message-format json | python benches/environment.py executable
"""

import datetime
import json
import os
import platform
import subprocess
import sys

GPU = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.sm,temperature.gpu,compute_mode"


def output(*command):
    """What a program prints; None where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def first(path, key):
    """The value of the first line `key : value` of a file of /proc."""
    try:
        with open(path) as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), None)
    except OSError:
        return None


def gpu():
    found = output("nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader")
    return dict(zip(GPU.split(","), found.splitlines()[0].split(", "))) if found else None


def commit():
    """With `+` where files differ from it. A copy without `.git` is told by UNER_COMMIT."""
    found = output("git", "rev-parse", "HEAD")
    if found is None:
        return os.environ.get("UNER_COMMIT")
    return found + ("+" if output("git", "status", "--porcelain", "--untracked-files=no") else "")


def versions():
    import torch

    found = {"python": platform.python_version(), "torch": torch.__version__, "cuda of torch": torch.version.cuda}
    if torch.cuda.is_available():
        found["cudnn of torch"] = torch.backends.cudnn.version()
    try:
        import transformers

        found["transformers"] = transformers.__version__
    except ImportError:
        pass
    return found | {"rustc": output("rustc", "--version")}


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


def executable(lines):
    """The program of the last message of cargo that has one."""
    paths = [json.loads(line).get("executable") for line in lines if line.startswith("{")]
    return next((path for path in reversed(paths) if path), "")


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        print(json.dumps(record(" ".join(sys.argv[2:])), indent=2))
    elif sys.argv[1:] == ["executable"]:
        print(executable(sys.stdin))
    else:
        sys.exit(__doc__)
