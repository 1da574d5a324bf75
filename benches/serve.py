"""Load on `uner serve`, and on llama.cpp's server with the same weights and prompts, in one run.

    cargo install --locked oha
    python3 benches/serve.py ner --uner target/release/uner --model checkpoints/quickstart
    python3 benches/serve.py chat --uner target/release/uner --model models/smollm2-135m \
        --llama build/bin/llama-server --gguf smollm2-135m-f32.gguf

`oha` sends requests over loopback for `--seconds` with 1, 8 and 64 clients. Each client sends its
next request when the last one is answered. A line of JSON for each run has requests per second, the
latencies, the statuses, and the largest memory of the server.

`ner` asks for all types in sentences of the demo corpus (`uner data convert demo`). `chat` asks a
question about such a sentence, and gets 32 tokens; both servers choose the most probable token.
"""

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

TYPES = ["person", "city", "organization", "medication", "medical condition", "song", "product"]
TOKENS = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["ner", "chat"])
    parser.add_argument("--uner", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--option", action="append", default=[], help="of `uner serve`")
    parser.add_argument("--llama")
    parser.add_argument("--gguf")
    parser.add_argument("--clients", type=int, action="append")
    parser.add_argument("--seconds", type=int, default=20)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(args, folder)
        path = {"ner": "/v1/ner", "chat": "/v1/chat/completions"}[args.kind]
        threads = os.environ.get("RAYON_NUM_THREADS", str(os.cpu_count()))
        servers = {"uner": ours(args, threads)}
        if args.llama:
            servers["llama.cpp"] = theirs(args, threads)
        for clients in args.clients or [1, 8, 64]:
            # Side by side: each number of clients first with one server, then with the other.
            for name, command in servers.items():
                with Server(command) as server:
                    load(server, path, bodies, clients, 3)
                    result = load(server, path, bodies, clients, args.seconds)
                    print(json.dumps({"server": name, "kind": args.kind, "clients": clients,
                                      **result, "peak_bytes": server.peak()}), flush=True)


def ours(args, threads):
    chat = ["--template", "chat"] if args.kind == "chat" else []
    options = [*chat, *args.option]
    return lambda port: (
        [args.uner, "serve", "--model", args.model, "--listen", f"127.0.0.1:{port}", *options],
        {"RAYON_NUM_THREADS": threads, "RUST_LOG": "error"}, "/ready")


def theirs(args, threads):
    """A slot for each client, and a context that holds all of them."""
    slots = max(args.clients or [64])
    return lambda port: (
        [args.llama, "-m", args.gguf, "--host", "127.0.0.1", "--port", str(port), "--jinja",
         "-t", threads, "-tb", threads, "--parallel", str(slots), "-c", str(slots * 512),
         "--no-webui", "-fa", "on", "--cache-type-k", "f32", "--cache-type-v", "f32"], {},
        "/health")


def write_bodies(args, folder):
    """A file with the body of a request on each line."""
    subprocess.run([args.uner, "data", "convert", "demo", folder + "/texts", "--format",
                    "json-lines"], check=True, stderr=subprocess.DEVNULL)
    file = folder + "/bodies.jsonl"
    with open(folder + "/texts/train.jsonl") as texts, open(file, "w") as out:
        for line in texts:
            text = json.loads(line)["text"]
            if args.kind == "ner":
                body = {"text": text, "types": TYPES}
            else:
                question = f"Text: {text}\nWho is in the text?"
                body = {"messages": [{"role": "user", "content": question}],
                        "max_tokens": TOKENS, "temperature": 0}
            out.write(json.dumps(body) + "\n")
    return file


class Server:
    """A server as a process, from the time at which it is ready."""

    def __init__(self, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments, variables, self.ready = command(self.port)
        self.process = subprocess.Popen(arguments, env={**os.environ, **variables},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready}"):
                    return self
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"the server ended with status {self.process.returncode}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def peak(self):
        """The largest memory of the process so far, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) * 1024


def load(server, path, bodies, clients, seconds):
    command = ["oha", "-z", f"{seconds}s", "-c", str(clients), "-m", "POST", "--no-tui",
               "--output-format", "json", "-T", "application/json", "-Z", bodies, "-w",
               f"http://127.0.0.1:{server.port}{path}"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    percentiles = report["latencyPercentiles"]
    return {
        "requests_per_second": report["summary"]["requestsPerSec"],
        "p50_seconds": percentiles["p50"],
        "p99_seconds": percentiles["p99"],
        "statuses": report["statusCodeDistribution"],
        "errors": report["errorDistribution"],
    }


if __name__ == "__main__":
    main()
