"""Writes the report of gpu.sh from the folder of its raw lines.

Prints Markdown to stdout and writes all medians as JSON to `gpu.json` in the folder.

    python benches/gpu_report.py FOLDER
"""

import json
import re
import sys
from pathlib import Path

import steps_report
import table as tables
from gpu_summary import Tests, problems, sanitizer_texts

# Dense bf16 TFLOP/s (half of the figures with sparsity) and GB/s of memory in NVIDIA's data sheets.
# The first entry whose name occurs in nvidia-smi's name counts.
PARTS = {
    "H200 NVL": (835, 4800),
    "H200": (989, 4800),
    "H100 NVL": (835, 3900),
    "H100 PCIe": (756, 2000),
    "H100": (989, 3350),
}
COPIED = ("rms_norm", "rope", "swiglu", "dropout", "squared_norm", "adamw")
OPS = ("attention", *COPIED, "linear", "linear_cross_entropy")


class Results:
    def __init__(self, folder):
        self.folder = folder
        self.environment = json.loads((folder / "environment.json").read_text())
        self.paths = sorted(
            path for kind in ("ops", "limits") for path in (folder / "raw").glob(f"{kind}-*.jsonl")
        )
        shown, self.tiny = tables.parts(tables.lines(self.paths))
        self.medians = tables.medians(shown)
        self.dtype = shown[-1]["dtype"] if shown else "bf16"

    def limit(self, unit):
        return tables.limit(self.medians, unit, self.dtype)

    def peaks(self):
        """Returns NVIDIA's figures by unit; empty for a GPU that is not in the list."""
        name = (self.environment["gpu"] or {}).get("name", "")
        found = next(
            (peaks for part, peaks in PARTS.items() if re.search(rf"\b{part}\b", name)), ()
        )
        return dict(zip(("tflops", "gbytes_per_s"), found))

    def rows(self, op, *passes):
        """Yields (shape, pass, ours, {variant: figures}) of passes that both sides measured."""
        for (of, shape, _, step), variants in self.medians.items():
            others = {name: figures for name, figures in variants.items() if name != "uner"}
            if of == op and step in passes and "uner" in variants and others:
                yield shape, step, variants["uner"], others


def fastest(others):
    return min(others.values(), key=lambda figures: figures["ms"])


def attention_aims(results):
    for shape, step, ours, others in results.rows("attention", "forward", "backward"):
        if shape.endswith("causal"):
            ratio = fastest(others)["ms"] / ours["ms"]
            yield f"attention {shape}, {step}: PyTorch's best over ours", 1.0, ratio
            if "x8192 " in shape:
                wanted = {"forward": 500, "backward": 400}[step]
                yield f"attention {shape}, {step}: TFLOP/s", wanted, ours["tflops"]
    for shape, step, ours, others in attention(results, "packed"):
        wanted = {"forward": 1.3, "backward": 1.2}[step]
        ratio = fastest(others)["ms"] / ours["ms"]
        yield f"attention {shape}, {step}: PyTorch's best over ours", wanted, ratio


def attention(results, kind):
    rows = results.rows("attention", "forward", "backward")
    return [row for row in rows if row[0].endswith(kind)]


def copy_aims(results):
    copy = results.limit("gbytes_per_s")
    for op in COPIED:
        for shape, step, ours, _ in results.rows(op, "forward", "backward", "update"):
            if copy:
                yield (
                    f"{op} {shape}, {step}: share of the copy's GB/s",
                    0.85,
                    ours["gbytes_per_s"] / copy,
                )


