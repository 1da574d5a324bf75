"""Prints the progress of gpu.sh, from its folder of raw lines and logs.

python benches/gpu_summary.py lines FILE.jsonl    # the lines of a program, in short
python benches/gpu_summary.py tests FOLDER        # tests that passed, failed or were cut off
python benches/gpu_summary.py sanitizer FOLDER    # the errors of every kernel and tool
python benches/gpu_summary.py failed FOLDER       # fails if anything failed
"""

import re
import sys
from collections import Counter
from pathlib import Path

import table as tables

GIB = 2**30
# Number of slowest tests to name.
SLOWEST = 5


def steps_text(line):
    memory = line.get("reserved_bytes")
    parts = [
        f"{line['tokens_per_second']:,.0f} tokens/s, "
        f"{line['trained_tokens_per_second']:,.0f} trained tokens/s",
        f"median of {line['steps']} steps {line['median_step_seconds']:.3f} s",
        f"first step after {line['first_step_seconds']:.1f} s",
        f"{line['micro_batch_rows']} rows of {line['seq']}",
        f"{memory / GIB:.1f} GiB" if memory else "",
        f"loss {line['last_loss']:.3f}",
    ]
    return f"{line['variant']}: " + ", ".join(part for part in parts if part)


def op_text(line):
    unit = next(unit for unit in tables.LIMITS if unit in line)
    rate = tables.rate_text(unit, line[unit])
    name = f"{line['op']} {line['shape']}, {line['pass']}"
    return f"{name}: {line['ms']:.3f} ms, {rate} ({line['variant']})"


def inference_text(line):
    return (
        f"{line['program']}: {line['queries_per_second']:,.0f} queries/s, {line['queries']:,} "
        f"queries in {line['seconds']:.1f} s, {line['batch']} at a time"
    )


def texts(records):
    """Yields a text per line; of cumulative results only the last."""
    steps = [line for line in records if line.get("what") == "steps"]
    for line in records:
        what = line.get("what")
        if what == "plan":
            yield (
                f"plan: {line['total_bytes'] / GIB:.1f} GiB, {line['micro_batch_rows']} rows, "
                f"{line['recomputed_blocks']} blocks recomputed"
            )
        elif what == "op":
            seconds = f"{line['seconds']:.4f} s of {line['step_seconds']:.3f} s"
            yield f"{line['op']}, {line['pass']}: {seconds}"
        elif what == "inference":
            yield inference_text(line)
        elif what is None and line["pass"] != "forward+backward" and line["preset"] != "tiny":
            yield op_text(line)
    if steps:
        yield steps_text(steps[-1])


class Tests:
    """Names, statuses and durations of the tests; empty if they were not run."""

    def __init__(self, folder):
        self.folder = folder / "tests"
        listed = self.folder / "list"
        self.names = listed.read_text().split() if listed.exists() else []
        results = self.folder / "results"
        lines = (
            [line.split() for line in results.read_text().splitlines()] if results.exists() else []
        )
        self.status = {name: int(status) for status, _, name in lines}
        self.seconds = {name: int(seconds) for _, seconds, name in lines}
        self.failed = [name for name in self.names if self.status.get(name, 0) != 0]
        # A killed test has no line in `results`, and a test that did not start has no log.
        self.cut_off = [name for name in self.names if name not in self.status]

    def log(self, name):
        path = self.folder / "logs" / f"{name.replace('::', '.')}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def reason(self, name):
        """Returns the message of the last panic (earlier ones may be expected).

        The line before the message has the location.
        """
        found = re.findall(r"panicked at .*:\n(.*)", self.log(name))
        return (
            found[-1][:200]
            if found
            else (self.log(name).strip().splitlines() or ["nothing was printed"])[-1][:200]
        )

    def totals(self):
        passed = len(self.names) - len(self.failed) - len(self.cut_off)
        counts = {"passed": passed, "FAILED": len(self.failed), "cut off": len(self.cut_off)}
        return (
            ", ".join(
                f"{count} {what}" for what, count in counts.items() if count or what == "passed"
            )
            + f" of {len(self.names)}"
        )

    def skipped(self):
        lines = (
            line
            for name in self.names
            for line in self.log(name).splitlines()
            if line.startswith("SKIPPED")
        )
        return [f"{line} ({count} times)" for line, count in Counter(lines).most_common()]

    def texts(self):
        yield f"tests: {self.totals()}"
        yield from (f"FAILED {name}: {self.reason(name)}" for name in self.failed)
        for name in self.cut_off:
            yield f"cut off {name}" if self.log(name) else f"not begun {name}"
        yield from self.skipped()
        slowest = sorted(self.seconds, key=self.seconds.get, reverse=True)[:SLOWEST]
        yield "slowest: " + ", ".join(f"{name} {self.seconds[name]} s" for name in slowest)


def sanitized(folder):
    """Yields (tool, op and type, whether it is clean, finding) for every case that was started.

    A clean case ended with status 0 and a summary of 0 errors: not every finding of a tool becomes
    an exit status.
    """
    for path in sorted((folder / "raw").glob("sanitizer-*.log")):
        _, tool, op, dtype = path.stem.split("-")
        text, ended = path.read_text(errors="replace").strip(), path.with_suffix(".status")
        status = ended.read_text().strip() if ended.exists() else None
        counts = re.findall(r"SUMMARY: (.*)", text)
        found = counts[-1] if counts else (text.splitlines() or ["nothing was printed"])[-1][:200]
        if status is None:
            found = "cut off"
        elif status != "0":
            found = f"status {status}: {found}"
        yield (
            tool,
            f"{op} {dtype}",
            status == "0" and bool(counts) and counts[-1].startswith("0 "),
            found,
        )


def sanitizer_texts(folder):
    """Yields the number of clean cases per tool, and the other cases one by one."""
    all_found = list(sanitized(folder))
    for tool in dict.fromkeys(tool for tool, *_ in all_found):
        of_tool = [found for found in all_found if found[0] == tool]
        yield f"{tool}: {sum(is_clean for *_, is_clean, _ in of_tool)} clean of {len(of_tool)}"
        yield from (f"{tool} {op}: {found}" for _, op, is_clean, found in of_tool if not is_clean)


def problems(folder):
    """Yields a line for everything that failed or was cut off."""
    yield from (path.read_text().strip() for path in sorted((folder / "raw").glob("*.failed")))
    tests = Tests(folder)
    yield from (f"test {name}: {tests.reason(name)}" for name in tests.failed)
    yield from (f"test {name}: cut off" for name in tests.cut_off)
    yield from (
        f"{tool} {op}: {found}" for tool, op, is_clean, found in sanitized(folder) if not is_clean
    )


def main(what, path):
    if what == "lines":
        found = texts(list(tables.lines([path])))
    elif what == "tests":
        found = Tests(path).texts()
    elif what == "sanitizer":
        found = sanitizer_texts(path)
    elif what == "failed":
        sys.exit(any(True for _ in problems(path)))
    else:
        sys.exit(__doc__)
    for text in found:
        print(f"         {text}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
