"""Trains and scores a token classifier in transformers, with the data, order of labels and
hyper-parameters of a recipe of uner whose model has `head = "tags"`:

    python benches/bert_baseline.py RECIPE.toml DESCRIPTION.toml [--weights DIR] [--root DIR]
        [--seed N] [--max-steps N]

RECIPE names the training and the test split of one dataset in columns, DESCRIPTION is its file in
configs/datasets. Prints a line of JSON with seqeval's strict F1 (IOB2).
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    get_scheduler,
    set_seed,
)


def sentences(path, form):
    words, tags = [], []
    for line in [*open(path), ""]:
        fields = line.rstrip("\r\n").split(form["separator"])
        if line.strip() and not line.startswith("-DOCSTART-"):
            words.append(fields[form["token"]])
            tags.append(fields[form["tags"][0]])
        elif words:
            yield words, tags
            words, tags = [], []


def iob2(tags):
    """Tags whose entities all begin with B-, as uner reads IOB1 and IOB2."""
    fixed, before = [], "O"
    for tag in tags:
        begins = tag.startswith("I-") and (before == "O" or before[2:] != tag[2:])
        fixed.append("B-" + tag[2:] if begins else tag)
        before = tag
    return fixed


def collate(batch, tokenizer, ids, length):
    words = [words for words, _ in batch]
    encoded = tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        max_length=length,
        padding=True,
        return_tensors="pt",
    )
    labels = torch.full(encoded["input_ids"].shape, -100)
    for row, (_, tags) in enumerate(batch):
        before = None
        for index, word in enumerate(encoded.word_ids(row)):
            if word is not None and word != before:
                labels[row, index] = ids[tags[word]]
            before = word
    return encoded, labels


def train(model, data, options, args, encode):
    steps = len(data) // options["global_batch_size"]
    total = int(options["epochs"] * steps)
    total = min(total, args.max_steps or total)
    plain = {"bias", "LayerNorm.weight"}
    decays = lambda name: not any(name.endswith(end) for end in plain)
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if decays(n)], "weight_decay": options["weight_decay"]},
        {"params": [p for n, p in named if not decays(n)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options["lr"])
    warm_up = round(options["warmup_ratio"] * total)
    schedule = get_scheduler("linear", optimizer, warm_up, total)
    model.train()
    done = 0
    while done < total:
        order = torch.randperm(len(data)).tolist()
        for start in range(0, steps * options["global_batch_size"], options["global_batch_size"]):
            indices = order[start : start + options["global_batch_size"]]
            encoded, labels = encode([data[index] for index in indices])
            loss = model(**encoded, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            if done == total:
                return total


def predict(model, data, labels, encode):
    model.eval()
    found = []
    for start in range(0, len(data), 64):
        batch = data[start : start + 64]
        encoded, gold = encode(batch)
        with torch.inference_mode():
            best = model(**encoded).logits.argmax(-1)
        for row, (words, _) in enumerate(batch):
            tags = [labels[index] for index in best[row][gold[row] != -100].tolist()]
            found.append(iob2(tags + ["O"] * (len(words) - len(tags))))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("description")
    parser.add_argument("--weights")
    parser.add_argument("--root", default="data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = tomllib.load(open(args.recipe, "rb"))
    description = tomllib.load(open(args.description, "rb"))
    split = lambda name: [
        (words, iob2(tags))
        for words, tags in sentences(
            Path(args.root) / description["splits"][name], description["format"]
        )
    ]
    data = split(recipe["data"]["train"][0]["split"])
    test = split(recipe["eval"]["benchmarks"][0]["split"])
    types = list(dict.fromkeys(tag[2:] for _, tags in data for tag in tags if tag != "O"))
    labels = ["O", *(prefix + name for name in types for prefix in ("B-", "I-"))]
    ids = {label: number for number, label in enumerate(labels)}
    set_seed(args.seed)
    weights = args.weights or recipe["model"]["weights"]
    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForTokenClassification.from_pretrained(
        weights, num_labels=len(labels), dtype=torch.float32
    )
    options = recipe["train"]
    encode = lambda batch: collate(batch, tokenizer, ids, options["max_seq_len"])
    start = time.time()
    steps = train(model, data, options, args, encode)
    trained = time.time() - start
    found, gold = predict(model, test, labels, encode), [tags for _, tags in test]
    scores = {
        name: 100 * score(gold, found, mode="strict", scheme=IOB2)
        for name, score in [("precision", precision_score), ("recall", recall_score), ("f1", f1_score)]
    }
    line = {"program": "transformers", "seed": args.seed, "steps": steps, "seconds": trained}
    print(json.dumps(line | scores))


if __name__ == "__main__":
    main()
