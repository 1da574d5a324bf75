"""The part of gpu_report.py on training steps: compares `steps/main.rs` and `pytorch_steps.py`.

MFU is `FLOPs of the step / its seconds / rate`. FLOPs are counted as in
`crates/uner-model/src/flops.rs`: recomputation does not count, padding of PyTorch's rows does. The
rate is that of the product measured in the same run, or 790 TFLOP/s.
"""

import re

import table as tables

KINDS = ("full", "lora", "conversations")
STATED = 790e12
GIB = 2**30


class Steps:
    """Lines of runs with a measured step, plans, data and ops, with the GPU's memory in use."""

    def __init__(self, folder):
        self.lines, self.plans, self.data, self.ops = [], {}, None, []
        for path in sorted((folder / "raw").glob("steps-*.jsonl")):
            kind, steps = path.name.split("-")[1], None
            for line in tables.lines([path]):
                line |= {"kind": kind, "used_mib": used(path.with_suffix(".memory"))}
                if line["what"] == "plan" and kind in KINDS:
                    self.plans[kind] = line
                elif line["what"] == "conversations":
                    self.data = line
                elif line["what"] == "op":
                    self.ops.append(line)
                elif line["what"] == "steps":
                    # Lines are cumulative: the last one has all steps.
                    steps = line
            if steps:
                self.lines.append(steps)

    def of(self, kind):
        return sorted(
            (line for line in self.lines if line["kind"] == kind),
            key=lambda line: line["variant"] != "uner",
        )

    def ours(self, kind):
        return next((line for line in self.of(kind) if line["variant"] == "uner"), None)

    def best(self, kind, figure):
        """Returns PyTorch's line with the largest `figure`."""
        others = [line for line in self.of(kind) if line["variant"] != "uner"]
        return max(others, key=lambda line: line[figure], default=None)


def used(path):
    """Returns the MiB in use by nvidia-smi, including the driver's; None if not measured."""
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if re.fullmatch(r"\d+", text) else None


def aims(steps):
    for kind, figure, wanted in (
        ("full", "tokens_per_second", 1.15),
        ("lora", "tokens_per_second", 1.5),
        ("conversations", "trained_tokens_per_second", 4.0),
    ):
        ours, theirs = steps.ours(kind), steps.best(kind, figure)
        if ours and theirs:
            name = figure.replace("_per_second", "/s").replace("_", " ")
            yield (
                f"steps-{kind} ours over PyTorch's best ({theirs['variant']}), {name}",
                wanted,
                ours[figure] / theirs[figure],
            )
        wanted = {"full": 12_000, "lora": 17_000}.get(kind)
        if ours and wanted:
            yield f"steps-{kind} tokens/s", wanted, ours["tokens_per_second"]


def compared(steps, matmul):
    """Yields (what, ours, PyTorch's best, ratio, share of measured product, card and commit)."""
    for kind in KINDS:
        figure = "trained_tokens_per_second" if kind == "conversations" else "tokens_per_second"
        name = figure.replace("_per_second", "/s").replace("_", " ")
        ours, theirs = steps.ours(kind), steps.best(kind, figure)
        if ours:
            best = f"{theirs[figure]:,.0f} ({theirs['variant']})" if theirs else "not measured"
            ratio = f"{ours[figure] / theirs[figure]:.2f}" if theirs else ""
            share = f"{ours['flops_per_second'] / matmul / 1e12:.3f}" if matmul else ""
            yield [
                f"steps, {kind}: {name}",
                f"{ours[figure]:,.0f}",
                best,
                ratio,
                share,
                ours.get("stamp", ""),
            ]
            first = min(
                (line["first_step_seconds"] for line in steps.of(kind) if line is not ours),
                default=None,
            )
            best, ratio = (
                (f"{first:.1f}", f"{first / ours['first_step_seconds']:.2f}")
                if first
                else ("not measured", "")
            )
            yield [
                f"steps, {kind}: s to the end of the first",
                f"{ours['first_step_seconds']:.1f}",
                best,
                ratio,
                "",
                ours.get("stamp", ""),
            ]


