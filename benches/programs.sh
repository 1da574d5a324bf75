# Sourced by cpu.sh and gpu.sh: finds or builds their programs.
# shellcheck shell=bash

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

say() {
    echo "== $*" >&2
}

# bench NAME PATH: prints the path of a bench's program. PATH is a built program, or empty; then
# cargo builds it.
bench() {
    local name="$1" built="$2" path
    if [ -n "$built" ]; then
        [ -x "$built" ] || fail "\`$built\` is not a program"
        realpath "$built"
        return
    fi
    command -v cargo >/dev/null ||
        fail "cargo is missing, so the bench \`$name\` cannot be built; name a built program"
    path="$(cargo bench --no-run --package uner-benches --bench "$name" --message-format json |
        "$PYTHON" benches/environment.py executable)"
    [ -n "$path" ] || fail "cargo did not build the bench \`$name\`"
    echo "$path"
}

need_torch() {
    command -v "$PYTHON" >/dev/null ||
        fail "\`$PYTHON\` is missing; set PYTHON to a Python with PyTorch"
    "$PYTHON" -c 'import torch' 2>/dev/null ||
        fail "\`$PYTHON\` has no PyTorch; install it with \`$PYTHON -m pip install torch\`," \
            "or set PYTHON to another Python"
}

# run NAME COMMAND...: writes stdout to raw/NAME.jsonl and stderr to raw/NAME.err. A failure is
# printed and recorded, and the suite goes on.
run() {
    local file="$OUT/raw/$1"
    shift
    rm -f "$file.failed"
    if ! "$@" >"$file.jsonl" 2>"$file.err"; then
        say "FAILED: $*"
        tail -n 5 "$file.err" >&2
        # After its message a panic prints a note on backtraces.
        echo "$*: $(grep -v '^note: run with' "$file.err" | tail -n 1)" >"$file.failed"
    fi
}