def product_aims(results):
    for shape, step, ours, others in results.rows("linear", "forward", "backward"):
        if not shape.startswith("1x"):
            yield (
                f"linear {shape}, {step}: cuBLAS over ours",
                0.97,
                fastest(others)["ms"] / ours["ms"],
            )
    for shape, step, ours, others in results.rows(
        "linear_cross_entropy", "forward", "forward+backward"
    ):
        chunked = {name: figures for name, figures in others.items() if "chunk" in name}
        if chunked:
            name = f"linear_cross_entropy {shape}, {step}"
            yield (
                f"{name}: PyTorch's best in chunks over ours",
                1.2,
                fastest(chunked)["ms"] / ours["ms"],
            )
            theirs = [figures["peak_mib"] for figures in chunked.values() if "peak_mib" in figures]
            if theirs and ours.get("peak_mib"):
                yield (
                    f"{name}: PyTorch's least memory over ours",
                    1.0,
                    min(theirs) / ours["peak_mib"],
                )


def inference(results):
    """Returns the lines of inference by program."""
    paths = sorted((results.folder / "raw").glob("inference-*.jsonl"))
    return {line["program"]: line for line in tables.lines(paths)}


def inference_aims(results):
    lines = inference(results)
    if "uner" in lines:
        ours = lines["uner"]["queries_per_second"]
        yield "inference, 7B: queries/s", 1000, ours
        if "transformers" in lines:
            theirs = lines["transformers"]["queries_per_second"]
            yield "inference, 7B: queries/s over transformers", 3, ours / theirs


def inference_rows(results):
    limit, lines = results.limit("tflops"), inference(results)
    theirs = lines.get("transformers", {}).get("queries_per_second")
    for name, line in lines.items():
        rate = line["flops"] / line["seconds"] if "flops" in line else None
        yield [
            name,
            f"{line['batch']}",
            f"{line['queries']:,}",
            f"{line['queries_per_second']:,.0f}",
            f"{line['queries_per_second'] / theirs:.2f}" if theirs else "",
            f"{rate / limit / 1e12:.2f}" if rate and limit else "",
            f"{rate / steps_report.STATED:.2f}" if rate else "",
        ]


def aims(results, steps):
    found = [
        *attention_aims(results),
        *copy_aims(results),
        *product_aims(results),
        *steps_report.aims(steps),
        *inference_aims(results),
    ]
    rows = [
        [name, f"≥ {wanted:g}", f"{got:.2f}", "yes" if got >= wanted else "**no**"]
        for name, wanted, got in found
    ]
    parts = (*OPS, *(f"steps-{kind}" for kind in steps_report.KINDS), "inference")
    named = {re.split("[ ,]", name)[0] for name, _, _ in found}
    missing = [part for part in parts if part not in named]
    return rows + [[part, "", "not measured", ""] for part in missing]


def environment(results):
    found = {
        **results.environment,
        **{f"GPU {k}": v for k, v in (results.environment["gpu"] or {}).items()},
    }
    return [[key, str(value)] for key, value in found.items() if key != "gpu" and value is not None]


def limits(results):
    rows = []
    for name, unit in {"product, TFLOP/s": "tflops", "copy, GB/s": "gbytes_per_s"}.items():
        found, peak = results.limit(unit), results.peaks().get(unit)
        share = f"{found / peak:.2f}" if found and peak else ""
        rows.append([name, f"{peak:,}" if peak else "", f"{found:,.1f}" if found else "", share])
    return rows


def compared(results, steps):
    """Yields a row for each of our figures, with PyTorch's best."""
    yield from steps_report.compared(steps, results.limit("tflops"))
    stamps = {line["op"]: line.get("stamp", "") for line in tables.lines(results.paths)}
    for key, variants in results.medians.items():
        op, shape, dtype, step = key
        others = {name: figures for name, figures in variants.items() if name != "uner"}
        if "uner" in variants and step != "forward+backward":
            ours = variants["uner"]
            best = min(others, key=lambda name: others[name]["ms"], default=None)
            theirs = f"{others[best]['ms']:.3f} ({best})" if best else "not measured"
            ratio = f"{others[best]['ms'] / ours['ms']:.2f}" if best else ""
            unit = next(unit for unit in tables.LIMITS if unit in ours)
            top = results.limit(unit)
            share = f"{ours[unit] / top:.2f}" if top else ""
            yield [
                f"{op} {shape} {dtype}, {step}: ms",
                f"{ours['ms']:.3f}",
                theirs,
                ratio,
                share,
                stamps[op],
            ]