def gib(number):
    return "" if number is None else f"{number / GIB:.1f}"


def layout(line):
    if line["variant"] == "uner":
        recomputed = f", {line['recomputed_blocks']} blocks recomputed"
    else:
        recomputed = ", checkpoints" if line["checkpointing"] else ""
    return f"{line['micro_batch_rows']} rows of {line['seq']}{recomputed}"


def row(line, matmul):
    rate = line["flops_per_second"]
    return [
        line["kind"], line["variant"], layout(line), str(line["steps"]),
        f"{line['first_step_seconds']:.1f}", f"{line['median_step_seconds']:.3f}",
        f"{line['tokens_per_second']:,.0f}", f"{line['trained_tokens_per_second']:,.0f}",
        f"{rate / matmul / 1e12:.3f}" if matmul else "", f"{rate / STATED:.3f}",
        gib(line["used_mib"] and line["used_mib"] * 2**20), gib(line.get("planned_bytes")),
        gib(line.get("reserved_bytes")),
        gib(line.get("in_use_bytes") or line.get("allocated_bytes")), line.get("stamp", ""),
    ]  # fmt: skip


def show_ops(ops, matmul):
    """Prints the time of every op in a step of full fine-tuning, and the rates of its products."""
    if not ops:
        return
    print("\nOne step of full fine-tuning by op, with a wait after every op:\n")
    whole, other = ops[0]["step_seconds"], ops[0]["other_seconds"]

    def rate(line):
        return f"{line['flops_per_second'] / 1e12:.1f}" if line["flops_per_second"] else ""

    def share(line):
        return (
            f"{line['flops_per_second'] / matmul / 1e12:.2f}"
            if matmul and line["flops_per_second"]
            else ""
        )

    rows = [
        [
            line["op"],
            line["pass"],
            f"{line['calls']:.0f}",
            f"{line['seconds']:.4f}",
            f"{line['seconds'] / whole:.3f}",
            rate(line),
            share(line),
        ]
        for line in ops
    ]
    rows += [
        ["other", "", "", f"{other:.4f}", f"{other / whole:.3f}", "", ""],
        ["step", "", "", f"{whole:.4f}", "1", "", ""],
    ]
    tables.print_table(
        ["op", "pass", "calls", "seconds", "share", "TFLOP/s", "of the measured product"], rows
    )


def show(steps, matmul):
    """Prints the tables; `matmul` is the measured product in TFLOP/s, None if not measured."""
    if not steps.lines and not steps.plans and not steps.ops:
        print("Not run.")
        return
    head = [
        "steps of", "variant", "micro-batch", "steps", "first step after, s", "median step, s",
        "tokens/s", "trained tokens/s (all steps)", "MFU of the measured product",
        "MFU of 790 TFLOP/s", "nvidia-smi's peak, GiB", "planned, GiB", "allocator's, GiB",
        "in use, GiB (ours between steps, PyTorch's peak)", "card, commit",
    ]  # fmt: skip
    tables.print_table(head, [row(line, matmul) for kind in KINDS for line in steps.of(kind)])
    if steps.data:
        data = steps.data
        print(
            f"\nConversations: {data['conversations']:,} of {data['of']:,} of `{data['dataset']}`, "
            f"{data['tokens']:,} tokens, {data['trained_tokens']:,} of them trained, the longest "
            f"{data['longest']:,}."
        )
    print("\nSeconds of our median step by phase:\n")
    parts = ("forward", "backward", "optimizer", "data_wait")
    ours = [line for line in map(steps.ours, KINDS) if line]
    tables.print_table(
        ["steps of", *parts],
        [[line["kind"], *(f"{line[p + '_seconds']:.4f}" for p in parts)] for line in ours],
    )
    show_ops(steps.ops, matmul)
    print("\nMemory by the plan, GiB:\n")
    names = list(dict.fromkeys(name for plan in steps.plans.values() for name in plan["bytes"]))
    rows = [
        [kind, *(gib(plan["bytes"].get(name)) for name in names)]
        for kind, plan in steps.plans.items()
    ]
    tables.print_table(["steps of", *names], rows)
