"""Measures one training step in PyTorch, for comparison with uner's step.

    pip install torch transformers
    python benches/pytorch_step.py                      # every token trained
    python benches/pytorch_step.py --mask mask.json     # [rows][positions] of 0 and 1

A LLaMA from transformers with random weights (sdpa attention, float32, CPU): forward, mean loss
over the trained tokens, backward, clipping by global norm 1.0, AdamW. Prints one line of JSON; the
median step counts.
"""

import argparse
import json
import resource
import statistics
import time


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=288)
    parser.add_argument("--intermediate-size", type=int, default=768)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--batch", type=int, default=4, help="rows")
    parser.add_argument("--length", type=int, default=512, help="tokens per row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=3, help="steps that are not timed")
    parser.add_argument(
        "--steps", type=int, default=10, help="timed steps; their median is reported"
    )
    parser.add_argument("--optimizer", choices=["foreach", "fused"], default="fused")
    parser.add_argument(
        "--mask", help="JSON file: 1 where the label is trained, in the shape of the batch"
    )
    parser.add_argument(
        "--selected-logits",
        action="store_true",
        help="compute logits at trained positions only (transformers does not)",
    )
    return parser.parse_args()


def random_model(options):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=options.hidden_size,
        intermediate_size=options.intermediate_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        vocab_size=options.vocab_size,
        max_position_embeddings=options.length,
        tie_word_embeddings=False,
        use_cache=False,
        attn_implementation="sdpa",
        dtype="float32",
    )
    return LlamaForCausalLM(config).float().train()


def batch(options):
    """Draws random ids and labels; labels are -100 where the mask is 0."""
    import torch

    ids = torch.randint(3, options.vocab_size, (options.batch, options.length))
    labels = ids.clone()
    if options.mask:
        with open(options.mask) as file:
            mask = torch.tensor(json.load(file))
        assert mask.shape == ids.shape, (
            f"the mask is {tuple(mask.shape)}, the batch {tuple(ids.shape)}"
        )
        labels[mask == 0] = -100
    return ids, labels


def mean_loss(model, ids, labels, selected):
    """Mean cross-entropy over trained tokens; with `selected`, logits of trained positions only."""
    import torch.nn.functional as F

    if not selected:
        return model(input_ids=ids, labels=labels).loss
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    trained = labels[:, 1:] != -100
    return F.cross_entropy(model.lm_head(hidden[trained]), labels[:, 1:][trained])


def main():
    options = arguments()
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = random_model(options)
    ids, labels = batch(options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **{options.optimizer: True})
    times = []
    for _ in range(options.warm_up + options.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        mean_loss(model, ids, labels, options.selected_logits).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    step = statistics.median(times[options.warm_up :])
    result = {
        "tokens_per_second": round(ids.numel() / step, 1),
        "step_ms": round(step * 1000, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "trained_tokens": int((labels[:, 1:] != -100).sum()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
