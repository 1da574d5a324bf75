"""Measures training steps of a LLaMA with random weights in PyTorch.

    pip install torch transformers peft
    python benches/pytorch_steps.py --device cuda --preset 7b --mode full|lora \\
        [--precision masters|autocast] [--compile]
    python benches/pytorch_steps.py --device cuda --preset 7b \\
        --conversations conversations.jsonl --pad 1024 --batch 64

The counterpart of `steps/main.rs`, which prints the same lines: LlamaForCausalLM of transformers
with SDPA attention, weights drawn on the device, fused AdamW. Full fine-tuning with `masters` has
bf16 weights and gradients and AdamW on f32 copies; with `autocast` it has f32 weights under
autocast, like Hugging Face's trainer with `bf16=True`. LoRA has bf16 weights and f32 factors under
autocast, through PEFT, as that trainer does. `--compile` compiles each block (all with the same
code).

The micro-batch and activation checkpointing are chosen by trial. Without and with checkpoints, the
largest micro-batch that fits into memory and half of it are timed for a step, and the fastest of
the four counts. Layouts that do not fit are reported on stderr. `--conversations` pads every row to
`--pad`, as the released code does, without an attention mask: a causal model cannot see padding
after the text, and a mask would prevent the fastest attention. Prints a line of JSON after every
measured step for all measured steps so far: the last line is the result, also of a run that was
cut off.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import time

STARTED = time.perf_counter()

# Layouts are tried one after the other; memory fragmented by one must not make another fail.
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
import torch._dynamo

PRESETS = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
}
VOCAB = 32_000
# Layouts were tried before, so this step only fills the allocator's pool.
WARM_UP = 1
TRIED_ROWS = 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--preset", choices=list(PRESETS), default="tiny")
    parser.add_argument("--mode", choices=["full", "lora"], default="full")
    parser.add_argument(
        "--precision",
        choices=["masters", "autocast"],
        default="masters",
        help="precision of full fine-tuning",
    )
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seq", type=int, default=2048, help="tokens per row")
    parser.add_argument("--rows", type=int, default=8, help="rows per step")
    parser.add_argument("--steps", type=int, default=20, help="measured steps")
    parser.add_argument("--conversations", help="lines of {ids, labels}")
    parser.add_argument("--pad", type=int, default=1024, help="padded length of conversations")
    parser.add_argument("--batch", type=int, default=64, help="conversations per step")
    return parser.parse_args()


def full_rows(options):
    """Returns the rows of `steps/conversations.rs`, all trained, and the tokens of every step."""
    places = torch.arange(options.rows * options.seq).reshape(options.rows, options.seq)
    ids = 3 + places * 7919 % (VOCAB - 3)
    return [(ids, ids)], [ids.numel()] * options.steps


def conversations(options):
    """Returns steps of padded rows, and the tokens of each step without padding."""
    with open(options.conversations) as file:
        lines = [json.loads(line) for line in file]
    ids, labels = (torch.full((len(lines), options.pad), fill) for fill in (0, -100))
    for row, line in enumerate(lines):
        ids[row, : len(line["ids"])] = torch.tensor(line["ids"])
        labels[row, : len(line["ids"])] = torch.tensor(line["labels"])
    whole = len(lines) // options.batch * options.batch
    steps = list(zip(ids[:whole].split(options.batch), labels[:whole].split(options.batch)))
    tokens = [len(line["ids"]) for line in lines[:whole]]
    return steps, [sum(tokens[at : at + options.batch]) for at in range(0, whole, options.batch)]


class Trainer:
    def __init__(self, options):
        from transformers import LlamaConfig, LlamaForCausalLM

        self.options = options
        self.masters = options.mode == "full" and options.precision == "masters"
        config = LlamaConfig(
            **PRESETS[options.preset], vocab_size=VOCAB, max_position_embeddings=2048,
            tie_word_embeddings=False, use_cache=False, attn_implementation="sdpa",
        )  # fmt: skip
        weights = torch.float32 if options.mode == "full" and not self.masters else torch.bfloat16
        torch.set_default_dtype(weights)
        with torch.device(options.device):
            self.model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        self.layers, self.config = self.model.model.layers, config
        if options.mode == "lora":
            self.model = with_adapter(self.model)
        self.model.train()
        if options.compile:
            # Every tried micro-batch is compiled for its own shape.
            torch._dynamo.config.automatic_dynamic_shapes = False
            torch._dynamo.config.cache_size_limit = 64
            for layer in self.layers:
                layer.compile()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # A real run draws these in f32. Here only their number matters, not their values.
        self.trained = (
            [p.detach().float() for p in self.parameters] if self.masters else self.parameters
        )
        self.optimizer = torch.optim.AdamW(self.trained, lr=2e-5, weight_decay=0.0, fused=True)
        # Trials of layouts that do not fit do not count towards the first step.
        self.first_step_seconds, self.lost_seconds = None, 0.0

    def checkpointing(self, on):
        if on:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.model.gradient_checkpointing_disable()

    def gradients(self, ids, labels, micro_batch):
        """Computes gradients of the mean loss over the step's trained tokens; returns the loss."""
        trained = (labels[:, 1:] != -100).sum()
        total = 0.0
        autocast = torch.autocast(self.options.device, torch.bfloat16, enabled=not self.masters)
        for rows, of in zip(ids.split(micro_batch), labels.split(micro_batch)):
            with autocast:
                loss = self.model(input_ids=rows, labels=of, num_items_in_batch=trained).loss
            loss.backward()
            total += loss.detach()
        return total

    @torch.no_grad()
    def update(self):
        if self.masters:
            for master, parameter in zip(self.trained, self.parameters):
                master.grad, parameter.grad = parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0, foreach=True)
        self.optimizer.step()
        if self.masters:
            torch._foreach_copy_(self.parameters, self.trained)
        for parameter in self.trained:
            parameter.grad = None

    def step(self, ids, labels, micro_batch):
        """Runs a step; returns its seconds and loss."""
        start = time.perf_counter()
        ids, labels = (part.to(self.options.device) for part in (ids, labels))
        loss = self.gradients(ids, labels, micro_batch)
        self.update()
        loss = float(loss)
        self.wait()
        self.first_step_seconds = (
            self.first_step_seconds or time.perf_counter() - STARTED - self.lost_seconds
        )
        return time.perf_counter() - start, loss

    def wait(self):
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def trial(self, step, micro_batch, checkpointing):
        """Returns the seconds of a step after a warm-up; None if it does not fit into memory."""
        self.checkpointing(checkpointing)
        start = time.perf_counter()
        try:
            return min(self.step(*step, micro_batch)[0] for _ in range(2))
        except torch.OutOfMemoryError:
            checkpoints = "with" if checkpointing else "without"
            told(f"out of memory: micro-batch {micro_batch}, {checkpoints} checkpoints")
        self.model.zero_grad()
        for parameter in self.trained:
            parameter.grad = None
        gc.collect()
        torch.cuda.empty_cache()
        self.lost_seconds += time.perf_counter() - start
        return None

    def choose(self, step):
        """Tries layouts on the first rows of a step.

        Returns (seconds, micro-batch, checkpointing) of the fastest layout, and a list of all.
        """
        tried, step = [], [part[:TRIED_ROWS] for part in step]
        for checkpointing in (False, True):
            rows, fitting = len(step[0]), 0
            while rows >= 1 and fitting < 2:
                seconds = self.trial(step, rows, checkpointing)
                if seconds is not None:
                    tried.append((seconds, rows, checkpointing))
                    fitting += 1
                rows //= 2
        if not tried:
            sys.exit("nothing fits, not even one row with checkpoints")
        return min(tried), tried

    def flops(self, ids, labels):
        """Counts the FLOPs of a step like `crates/uner-model/src/flops.rs`.

        6 per token and number of a trained matrix, 4 of a frozen one, the head for trained tokens
        only, 12 per query channel, layer and pair of tokens. Padding counts.
        """
        config, linear = self.config, torch.nn.Linear
        each = sum(
            m.weight.numel() * (6 if m.weight.requires_grad else 4)
            for m in self.layers.modules()
            if isinstance(m, linear)
        )
        head = config.vocab_size * config.hidden_size * (6 if self.options.mode == "full" else 4)
        pairs = len(ids) * ids.shape[1] * (ids.shape[1] + 1) / 2
        attention = 12 * config.num_hidden_layers * config.hidden_size * pairs
        return each * ids.numel() + head * int((labels[:, 1:] != -100).sum()) + attention


