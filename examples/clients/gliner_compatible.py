"""A client of `uner serve` with the two methods of GLiNER that find entities.

    pip install requests

Only the line that loads the model changes:

    model = GLiNER.from_pretrained("urchade/gliner_medium-v2.1")    # before
    model = UnerClient("http://127.0.0.1:8080")                     # after
    model.predict_entities("Tim Cook runs Apple.", ["person", "company"], threshold=0.5)
    # [{"start": 0, "end": 8, "text": "Tim Cook", "label": "person", "score": 0.98}, …]

As with GLiNER, spans do not overlap unless `flat_ner=False`, and may have one label only unless
`multi_label=True`.
"""

import argparse
import os

import requests

import requests_client


class UnerClient:
    """A model behind `uner serve`."""

    def __init__(self, url="http://127.0.0.1:8080", api_key=None, model=None):
        self.url = url
        self.model = model
        self.session = requests.Session()
        api_key = api_key or os.environ.get("UNER_API_KEY")
        if api_key:
            self.session.headers["Authorization"] = f"Bearer {api_key}"

    def predict_entities(
        self, text, labels, flat_ner=True, threshold=0.5, multi_label=False, **_ignored
    ):
        """The entities of a text. The arguments are those of GLiNER, in its order; others of its
        arguments, such as `batch_size`, do nothing."""
        return self.batch_predict_entities([text], labels, flat_ner, threshold, multi_label)[0]

    def batch_predict_entities(
        self, texts, labels, flat_ner=True, threshold=0.5, multi_label=False, **_ignored
    ):
        """The entities of each text."""
        found = requests_client.find(
            self.session, self.url, list(texts), list(labels), threshold, self.model
        )
        return [choose([gliner(e) for e in es], flat_ner, multi_label) for es in found]


def gliner(entity):
    """An entity as GLiNER has it. `start` and `end` count characters in both."""
    # A model that decodes freely has no probabilities.
    score = 1.0 if entity["probability"] is None else entity["probability"]
    return {
        "start": entity["start"],
        "end": entity["end"],
        "text": entity["text"],
        "label": entity["type"],
        "score": score,
    }


def choose(entities, flat_ner, multi_label):
    """The best entities that may stand beside each other, sorted by position."""

    def clash(one, other):
        same = (one["start"], one["end"]) == (other["start"], other["end"])
        if same:
            return not multi_label
        overlap = one["start"] < other["end"] and other["start"] < one["end"]
        nested = (one["start"] - other["start"]) * (one["end"] - other["end"]) <= 0
        return overlap and (flat_ner or not nested)

    chosen = []
    for entity in sorted(entities, key=lambda e: e["score"], reverse=True):
        if not any(clash(entity, other) for other in chosen):
            chosen.append(entity)
    return sorted(chosen, key=lambda e: (e["start"], e["end"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", default="Tim Cook runs Apple.")
    parser.add_argument("--labels", default="person,organization")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    args = parser.parse_args()
    client = UnerClient(args.url)
    labels = args.labels.split(",")
    for entity in client.predict_entities(args.text, labels, threshold=args.threshold):
        print(entity)


if __name__ == "__main__":
    main()
