"""A spaCy component that finds entities of any types with `uner serve`.

    nlp = spacy.blank("en")
    nlp.add_pipe("uner", config={"url": "http://127.0.0.1:8080", "types": ["person", "city"]})
    doc = nlp("Tim Cook runs Apple.")
    doc.ents              # the most probable entities that do not overlap
    doc.spans["uner"]     # all entities, nested and overlapping ones, too

`span._.uner_probability` is the probability of an entity; it is None if the model decodes freely.
`doc._.uner_problem` is a message if entities of the document may be missing.
"""

import os
import random
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import requests
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

__all__ = ["Uner", "UnerError", "make_uner"]

# Statuses after which the same request may succeed: the queue is full, the server starts or stops,
# or a proxy in front of it has no server.
PASSING = {429, 502, 503}
# Errors of a connection that broke, or of a server that is away.
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
# Longest pause between two attempts, in seconds.
LONGEST_PAUSE = 60.0
ALIGNMENTS = ("expand", "contract", "strict")


# Statuses that fewer texts in a request may not have: too large, and too slow.
TOO_MUCH = {413, 504}


class UnerError(Exception):
    """The server refused a request, or cannot be reached (then `status` is None)."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


# A type is a name, or `{"name": …, "definition": …}`.
Type = str | dict[str, str]


@Language.factory(
    "uner",
    assigns=["doc.ents", "doc.spans"],
    default_config={
        "url": "http://127.0.0.1:8080",
        "types": [],
        "threshold": 0.5,
        "api_key": None,
        "model": None,
        "batch_size": 32,
        "spans_key": "uner",
        "alignment_mode": "expand",
        "timeout": 90.0,
        "retries": 8,
    },
)
def make_uner(
    nlp: Language,
    name: str,
    url: str,
    types: list[Type],
    threshold: float,
    api_key: str | None,
    model: str | None,
    batch_size: int,
    spans_key: str,
    alignment_mode: str,
    timeout: float,
    retries: int,
) -> "Uner":
    """Makes the component. All arguments after `name` are in the configuration of the pipeline."""
    return Uner(
        name=name,
        url=url,
        types=types,
        threshold=threshold,
        api_key=api_key,
        model=model,
        batch_size=batch_size,
        spans_key=spans_key,
        alignment_mode=alignment_mode,
        timeout=timeout,
        retries=retries,
    )


class Uner:
    """Finds entities with a server.

    url             address of the server, without `/v1`
    types           entity types: names, or `{"name": …, "definition": …}`; needed
    threshold       entities with a lower probability are left out
    api_key         key of the server. `nlp.to_disk` writes it in plain text: leave it out, and
                    set the environment variable `UNER_API_KEY` instead
    model           name of a model of the server; default its first
    batch_size      documents of one request
    spans_key       where `doc.spans` has all entities
    alignment_mode  what becomes of an entity that begins or ends inside a token: "expand" takes
                    the whole token, "contract" leaves the token out, and "strict" leaves the
                    entity out. `span._.uner_offsets` has the exact characters in any case
    timeout         seconds for one attempt; longer than the server's `--timeout`
    retries         further attempts when the server is busy or away
    """

    def __init__(
        self,
        name: str = "uner",
        *,
        url: str,
        types: list[Type],
        threshold: float = 0.5,
        api_key: str | None = None,
        model: str | None = None,
        batch_size: int = 32,
        spans_key: str = "uner",
        alignment_mode: str = "expand",
        timeout: float = 90.0,
        retries: int = 8,
    ) -> None:
        if not types:
            raise ValueError('the component "uner" needs `types`, such as ["person", "city"]')
        if alignment_mode not in ALIGNMENTS:
            raise ValueError(
                f"`alignment_mode` is {alignment_mode!r}: it must be one of {', '.join(ALIGNMENTS)}"
            )
        if batch_size < 1:
            raise ValueError(f"`batch_size` is {batch_size}: it must be at least 1")
        self.name = name
        self.url = url.rstrip("/") + "/v1/ner"
        self.types = types
        self.threshold = threshold
        self.api_key = api_key
        self.model = model
        self.batch_size = batch_size
        self.spans_key = spans_key
        self.alignment_mode = alignment_mode
        self.timeout = timeout
        self.retries = retries
        self._session: requests.Session | None = None
        self._process: int | None = None
        register()

    def __call__(self, doc: Doc) -> Doc:
        """Finds the entities of one document. `pipe` is faster for many."""
        return self._annotate([doc])[0]

    def pipe(self, stream: Iterable[Doc], *, batch_size: int | None = None) -> Iterator[Doc]:
        """Finds the entities of many documents, several of them in a request.

        spaCy passes the batch size of the pipeline, whose default of 1,000 is more than the
        server's queue has room for: the configured `batch_size` is the most that is sent.
        """
        size = min(batch_size or self.batch_size, self.batch_size)
        for docs in minibatch(stream, size):
            yield from self._annotate(list(docs))

    def __getstate__(self) -> dict[str, Any]:
        # A process of `nlp.pipe(n_process=2)` opens connections of its own.
        return {**self.__dict__, "_session": None, "_process": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A process that was spawned has imported spaCy only.
        register()

    def _annotate(self, docs: list[Doc]) -> list[Doc]:
        # The server has nothing to find in a text without characters.
        asked = [doc for doc in docs if doc.text.strip()]
        for doc in docs:
            doc.spans[self.spans_key] = []
        if not asked:
            return docs
        body: dict[str, Any] = {
            "text": [doc.text for doc in asked],
            "types": self.types,
            "threshold": self.threshold,
        }
        if self.model is not None:
            body["model"] = self.model
        try:
            results = self._post(body)["results"]
        except UnerError as error:
            if error.status not in TOO_MUCH or len(asked) == 1:
                raise
            middle = len(asked) // 2
            self._annotate(asked[:middle])
            self._annotate(asked[middle:])
            return docs
        if len(results) != len(asked):
            raise UnerError(f"{self.url} sent {len(results)} results for {len(asked)} texts")
        for doc, result in zip(asked, results):
            self._set(doc, result)
        return docs

    def _set(self, doc: Doc, result: dict[str, Any]) -> None:
        spans = []
        for entity in result["entities"]:
            # The server counts Unicode code points, as Python does.
            span = doc.char_span(
                entity["start"],
                entity["end"],
                label=entity["type"],
                alignment_mode=self.alignment_mode,
            )
            if span is None or len(span) == 0:
                continue
            # Two entities of a type may share their tokens, if tokens are wider than they are.
            same = next((s for s in spans if key(s) == key(span)), None)
            if same is not None:
                if probability(same) >= (entity["probability"] or 0.0):
                    continue
                spans.remove(same)
            span._.uner_probability = entity["probability"]
            span._.uner_offsets = (entity["start"], entity["end"])
            spans.append(span)
        doc.spans[self.spans_key] = spans
        doc.ents = without_overlaps(spans, doc.ents)
        if result.get("problem"):
            doc._.uner_problem = result["problem"]
            warnings.warn(f"uner: entities may be missing: {result['problem']}", stacklevel=2)

    def _connection(self) -> requests.Session:
        # A forked process must not share its parent's connection.
        if self._session is None or self._process != os.getpid():
            self._session, self._process = requests.Session(), os.getpid()
        return self._session

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Sends a request, and repeats it while the server is busy or away."""
        key = self.api_key or os.environ.get("UNER_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for attempt in range(self.retries + 1):
            is_last = attempt == self.retries
            # Doubles from half a second to 16 seconds. Chance spreads clients that were refused
            # together.
            pause = min(2.0**attempt / 2, 16) * random.uniform(0.5, 1)
            try:
                response = self._connection().post(
                    self.url, json=body, headers=headers, timeout=self.timeout
                )
            except BROKEN as error:
                if is_last:
                    raise UnerError(f"{self.url} cannot be reached: {error}") from error
                time.sleep(pause)
                continue
            if response.status_code in PASSING and not is_last:
                seconds = response.headers.get("Retry-After", "")
                wanted = float(seconds) if seconds.isdigit() else 0.0
                time.sleep(min(max(pause, wanted), LONGEST_PAUSE))
                continue
            if not response.ok:
                status = response.status_code
                raise UnerError(f"status {status} of {self.url}: {message(response)}", status)
            return response.json()
        raise AssertionError("the last attempt returns or raises")


def register() -> None:
    """Adds our attributes to spaCy's classes."""
    for kind, attribute in [
        (Span, "uner_probability"),
        (Span, "uner_offsets"),
        (Doc, "uner_problem"),
    ]:
        if not kind.has_extension(attribute):
            kind.set_extension(attribute, default=None)


def key(span: Span) -> tuple[int, int, int]:
    return span.start, span.end, span.label


def probability(span: Span) -> float:
    """The probability of an entity; 0 if it is unknown."""
    return span._.uner_probability or 0.0


def without_overlaps(spans: list[Span], others: Iterable[Span]) -> list[Span]:
    """The best spans that do not overlap: those with the highest probability, then the longest,
    then the first. Entities of earlier components keep their place."""
    chosen = list(others)
    taken = {index for span in chosen for index in range(span.start, span.end)}
    for span in sorted(spans, key=lambda s: (-probability(s), s.start - s.end, s.start)):
        tokens = range(span.start, span.end)
        if taken.isdisjoint(tokens):
            taken.update(tokens)
            chosen.append(span)
    return sorted(chosen, key=lambda s: s.start)


def message(response: requests.Response) -> str:
    """What the server says is wrong."""
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
