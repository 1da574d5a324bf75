"""Two replicas of `uner serve` behind HAProxy, one of which is killed under load.

    sudo apt-get install haproxy
    python3 benches/replicas.py --uner target/release/uner --model checkpoints/quickstart

Clients send requests one after the other, and repeat one after status 429 or 503 and after a
connection that broke, as `docs/deployment.md` says. After a third of the time one replica is killed
(SIGKILL), after two thirds it is started again. A line of JSON has the number of requests, how many
were repeated, and how many were lost or answered otherwise than by a lone replica. The
configuration is `deploy/haproxy.cfg` with the addresses of this machine.
"""

import argparse
import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parents[1]
TYPES = ["person", "city", "organization"]
TEXTS = [f"Ann Kelham flew from Oslo to Lima in {year}." for year in range(1900, 2020)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uner", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()

    ports = [free_port() for _ in range(3)]
    replicas = [start(args, port) for port in ports[:2]]
    expected = [ask(ports[0], text)[1] for text in TEXTS]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(configuration(ports))
        file.flush()
        proxy = subprocess.Popen(["haproxy", "-f", file.name], stderr=subprocess.DEVNULL)
        wait(ports[2], "/ready")
        end = time.monotonic() + args.seconds
        counts = {"answered": 0, "repeated": 0, "lost": 0, "wrong": 0}
        lock = threading.Lock()

        def client(number):
            index = number
            while time.monotonic() < end:
                text = index % len(TEXTS)
                answer, repeats = with_repeats(ports[2], TEXTS[text])
                with lock:
                    counts["repeated"] += repeats
                    counts["lost" if answer is None else "answered"] += 1
                    counts["wrong"] += answer is not None and answer != expected[text]
                index += 1

        clients = [threading.Thread(target=client, args=[n]) for n in range(args.clients)]
        for thread in clients:
            thread.start()
        time.sleep(args.seconds / 3)
        replicas[0].send_signal(signal.SIGKILL)
        replicas[0].wait()
        time.sleep(args.seconds / 3)
        replicas[0] = start(args, ports[0])
        for thread in clients:
            thread.join()
        proxy.terminate()
        for replica in replicas:
            replica.terminate()
    print(json.dumps({"clients": args.clients, "seconds": args.seconds, **counts}))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def configuration(ports):
    """The shipped file with the ports of this run, and without what needs port 8404."""
    text = (ROOT / "deploy/haproxy.cfg").read_text()
    text = re.sub(r"bind \*:8443$", f"bind 127.0.0.1:{ports[2]}", text, flags=re.MULTILINE)
    text = text.replace("10.0.0.11:8080", f"127.0.0.1:{ports[0]}")
    text = text.replace("10.0.0.12:8080", f"127.0.0.1:{ports[1]}")
    return text.replace("127.0.0.1:8404", f"127.0.0.1:{free_port()}")


def start(args, port):
    replica = subprocess.Popen(
        [args.uner, "serve", "--model", args.model, "--listen", f"127.0.0.1:{port}"],
        stderr=subprocess.DEVNULL)
    wait(port, "/ready")
    return replica


def wait(port, path):
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)


def ask(port, text):
    """The status of a request and its entities."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"text": text, "types": TYPES})
    connection.request("POST", "/v1/ner", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    return response.status, json.loads(answer)["results"] if response.status == 200 else None


def with_repeats(port, text):
    """The entities, and how often the request was repeated; no entities if it was lost."""
    for repeats in range(20):
        try:
            status, results = ask(port, text)
            if status == 200:
                return results, repeats
            if status not in (429, 502, 503):
                return None, repeats
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    return None, repeats


if __name__ == "__main__":
    main()