def with_adapter(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=TARGETS)
    )


def told(text):
    print(text, file=sys.stderr, flush=True)


def peaks(device):
    if device != "cuda":
        return {}
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def main():
    options = arguments()
    torch.manual_seed(0)
    data, tokens = (conversations if options.conversations else full_rows)(options)
    trainer = Trainer(options)
    (_, micro_batch, checkpointing), tried = trainer.choose(data[0])
    trainer.checkpointing(checkpointing)
    if options.device == "cuda":
        # The trials' memory does not belong to the run.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    # Conversations are used once; they determine the number of steps.
    steps = data if options.conversations else data * options.steps
    for index in range(WARM_UP):
        trainer.step(*data[index % len(data)], micro_batch)
    layout = {
        "micro_batch_rows": micro_batch, "checkpointing": checkpointing,
        "first_step_seconds": trainer.first_step_seconds,
        "tried": [dict(zip(("seconds", "rows", "checkpointing"), one)) for one in tried],
    }  # fmt: skip
    done = []
    for step in steps:
        done.append(trainer.step(*step, micro_batch))
        print(json.dumps(result(trainer, steps[: len(done)], tokens, done) | layout), flush=True)


def result(trainer, steps, tokens, done):
    """Returns the line of the steps so far; `tokens` are those of every step without padding."""
    options = trainer.options
    each = [seconds for seconds, _ in done]
    median, seconds = statistics.median(each), sum(each)
    trained = sum(int((labels[:, 1:] != -100).sum()) for _, labels in steps)
    precision = "autocast" if options.mode == "lora" else options.precision
    return {
        "what": "steps",
        "variant": precision + " compiled" * options.compile,
        "device": options.device, "preset": options.preset, "mode": options.mode,
        "seq": options.pad if options.conversations else options.seq,
        "steps": len(steps), "tokens": sum(tokens[: len(steps)]), "trained_tokens": trained,
        "rows": sum(len(ids) for ids, _ in steps), "seconds": seconds, "step_seconds": each,
        "median_step_seconds": median,
        "tokens_per_second": sum(tokens[: len(steps)]) / len(steps) / median,
        "trained_tokens_per_second": trained / seconds,
        "flops_per_second": trainer.flops(*steps[0]) / median,
        "last_loss": done[-1][1], **peaks(options.device),
    }  # fmt: skip


if __name__ == "__main__":
    main()
