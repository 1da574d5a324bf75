"""Measures the ops of `ops.rs` in PyTorch, at the same shapes.

    pip install torch
    python benches/pytorch_ops.py --device cpu --preset cpu
    python benches/pytorch_ops.py --device cuda --preset 7b --dtype bf16 --op attention

Prints one line of JSON for every op, shape, pass and variant. Variants: eager, torch.compile
(`--compile`), each backend of scaled_dot_product_attention, on CUDA also flex_attention and
varlen_attn on the packed row, the loss whole, in chunks and in PyTorch's own chunks, AdamW of
torch.optim and compiled. `limits` measures a plain copy and a square matrix product, the limits of
the same run. Products in f32 use TF32 on CUDA, like burn's. A variant that cannot run is left out,
with a message on stderr.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

EPS = 1e-5
LONGEST = 400
NORMS = 8
PRESETS = {
    "cpu": {
        "tokens": 4 * 512, "hidden": 288, "intermediate": 768,
        "heads": 6, "head_dim": 48, "vocab": 32_000,
        "attention": [(4, 512)], "packed": 2048, "parameter": 32_000 * 288,
    },
    "7b": {
        "tokens": 8192, "hidden": 4096, "intermediate": 11_008,
        "heads": 32, "head_dim": 128, "vocab": 32_000,
        "attention": [(32, 512), (16, 1024), (8, 2048), (4, 4096), (2, 8192)], "packed": 8192,
        "parameter": 4096 * 11_008,
    },
    "tiny": {
        "tokens": 16, "hidden": 32, "intermediate": 48, "heads": 2, "head_dim": 16, "vocab": 64,
        "attention": [(2, 16)], "packed": 128, "parameter": 512,
    },
}  # fmt: skip


def documents(length):
    """Lengths of documents of 50 to 400 tokens that fill a row, the last one truncated.

    `preset.rs` uses the same lengths.
    """
    lengths = []
    while sum(lengths) < length:
        lengths.append(min(50 + len(lengths) * 137 % (LONGEST - 49), length - sum(lengths)))
    return lengths


def status_mib(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


class Bench:
    def __init__(self, options):
        self.device, self.seconds, self.compile = options.device, options.seconds, options.compile
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[options.dtype]
        self.dtype_name, self.preset = options.dtype, options.preset
        self.bytes = self.dtype.itemsize

    def random(self, *shape, grad=False, dtype=None):
        values = torch.randn(*shape, device=self.device, dtype=dtype or self.dtype)
        return values.requires_grad_(grad)

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def median_ms(self, work):
        """Times batches of runs between two waits; returns their median, as in `measure.rs`."""
        work()
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        runs = min(max(math.ceil(0.02 / (time.perf_counter() - start)), 1), 200)
        times = []
        start = time.perf_counter()
        while len(times) < 5 or (len(times) < 30 and time.perf_counter() - start < self.seconds):
            batch = time.perf_counter()
            for _ in range(runs):
                work()
            self.wait()
            times.append((time.perf_counter() - batch) / runs)
        return statistics.median(times) * 1e3

    def peak_mib(self, work):
        """Returns the peak memory of a run above the memory at its start."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            work()
            self.wait()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            return None
        before = status_mib("VmRSS")
        work()
        return max(status_mib("VmHWM") - before, 0)

    def line(self, case, variant, step, cost, ms, peak=None):
        op, shape = case
        unit, amount = cost
        rate = {"bytes": ("gbytes_per_s", 1e6), "flops": ("tflops", 1e9)}[unit]
        print(
            json.dumps(
                {
                    "op": op,
                    "pass": step,
                    "shape": shape,
                    "dtype": self.dtype_name,
                    "device": self.device,
                    "preset": self.preset,
                    "variant": variant,
                    "ms": ms,
                    rate[0]: amount / ms / rate[1],
                    "peak_mib": peak,
                }  # fmt: skip
            ),
            flush=True,
        )

    def one(self, case, variant, step, cost, work):
        """Measures one pass; None, with a message on stderr, if it cannot run."""
        try:
            # As in `measure.rs`, memory is that of the first run on the CPU and of a later one on a
            # GPU.
            first = self.peak_mib(work) if self.device == "cpu" else None
            ms = self.median_ms(work)
            peak = self.peak_mib(work) if self.device == "cuda" else first
            self.line(case, variant, step, cost, ms, peak)
            return ms
        except Exception as error:  # a backend does not support a shape, or memory is too small
            left_out(case, variant, error)
            if self.device == "cuda":
                torch.cuda.empty_cache()
            return None

    def passes(self, case, variant, costs, function, inputs, gradients):
        """Measures forward without a graph, forward plus backward, and their difference."""
        unit, forward_cost = costs[0]
        backward_cost = costs[1][1]

        def forward():
            with torch.no_grad():
                function(*inputs)

        def both():
            for tensor in inputs:
                tensor.grad = None
            outputs = function(*inputs)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            torch.autograd.backward(outputs, gradients)

        first = self.one(case, variant, "forward", costs[0], forward)
        if first is None:
            return
        together = self.one(
            case, variant, "forward+backward", (unit, forward_cost + backward_cost), both
        )
        if together is not None and together > first:
            self.line(case, variant, "backward", costs[1], together - first)

    def eager_and_compiled(self, case, costs, function, inputs, gradients):
        self.passes(case, "eager", costs, function, inputs, gradients)
        if self.compile:
            torch._dynamo.reset()
            self.passes(case, "compile", costs, torch.compile(function), inputs, gradients)


