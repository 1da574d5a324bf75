"""Prints the loss mask of a batch of real NER conversations, for the benches of the training step.

    python benches/loss_mask.py LABELS ROWS LENGTH > mask.json

LABELS: JSON Lines with `labels`, -100 where a token is not trained, as written by
`uner data encode` and as in `golden/tokenization/train.jsonl` of the shared data. Conversations
follow one another and fill the rows; the last conversation of a row is truncated.
"""

import json
import sys


def rows_of(conversations, rows, length):
    mask = [[]]
    for labels in conversations:
        mask[-1] += [int(label != -100) for label in labels][: length - len(mask[-1])]
        if len(mask[-1]) == length:
            if len(mask) == rows:
                return mask
            mask.append([])
    sys.exit(f"the conversations fill {len(mask) - 1} rows of {length}, not {rows}")


def main(path, rows, length):
    with open(path) as file:
        # Made-up conversations of the golden vectors test rendering; their proportions are not
        # real.
        records = [
            record for record in map(json.loads, file) if record.get("kind", "real") == "real"
        ]
    json.dump(rows_of((record["labels"] for record in records), rows, length), sys.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
