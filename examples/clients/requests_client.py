"""Asks `uner serve` for entities with `requests`: one text, and many.

    pip install requests
    python requests_client.py --url http://127.0.0.1:8080 --types person,organization "Tim Cook …"

The key is read from the environment variable `UNER_API_KEY`, if the server wants one.
"""

import argparse
import os
import random
import time

import requests

# Statuses after which the same request may succeed: the queue is full, the server starts or stops,
# or a proxy in front of it has no server.
PASSING = {429, 502, 503}
# Errors of a connection that broke, or of a server that is away.
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
# Texts of one request. Each takes a place in the server's queue, and a request that does not fit
# is refused as a whole.
TEXTS = 32


class Refused(Exception):
    """The server refused a request; repeating it does not help."""


def post(session, url, body, retries=8, timeout=90.0):
    """Sends a request, and repeats it while the server is busy or away. It changes nothing on the
    server, so sending it twice does no harm."""
    for attempt in range(retries + 1):
        # Doubles from half a second to 16 seconds. Chance spreads clients that were refused
        # together.
        pause = min(2.0**attempt / 2, 16) * random.uniform(0.5, 1)
        try:
            response = session.post(url, json=body, timeout=timeout)
        except BROKEN:
            if attempt == retries:
                raise
            time.sleep(pause)
            continue
        if response.status_code in PASSING and attempt < retries:
            # Seconds; a proxy may also send a date, which is left out here.
            seconds = response.headers.get("Retry-After", "")
            time.sleep(max(pause, float(seconds)) if seconds.isdigit() else pause)
            continue
        if not response.ok:
            raise Refused(f"status {response.status_code} of {url}: {message(response)}")
        return response.json()
    raise AssertionError("the last attempt returns or raises")


def message(response):
    """What the server says is wrong."""
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def find(session, url, texts, types, threshold=0.5, model=None):
    """The entities of each text, in the order of the texts."""
    found = []
    for first in range(0, len(texts), TEXTS):
        body = {"text": texts[first : first + TEXTS], "types": types, "threshold": threshold}
        if model is not None:
            body["model"] = model
        results = post(session, url.rstrip("/") + "/v1/ner", body)["results"]
        for number, result in enumerate(results, first):
            if result.get("problem"):
                print(f"text {number}: entities may be missing: {result['problem']}")
            found.append(result["entities"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="*", default=["Tim Cook runs Apple.", "Ann lives in Rome."])
    parser.add_argument("--types", default="person,organization,city")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    args = parser.parse_args()

    # A session keeps its connection.
    session = requests.Session()
    key = os.environ.get("UNER_API_KEY")
    if key:
        session.headers["Authorization"] = f"Bearer {key}"

    found = find(session, args.url, args.text, args.types.split(","), args.threshold)
    for text, entities in zip(args.text, found, strict=True):
        print(text)
        for entity in entities:
            # A model that decodes freely has no probabilities.
            probability = entity["probability"]
            shown = "" if probability is None else f"  {probability:.3f}"
            print(f"  {entity['start']}-{entity['end']}  {entity['type']}: {entity['text']}{shown}")


if __name__ == "__main__":
    main()