def left_out(case, variant, error):
    why = str(error).strip().partition("\n")[0]
    print(f"{case[0]} {case[1]} {variant}: {type(error).__name__}: {why}", file=sys.stderr)


def flops(amount):
    return (("flops", amount), ("flops", 2 * amount))


def attention(bench, preset):
    heads, head_dim = preset["heads"], preset["head_dim"]
    for rows, length in preset["attention"]:
        pairs = rows * length * length // 2
        shape = f"{rows}x{length} {heads}x{head_dim} causal"
        causal(bench, ("attention", shape), pairs, (rows, heads, length, head_dim))
    lengths = documents(preset["packed"])
    pairs = sum(length * length // 2 for length in lengths)
    shape = (len(lengths), heads, LONGEST, head_dim)
    # Padded on the right, causal attention needs no mask.
    causal(
        bench, ("attention", f"{len(lengths)}x{LONGEST} {heads}x{head_dim} padded"), pairs, shape
    )
    packed(bench, lengths, pairs, (1, heads, preset["packed"], head_dim))


def attention_costs(pairs, heads, head_dim):
    forward = 4 * pairs * heads * head_dim
    return ("flops", forward), ("flops", forward * 5 // 2)


def causal(bench, case, pairs, shape):
    inputs = [bench.random(*shape, grad=True) for _ in range(3)]
    gradient = (bench.random(*shape),)
    sdpa_backends(
        bench, case, attention_costs(pairs, shape[1], shape[3]), inputs, gradient, is_causal=True
    )


def sdpa_backends(bench, case, costs, inputs, gradient, suffix="", **visible):
    """Measures each backend of the device on the same inputs."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}
    if bench.device == "cuda":
        backends |= {
            "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION,
        }
    for name, backend in backends.items():

        def function(q, k, v, backend=backend):
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, **visible)

        bench.passes(case, f"sdpa {name}{suffix}", costs, function, inputs, gradient)


def packed(bench, lengths, pairs, shape):
    case = ("attention", f"1x{shape[2]} {shape[1]}x{shape[3]} packed")
    costs = attention_costs(pairs, shape[1], shape[3])
    inputs = [bench.random(*shape, grad=True) for _ in range(3)]
    gradient = (bench.random(*shape),)
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(
        bench.device
    )
    place = torch.arange(shape[2], device=bench.device)
    mask = (document[:, None] == document[None]) & (place[:, None] >= place[None])

    sdpa_backends(bench, case, costs, inputs, gradient, " mask", attn_mask=mask)
    if bench.device == "cuda":
        rivals = {"varlen": (varlen, lengths)} | (
            {"flex": (flex, document)} if bench.compile else {}
        )
        for name, (rival, layout) in rivals.items():
            try:
                rival(bench, case, costs, layout, inputs, gradient)
            except Exception as error:  # an older PyTorch
                left_out(case, name, error)


def varlen(bench, case, costs, lengths, inputs, gradient):
    """Measures flash attention over concatenated documents, `[tokens, heads, head_dim]`."""
    from torch.nn.attention.varlen import varlen_attn

    starts = F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(bench.device, torch.int32)
    longest = max(lengths)
    flat = [tensor.detach()[0].transpose(0, 1).contiguous() for tensor in (*inputs, *gradient)]

    def function(q, k, v):
        return varlen_attn(q, k, v, starts, starts, longest, longest, window_size=(-1, 0))

    bench.passes(
        case, "varlen", costs, function, [tensor.requires_grad_() for tensor in flat[:3]], flat[3:]
    )


def flex(bench, case, costs, document, inputs, gradient):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def visible(_row, _head, query, key):
        return (document[query] == document[key]) & (query >= key)

    tokens = document.numel()
    blocks = create_block_mask(visible, None, None, tokens, tokens, device=bench.device)
    compiled = torch.compile(flex_attention)
    bench.passes(
        case, "flex", costs, lambda q, k, v: compiled(q, k, v, block_mask=blocks), inputs, gradient
    )


def rms_norm(bench, preset):
    tokens, hidden = preset["tokens"], preset["hidden"]
    amount = tokens * hidden * bench.bytes
    x, residual = (bench.random(tokens, hidden, grad=True) for _ in range(2))
    weight = bench.random(hidden, grad=True)
    gradients = (bench.random(tokens, hidden), bench.random(tokens, hidden))

    def norm(x, weight):
        return F.rms_norm(x, (hidden,), weight, EPS)

    def add_norm(x, residual, weight):
        total = x + residual
        return total, norm(total, weight)

    shape = f"{tokens}x{hidden}"
    costs = (("bytes", 2 * amount), ("bytes", 3 * amount))
    bench.eager_and_compiled(("rms_norm", shape), costs, norm, [x, weight], gradients[:1])
    costs = (("bytes", 4 * amount), ("bytes", 4 * amount))
    case = ("rms_norm", f"{shape} residual")
    bench.eager_and_compiled(case, costs, add_norm, [x, residual, weight], gradients)


def rope(bench, preset):
    tokens, heads, head_dim = preset["tokens"], preset["heads"], preset["head_dim"]
    amount = tokens * heads * head_dim * bench.bytes
    inverse = 10_000.0 ** (-torch.arange(0, head_dim, 2, device=bench.device) / head_dim)
    angles = torch.arange(tokens, device=bench.device)[:, None] * inverse
    angles = torch.cat([angles, angles], -1)[None, :, None]
    cos, sin = angles.cos().to(bench.dtype), angles.sin().to(bench.dtype)

    def rotate(x):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    def both(q, k):
        return rotate(q), rotate(k)

    inputs = [bench.random(1, tokens, heads, head_dim, grad=True) for _ in range(2)]
    costs = (("bytes", 4 * amount), ("bytes", 4 * amount))
    case = ("rope", f"2x{tokens}x{heads}x{head_dim}")
    bench.eager_and_compiled(case, costs, both, inputs, tuple(torch.randn_like(x) for x in inputs))


def swiglu(bench, preset):
    tokens, width = preset["tokens"], preset["intermediate"]
    amount = tokens * width * bench.bytes
    inputs = [bench.random(tokens, width, grad=True) for _ in range(2)]
    costs = (("bytes", 3 * amount), ("bytes", 5 * amount))
    case = ("swiglu", f"{tokens}x{width}")
    gradient = (bench.random(tokens, width),)
    bench.eager_and_compiled(case, costs, lambda gate, up: F.silu(gate) * up, inputs, gradient)


def dropout(bench, preset):
    tokens, width = preset["tokens"], preset["hidden"]
    amount = tokens * width * bench.bytes
    x = bench.random(tokens, width, grad=True)
    # PyTorch also stores a mask of one byte per element, which does not count as work.
    costs = (("bytes", 2 * amount), ("bytes", 2 * amount))
    case = ("dropout", f"{tokens}x{width}")
    gradient = (bench.random(tokens, width),)
    bench.eager_and_compiled(case, costs, lambda x: F.dropout(x, 0.1), [x], gradient)


def linear(bench, preset):
    tokens, hidden, width = preset["tokens"], preset["hidden"], preset["intermediate"]
    for inner, outer in [
        (hidden, hidden),
        (hidden, width),
        (width, hidden),
        (hidden, preset["vocab"]),
    ]:
        x, weight = bench.random(tokens, inner, grad=True), bench.random(outer, inner, grad=True)
        case = ("linear", f"{tokens}x{inner}->{outer}")
        gradient = (bench.random(tokens, outer),)
        bench.passes(
            case, "eager", flops(2 * tokens * inner * outer), F.linear, [x, weight], gradient
        )
        one = bench.random(1, inner)

        def decode(one=one, weight=weight):
            with torch.no_grad():
                F.linear(one, weight)

        amount = ("bytes", inner * outer * bench.bytes)
        bench.one(("linear", f"1x{inner}->{outer}"), "eager", "forward", amount, decode)


def quantized_linear(bench, preset):
    """Measures the layer with a frozen, unquantised weight of the type of `x`.

    PyTorch has no quantised layer; the difference is the time that fewer bits cost.
    """
    tokens, hidden, width = preset["tokens"], preset["hidden"], preset["intermediate"]
    x, weight = bench.random(tokens, hidden, grad=True), bench.random(width, hidden)
    cost = ("flops", 2 * tokens * hidden * width)
    for form in ["Int8", "Nf4"]:
        case = ("quantized_linear", f"{tokens}x{hidden}->{width} {form}")
        gradient = (bench.random(tokens, width),)
        bench.passes(
            case, "eager, not quantised", (cost, cost), lambda x: F.linear(x, weight), [x], gradient
        )


def linear_cross_entropy(bench, preset):
    tokens, hidden, vocab = preset["tokens"], preset["hidden"], preset["vocab"]
    states, weight = bench.random(tokens, hidden, grad=True), bench.random(vocab, hidden)
    weight = (weight * 0.02).requires_grad_()
    labels = torch.arange(tokens, device=bench.device) * 7919 % vocab
    case = ("linear_cross_entropy", f"{tokens}x{hidden}->{vocab}")
    costs = flops(2 * tokens * hidden * vocab)

    def whole(states, weight):
        return F.cross_entropy(F.linear(states, weight).float(), labels, reduction="sum")

    bench.eager_and_compiled(case, costs, whole, [states, weight], (None,))
    chunk = 1024

    def pieces():
        return zip(states.detach().split(chunk), labels.split(chunk))

    def loss_of(states, labels, weight):
        return F.cross_entropy(F.linear(states, weight).float(), labels, reduction="sum")

    def forward():
        with torch.no_grad():
            return sum(loss_of(states, labels, weight) for states, labels in pieces())

    def both():
        weight.grad, gradients = None, []
        for states, labels in pieces():
            states.requires_grad_()
            loss_of(states, labels, weight).backward()
            gradients.append(states.grad)
        return torch.cat(gradients)

    first = bench.one(case, "chunked", "forward", costs[0], forward)
    together = bench.one(case, "chunked", "forward+backward", ("flops", 3 * costs[0][1]), both)
    if first and together and together > first:
        bench.line(case, "chunked", "backward", costs[1], together - first)
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        options = torch.nn.LinearCrossEntropyOptions()

        def own_chunks(states, weight):
            return F.linear_cross_entropy(states, weight, labels, reduction="sum", options=options)

        bench.passes(case, "own chunks", costs, own_chunks, [states, weight], (None,))


def squared_norm(bench, preset):
    # Norms of several tensors at once, as in a step. PyTorch's f32 norms of bf16 tensors take one
    # tensor each.
    count = preset["parameter"]
    gradients = [bench.random(count)] * NORMS
    case, cost = (
        ("squared_norm", f"{NORMS} x {count}"),
        ("bytes", NORMS * count * gradients[0].element_size()),
    )
    norms = lambda gradients: [
        torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients
    ]
    bench.one(case, "eager", "forward", cost, lambda: norms(gradients))
    if bench.compile:
        compiled = torch.compile(norms)
        bench.one(case, "compile", "forward", cost, lambda: compiled(gradients))


def adamw(bench, preset):
    # PyTorch has no 8-bit moments and no parameters without a master: the report shows only ours.
    count = preset["parameter"]
    case, cost = ("adamw", str(count)), ("bytes", 28 * count)
    master = bench.random(count, dtype=torch.float32).requires_grad_()
    gradient, parameter = bench.random(count), bench.random(count)
    plain = bench.dtype == torch.float32
    for name, settings in {"eager": {"fused": False}, "fused": {"fused": True}}.items():
        optimizer = torch.optim.AdamW([master], lr=1e-4, weight_decay=0.1, **settings)

        def update(optimizer=optimizer):
            master.grad = gradient.float()
            optimizer.step()
            if not plain:
                parameter.copy_(master.detach())

        # In bf16 PyTorch's steps update the f32 master; gradient and parameter are cast around
        # them.
        bench.one(case, name if plain else f"{name}, casts", "update", cost, update)
    if bench.compile:
        moments = [torch.zeros(count, device=bench.device) for _ in range(2)]
        tensors = (parameter, master.detach(), *moments, gradient)
        update = torch.compile(adamw_step)
        bench.one(case, "compile", "update", cost, lambda: update(*tensors))


def adamw_step(parameter, master, exp_avg, exp_avg_sq, gradient):
    """Step 10 of AdamW, written out for torch.compile, with the casts."""
    gradient = gradient.float()
    exp_avg.lerp_(gradient, 1 - 0.9)
    exp_avg_sq.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
    denominator = (exp_avg_sq / (1 - 0.999**10)).sqrt() + 1e-8
    master.mul_(1 - 1e-4 * 0.1).sub_(1e-4 / (1 - 0.9**10) * exp_avg / denominator)
    if parameter.dtype != master.dtype:
        parameter.copy_(master)


def limits(bench, _preset):
    if bench.preset == "tiny":
        return
    # The smaller one moves as many bytes as a norm of 8192 x 4096 in bf16: starting and ending a
    # kernel is a tenth of its time.
    for count in (16 << 20, 256 << 20) if bench.device == "cuda" else (64 << 20,):
        source = bench.random(count, dtype=torch.float32)
        target = torch.empty(count, device=bench.device)
        cost = ("bytes", 8 * count)
        bench.one(("copy", str(count)), "copy_", "forward", cost, lambda: target.copy_(source))
    size = 8192 if bench.device == "cuda" else 2048
    a, b = bench.random(size, size), bench.random(size, size)
    bench.one(("matmul", f"{size}^3"), "matmul", "forward", ("flops", 2 * size**3), lambda: a @ b)


OPS = [
    limits,
    attention,
    rms_norm,
    rope,
    swiglu,
    dropout,
    linear,
    quantized_linear,
    linear_cross_entropy,
    squared_norm,
    adamw,
]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--preset", choices=list(PRESETS), default="cpu")
    parser.add_argument(
        "--op", choices=[op.__name__ for op in OPS], action="append", help="all by default"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="time for each figure after the warm-up"
    )
    parser.add_argument("--threads", type=int, default=2, help="on the CPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    bench = Bench(options)
    for op in OPS:
        if not options.op or op.__name__ in options.op:
            op(bench, PRESETS[options.preset])


if __name__ == "__main__":
    main()
