"""Measures transformers and llama.cpp with the prompts that `--bench inference` wrote.

    python benches/inference.py transformers MODEL_DIR PROMPTS [--batch 16] [--limit N]
    python benches/inference.py transformers 7b PROMPTS --device cuda --batch 128 [--seconds 30]
    python benches/inference.py llama.cpp MODEL.gguf PROMPTS [--limit N]
    python benches/inference.py compare MODEL_DIR ANSWERS
    python benches/inference.py picture LINES --output PICTURE.svg

They print a line of JSON. They decode greedily until the end of the turn, at most 64 tokens, with 2
threads. transformers pads batches of prompts in the order of the file on the left, with its KV
cache. llama.cpp answers one prompt after the other and keeps the tokens that a prompt shares with
the one before in its cache, which is every passage with its questions in order.

`7b` and `tiny` are models with random weights in bf16. Their answers have any length, so a batch
generates as many tokens as the longest of its gold answers has (`answer_tokens` in the prompts).
After `--seconds`, no further batch begins; what was answered until then counts.

`compare` checks the continuations that `--bench inference -- --continue` wrote: every token must be
the one that transformers finds most probable after the tokens before it. Where it is not, the two
logits may differ by rounding (`GAP`); the rest of that continuation is then left out, because
transformers would continue another text. Fails if a larger difference is found.

`picture` draws the time of a query over types, words and queries in a batch, from lines of
`--bench inference` in which one of the three varies.
"""

import argparse
import json
import resource
import time
from pathlib import Path

NEW_TOKENS = 64
# Logits of f32 models that sum in another order differ by less.
GAP = 1e-3


def transformer(args):
    """A model from a folder, in f32, or one with random weights."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(args.threads)
    if Path(args.model).is_dir():
        return AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    from pytorch_steps import PRESETS, VOCAB

    config = LlamaConfig(
        **PRESETS[args.model], vocab_size=VOCAB, max_position_embeddings=2048,
        tie_word_embeddings=False, attn_implementation="sdpa",
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(args.device):
        return LlamaForCausalLM(config)


def with_transformers(args, lines, end):
    import torch

    model = transformer(args).to(args.device).eval()

    def answer(batch):
        prompts = [line["ids"] for line in batch]
        longest = max(map(len, prompts))
        ids = torch.tensor([[end] * (longest - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        least, most = 0, NEW_TOKENS
        if "answer_tokens" in batch[0]:
            least = most = max(line["answer_tokens"] for line in batch)
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(args.device),
                attention_mask=mask.to(args.device),
                min_new_tokens=least,
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
        new = out[:, longest:].tolist()
        return sum(row.index(end) if end in row else len(row) for row in new)

    answer(lines[:2] if args.device == "cpu" else lines[: args.batch])
    start = time.perf_counter()
    tokens, queries = 0, 0
    for first in range(0, len(lines), args.batch):
        if args.seconds and time.perf_counter() - start > args.seconds:
            break
        tokens += answer(lines[first : first + args.batch])
        queries = min(first + args.batch, len(lines))
    return time.perf_counter() - start, tokens, queries


def with_llama_cpp(args, lines, end):
    import llama_cpp

    prompts = [line["ids"] for line in lines]

    model = llama_cpp.Llama(
        args.model,
        n_ctx=2048,
        n_batch=512,
        n_threads=args.threads,
        n_threads_batch=args.threads,
        verbose=False,
    )

    def answer(ids):
        tokens = 0
        # `generate` evaluates only what differs from the tokens in the cache.
        for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
            if token == end or tokens == NEW_TOKENS:
                break
            tokens += 1
        return tokens

    answer(prompts[0])
    start = time.perf_counter()
    tokens = sum(answer(ids) for ids in prompts)
    return time.perf_counter() - start, tokens, len(prompts)


def compare(args):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    lines = [json.loads(line) for line in open(args.prompts)]
    equal, ties, left_out, largest = 0, 0, 0, 0.0
    for line in lines:
        ids, answer = line["ids"], line["answer"]
        with torch.inference_mode():
            logits = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(answer)[:, None])[:, 0]
        gaps = (logits.max(dim=1).values - chosen).tolist()
        first = next((i for i, gap in enumerate(gaps) if gap > 0), len(answer))
        equal += first
        if first < len(answer):
            ties, largest = ties + 1, max(largest, gaps[first])
            left_out += len(answer) - first - 1
    result = {"prompts": len(lines), "equal": equal, "ties": ties, "left_out": left_out}
    print(json.dumps(result | {"largest_gap": largest}))
    if largest > GAP:
        raise SystemExit(f"a token differs by {largest} in its logit")


def picture(args):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "uner"
    import matplotlib.pyplot as plt

    lines = [json.loads(line) for line in open(args.model)]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    # What varies, the axis, and the time that is drawn.
    panels = [
        ("types", "types asked of a passage", "passages", "ms a passage"),
        ("length", "words of a passage", "passages", "ms a passage"),
        ("batch", "queries in a batch", "queries", "ms a query"),
    ]
    for axis, (vary, label, unit, time_label) in zip(axes, panels):
        own = [line for line in lines if line["vary"] == vary]
        place = {
            "types": lambda line: line["queries"] / line["passages"],
            "length": lambda line: line["words"] / line["passages"],
            "batch": lambda line: line["batch"],
        }[vary]
        for name in sorted({line["weights"] for line in own}):
            points = sorted(
                (place(line), 1e3 * line["seconds"] / line[unit])
                for line in own
                if line["weights"] == name
            )
            axis.plot(*zip(*points), marker="o", markersize=3, label=name)
        axis.set_xlabel(label)
        axis.set_ylabel(time_label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(args.output, metadata={"Date": None})


def peaks(device):
    """Returns the peak of memory, and on a GPU that of allocated memory, in MiB."""
    found = {"peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device == "cuda":
        import torch

        found["peak_gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def main():
    parser = argparse.ArgumentParser()
    programs = ["transformers", "llama.cpp", "compare", "picture"]
    parser.add_argument("program", choices=programs)
    parser.add_argument("model")
    parser.add_argument("prompts", nargs="?")
    parser.add_argument("--output")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    if args.program in ("compare", "picture"):
        return compare(args) if args.program == "compare" else picture(args)
    lines = [json.loads(line) for line in open(args.prompts)][: args.limit]
    run = with_transformers if args.program == "transformers" else with_llama_cpp
    seconds, tokens, queries = run(args, lines, lines[0]["end"])
    print(
        json.dumps(
            {
                "what": "inference",
                "program": args.program,
                "model": args.model,
                "batch": args.batch,
                "queries": queries,
                "new_tokens": tokens,
                "seconds": seconds,
                "queries_per_second": queries / seconds,
                **peaks(args.device),
            }
        )
    )


if __name__ == "__main__":
    main()