def tests(folder):
    """Summarises the tests: totals, devices and types, and skipped ones."""
    found = Tests(folder)
    if not found.names:
        return "Not run."
    logs = "\n".join(map(found.log, found.names))
    setups = sorted(
        set(
            re.findall(
                r"^\s*((?:flex|webgpu|vulkan|cuda)[\w:]* (?:F32|F16|BF16))$", logs, re.MULTILINE
            )
        )
    )
    parts = [f"{found.totals()}, on {(folder / 'tests/stamp').read_text().strip()}."]
    parts += [
        f"Devices and types: {', '.join(setups)}." if setups else "**No test named its device.**"
    ]
    skipped = found.skipped()
    parts += [f"**Skipped:** {'; '.join(skipped)}." if skipped else "Nothing was skipped."]
    return " ".join(parts)


def failures(folder):
    failed = [f"- FAILED: `{problem}`" for problem in problems(folder)]
    told = [
        line
        for path in sorted((folder / "raw").glob("*-pytorch.err"))
        for line in path.read_text().splitlines()
    ]
    left_out = [
        line
        for line in told
        if line.split(" ")[0] in (*OPS, "copy", "matmul") or line.startswith("out of memory: ")
    ]
    failed += [
        f"- Planned for less memory after: `{path.read_text().strip()}`"
        for path in sorted((folder / "raw").glob("*.retried"))
    ]
    return failed + [f"- {line}" for line in dict.fromkeys(left_out)]


def rates(results):
    for (op, shape, dtype, step), variants in results.medians.items():
        for variant, figures in variants.items():
            yield {
                "op": op,
                "shape": shape,
                "dtype": dtype,
                "pass": step,
                "variant": variant,
                **figures,
            }


def main(folder):
    results = Results(folder)
    everything = {"environment": results.environment, "medians": list(rates(results))}
    steps = steps_report.Steps(folder)
    everything["steps"] = steps.lines
    everything["inference"] = list(inference(results).values())
    everything["runs"] = list(tables.lines(results.paths))
    (folder / "gpu.json").write_text(json.dumps(everything, indent=1))
    gpu = results.environment["gpu"]
    name = gpu["name"] if gpu else "REHEARSAL WITHOUT A GPU, no figure means anything"
    print(f"# GPU suite: {name}\n")
    tables.print_table(["what", "value"], environment(results))
    print(f"\n## Tests\n\n{tests(folder)}\n\n## Limits\n")
    tables.print_table(["limit", "stated by NVIDIA", "measured here", "share"], limits(results))
    print(
        "\n## Ours beside PyTorch\n\nThe ratio is above 1 where ours is faster. The limit is the "
        "copy or the product of the same run.\n"
    )
    tables.print_table(
        ["what", "ours", "PyTorch's best", "ratio", "share of the limit", "card, commit"],
        compared(results, steps),
    )
    print("\n## Aims\n\nThe aims are for an H200.\n")
    tables.print_table(["aim", "wanted", "measured", "met"], aims(results, steps))
    print("\n## Ops\n")
    tables.ops(results.paths, results.peaks())
    print("\n## Steps\n")
    steps_report.show(steps, results.limit("tflops"))
    print("\n## Inference\n")
    head = ["program", "at a time", "queries", "queries/s", "over transformers"]
    head += ["share of the measured product", "share of 790 TFLOP/s"]
    tables.print_table(head, inference_rows(results))
    print("\n## Sanitizer\n")
    print("\n".join(f"- {text}" for text in sanitizer_texts(folder)) or "Not run.")
    print("\n## Left out or failed\n")
    print("\n".join(failures(folder)) or "Nothing.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
