"""Asks `uner serve` with OpenAI's own client: models, a chat, and a chat as a stream.

    pip install openai
    python openai_client.py --url http://127.0.0.1:8080 "Tim Cook runs Apple."

The key is read from the environment variable `UNER_API_KEY`, if the server wants one. A chat has
free answers: the model may write what is not in the text. `POST /v1/ner` finds entities that are
(see `requests_client.py`).
"""

import argparse
import os

from openai import OpenAI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", default="Tim Cook runs Apple.")
    parser.add_argument("--type", default="person")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    args = parser.parse_args()

    client = OpenAI(
        base_url=args.url.rstrip("/") + "/v1",
        # The client wants a key even if the server does not.
        api_key=os.environ.get("UNER_API_KEY") or "none",
        # It repeats a request after 429, 5xx and broken connections, and obeys `Retry-After`.
        max_retries=5,
        timeout=90,
    )

    models = [model.id for model in client.models.list()]
    print("models:", ", ".join(models))

    # The conversation that UniversalNER was tuned on.
    messages = [
        {"role": "user", "content": f"Text: {args.text}"},
        {"role": "assistant", "content": "I've read this text."},
        {"role": "user", "content": f"What describes {args.type} in the text?"},
    ]
    chat = client.chat.completions.create(model=models[0], messages=messages, max_tokens=128)
    print("answer:", chat.choices[0].message.content)

    print("stream: ", end="")
    stream = client.chat.completions.create(
        model=models[0], messages=messages, max_tokens=128, stream=True
    )
    for chunk in stream:
        # The last chunk of a stream with usage has no choice.
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
