"""Prints Markdown tables from the JSON lines of the benches.

    python benches/table.py ops OURS... PYTORCH...     # of ops.rs and pytorch_ops.py
    python benches/table.py steps "what" OURS PYTORCH  # of training_step.rs and pytorch_step.py

`ops` shows the medians of several runs; `steps` has a line for each run. `share of the limit`: of
the copy bandwidth, or of the square matrix product in the same type, that PyTorch reached in the
same runs. `ratio`: PyTorch's best variant over ours, above 1 if ours is faster. `start, ms`: the
same pass at the sizes of the preset `tiny`, ours and PyTorch's fastest. A figure near it measures
launching, not the device.
"""

import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

LIMITS = {"gbytes_per_s": "copy", "tflops": "matmul"}


def lines(paths):
    """Yields the records of files, each with the file's stamp (card and commit) if it has one.

    The last line of a killed program may be incomplete.
    """
    for path in map(Path, paths):
        stamp = path.with_suffix(".stamp")
        extra = {"stamp": stamp.read_text().strip()} if stamp.exists() else {}
        for line in path.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line) | extra


def parts(records):
    """Returns the records to show, and those of the preset `tiny` if there are others."""
    records = list(records)
    tiny = [record for record in records if record.get("preset") == "tiny"]
    shown = [record for record in records if record.get("preset") != "tiny"]
    return (shown, tiny) if shown else (tiny, [])


def starts(tiny):
    """Returns {(op, dtype, pass): (ours, PyTorch's)}, the least of all shapes and variants."""
    found = defaultdict(lambda: [math.inf, math.inf])
    for (op, _, dtype, step), variants in medians(tiny).items():
        for variant, figures in variants.items():
            pair, side = found[op, dtype, step], int(variant != "uner")
            pair[side] = min(pair[side], figures["ms"])
    return found


def medians(records):
    """Returns {(op, shape, dtype, pass): {variant: {figure: median}}}, in order of appearance."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in records:
        key = tuple(record[name] for name in ("op", "shape", "dtype", "pass"))
        for figure in ("ms", "gbytes_per_s", "tflops", "peak_mib"):
            if record.get(figure) is not None:
                found[key][record["variant"]][figure].append(record[figure])
    median = {
        key: {
            variant: {f: statistics.median(v) for f, v in figures.items()}
            for variant, figures in variants.items()
        }
        for key, variants in found.items()
    }
    return median


def limit(table, unit, dtype):
    """Returns the best rate of the limit's bench; a copy is the same in every type."""
    rates = [
        figures[unit]
        for (op, _, of, _), variants in table.items()
        for figures in variants.values()
        if op == LIMITS[unit] and (op == "copy" or of == dtype) and unit in figures
    ]
    return max(rates, default=None)


def rate_text(unit, rate):
    if unit == "gbytes_per_s":
        return f"{rate:.1f} GB/s"
    return f"{rate:.1f} TFLOP/s" if rate >= 1 else f"{rate * 1000:.0f} GFLOP/s"


def mib(figures):
    return f"{figures['peak_mib']:,.0f}" if "peak_mib" in figures else ""


def row(key, variants, table, start):
    op, shape, dtype, step = key
    ours = variants.get("uner")
    others = {name: figures for name, figures in variants.items() if name != "uner"}
    best = min(others, key=lambda name: others[name]["ms"], default=None)
    cells = [op, shape, dtype, step]
    if ours:
        unit = next(unit for unit in LIMITS if unit in ours)
        top = limit(table, unit, dtype)
        share = f"{ours[unit] / top:.2f}" if top else ""
        ratio = f"{others[best]['ms'] / ours['ms']:.2f}" if best else ""
        cells += [f"{ours['ms']:.3f}", rate_text(unit, ours[unit]), share, ratio, mib(ours)]
    else:
        figures = others[best]
        unit = next(unit for unit in LIMITS if unit in figures)
        cells += ["", rate_text(unit, figures[unit]), "", "", ""]
    times = sorted(others.items(), key=lambda item: item[1]["ms"])
    cells.append(", ".join(f"{name} {figures['ms']:.3f}" for name, figures in times))
    cells.append(mib(others[best]) if best else "")
    if start is not None:
        both = start[op, dtype, step]
        cells.append(" / ".join(f"{ms:.3f}" for ms in both) if max(both) < math.inf else "")
    return cells


def share_of_peak(variants, peaks):
    """Returns our share of the maker's figure; empty without a figure of ours."""
    ours = variants.get("uner", {})
    return next((f"{ours[unit] / peak:.2f}" for unit, peak in peaks.items() if unit in ours), "")


def ops(paths, peaks=None):
    shown, tiny = parts(lines(paths))
    table, start = medians(shown), starts(tiny) if tiny else None
    head = [
        "op",
        "shape",
        "type",
        "pass",
        "ours, ms",
        "rate",
        "share of the limit",
        "ratio",
        "ours, MiB",
    ]
    head += ["PyTorch, ms", "PyTorch's best, MiB"] + (["start, ms"] if tiny else [])
    rows = [row(*item, table, start) for item in table.items()]
    if peaks:
        head.append("share of the stated peak")
        rows = [
            [*cells, share_of_peak(variants, peaks)]
            for cells, variants in zip(rows, table.values())
        ]
    print_table(head, rows)


def steps(what, ours, pytorch):
    ours, pytorch = list(lines([ours])), list(lines([pytorch]))

    def cells(records, figure):
        return ", ".join(f"{record[figure]:,.0f}" for record in records)

    def median(records, figure):
        return statistics.median(record[figure] for record in records)

    speed, memory = "tokens_per_second", "peak_rss_mb"
    ratio = median(ours, speed) / median(pytorch, speed)
    head = [
        "what",
        "ours, tokens/s",
        "PyTorch, tokens/s",
        "ratio of the medians",
        "ours, peak RSS, MiB",
    ]
    line = [
        what,
        cells(ours, speed),
        cells(pytorch, speed),
        f"{ratio:.2f}",
        f"{median(ours, memory):,.0f}",
    ]
    print_table([*head, "PyTorch, peak RSS, MiB"], [[*line, f"{median(pytorch, memory):,.0f}"]])


def print_table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "ops":
        ops(sys.argv[2:])
    elif len(sys.argv) == 5 and sys.argv[1] == "steps":
        steps(*sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
