# Sourced by cpu.sh and gpu.sh: where their programs come from.
# shellcheck shell=bash

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

say() {
    echo "== $*" >&2
}

# bench NAME PATH: the program of a bench. PATH is one that was built already, or nothing; then
# cargo builds it.
bench() {
    local name="$1" built="$2" path
    if [ -n "$built" ]; then
        [ -x "$built" ] || fail "\`$built\` is no program"
        realpath "$built"
        return
    fi
    command -v cargo >/dev/null || fail "there is no cargo to build the bench \`$name\` with; name a program that was built"
    path="$(cargo bench --no-run --package uner-benches --bench "$name" --message-format json |
        "$PYTHON" benches/environment.py executable)"
    [ -n "$path" ] || fail "cargo did not build the bench \`$name\`"
    echo "$path"
}

need_torch() {
    command -v "$PYTHON" >/dev/null || fail "\`$PYTHON\` is missing; set PYTHON to a Python with PyTorch"
    "$PYTHON" -c 'import torch' 2>/dev/null ||
        fail "\`$PYTHON\` has no PyTorch; install it with \`$PYTHON -m pip install torch\`, or set PYTHON to another Python"
}

# run NAME COMMAND...: stdout to raw/NAME.jsonl, stderr to raw/NAME.err; a failure is told and
# noted, and the rest goes on.
run() {
    local file="$OUT/raw/$1"
    shift
    rm -f "$file.failed"
    if ! "$@" >"$file.jsonl" 2>"$file.err"; then
        say "FAILED: $*"
        tail -n 5 "$file.err" >&2
        # Behind its message a panic notes how to get more.
        echo "$*: $(grep -v '^note: run with' "$file.err" | tail -n 1)" >"$file.failed"
    fi
}
