"""Measures transformers and llama.cpp with the prompts that `--bench inference` wrote.

    python benches/inference.py transformers MODEL_DIR PROMPTS [--batch 16] [--limit N]
    python benches/inference.py llama.cpp MODEL.gguf PROMPTS [--limit N]

Both decode greedily until the end of the turn, at most 64 tokens, with 2 threads. transformers pads
batches of prompts in the order of the file on the left, with its KV cache. llama.cpp answers one
prompt after the other and keeps the tokens that a prompt shares with the one before in its cache,
which is every passage with its questions in order. Prints a line of JSON.
"""

import argparse
import json
import resource
import time

NEW_TOKENS = 64


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["transformers", "llama.cpp"])
    parser.add_argument("model")
    parser.add_argument("prompts")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
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
