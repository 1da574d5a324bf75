"""Measures transformers and llama.cpp with the prompts that `--bench inference` wrote.

    python benches/inference.py transformers MODEL_DIR PROMPTS [--batch 16] [--limit N]
    python benches/inference.py llama.cpp MODEL.gguf PROMPTS [--limit N]
    python benches/inference.py compare MODEL_DIR ANSWERS
    python benches/inference.py picture LINES --output PICTURE.svg

The first two decode greedily until the end of the turn, at most 64 tokens, with 2 threads. transformers pads
batches of prompts in the order of the file on the left, with its KV cache. llama.cpp answers one
prompt after the other and keeps the tokens that a prompt shares with the one before in its cache,
which is every passage with its questions in order. They print a line of JSON.

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

NEW_TOKENS = 64
# Logits of f32 models that sum in another order differ by less.
GAP = 1e-3


def with_transformers(args, prompts, end):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    model.eval()

    def answer(batch):
        longest = max(len(ids) for ids in batch)
        ids = torch.tensor([[end] * (longest - len(ids)) + ids for ids in batch])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in batch])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
        new = out[:, longest:].tolist()
        return sum(row.index(end) if end in row else len(row) for row in new)

    answer(prompts[:2])
    start = time.perf_counter()
    tokens = sum(
        answer(prompts[first : first + args.batch]) for first in range(0, len(prompts), args.batch)
    )
    return time.perf_counter() - start, tokens


def with_llama_cpp(args, prompts, end):
    import llama_cpp

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
    return time.perf_counter() - start, tokens


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
    args = parser.parse_args()
    if args.program in ("compare", "picture"):
        return compare(args) if args.program == "compare" else picture(args)
    lines = [json.loads(line) for line in open(args.prompts)][: args.limit]
    prompts, end = [line["ids"] for line in lines], lines[0]["end"]
    run = with_transformers if args.program == "transformers" else with_llama_cpp
    seconds, tokens = run(args, prompts, end)
    print(
        json.dumps(
            {
                "program": args.program,
                "model": args.model,
                "queries": len(prompts),
                "new_tokens": tokens,
                "seconds": seconds,
                "queries_per_second": len(prompts) / seconds,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
