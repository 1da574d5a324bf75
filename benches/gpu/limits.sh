# Sourced by gpu.sh: runs programs within their limits, and saves results whatever happens.
# shellcheck shell=bash

# Seconds between two savings: a kill that cannot be caught loses at most these.
SAVED_EVERY=5
RUNNING="" SAVER="" SAMPLER=""

# Prints the seconds until the part's limit.
left() {
    echo $((ENDS - $(date +%s)))
}

# Prints a line with the seconds since the start, and adds it to the summary at once.
note() {
    printf '[%4d s] %s\n' $(($(date +%s) - STARTED)) "$*" | tee -a "$OUT/summary.txt" >&2
}

# Writes the report and an archive of all lines and logs so far. Files over 2 MiB are left out: the
# archive has to be copied, and only a runaway program writes that much.
save() {
    local report="$OUT/gpu.md.$BASHPID.tmp" archive="$OUT/results.$BASHPID.tmp"
    if "$PYTHON" benches/gpu_report.py "$WORK" >"$report" 2>"$WORK/report.err"; then
        mv "$report" "$OUT/gpu.md"
    fi
    # A file that grows meanwhile is not a failure.
    (cd "$WORK" && find . -type f -size -2048k ! -path './cwd/*' -print0 |
        tar czf "$archive" --null --files-from=- 2>/dev/null) || true
    mv "$archive" "$OUT/results.tar.gz"
    rm -f "$report"
}

begin() {
    STARTED="${STARTED:-$(date +%s)}"
    mkdir -p "$OUT" "$WORK/raw" "$WORK/tests"
    : >"$OUT/summary.txt"
    note "$COMMAND"
    "$PYTHON" benches/environment.py record "$COMMAND" >"$WORK/environment.json"
    STAMP="$("$PYTHON" benches/environment.py stamp "$WORK/environment.json")"
    note "$STAMP"
    trap finish EXIT
    trap 'note "ended by a signal"; exit 143' TERM INT HUP
    # Ends with the suite, which may be killed without a signal handler.
    while sleep "$SAVED_EVERY" && kill -0 "$$" 2>/dev/null; do save; done &
    SAVER=$!
}

finish() {
    local process
    trap - EXIT
    for process in "$RUNNING" "$SAMPLER" "$SAVER"; do
        if [ -n "$process" ]; then kill "$process" 2>/dev/null && wait "$process" || true; fi
    done 2>/dev/null
    rm -f "$OUT"/*.tmp
    save
    note "$OUT: summary.txt, gpu.md, results.tar.gz"
}

# limited NAME SECONDS COMMAND...: writes stdout to raw/NAME.jsonl, stderr to raw/NAME.err, and
# stamp, command and failure next to them. A failure is printed and recorded, the suite goes on, and
# output until then counts. The command runs in the background, so that signals are handled
# meanwhile.
limited() {
    local name="$1" seconds="$2" status=0 file="$WORK/raw/$1" began
    shift 2
    rm -f "$file".*
    if [ "$seconds" -lt 1 ]; then
        note "$name: left out, no time is left of its part"
        return
    fi
    echo "$STAMP" >"$file.stamp"
    echo "$*" >"$file.command"
    began="$(date +%s)"
    timeout --kill-after=3 "$seconds" "$@" >"$file.jsonl" 2>"$file.err" &
    RUNNING=$!
    wait "$RUNNING" || status=$?
    RUNNING=""
    case "$status" in
    0) ;;
    124 | 137) echo "$name: cut off after $seconds s" >"$file.failed" ;;
    # After its message a panic prints a note on backtraces.
    *)
        echo "$name: status $status: $(grep -v '^note: run with' "$file.err" | tail -n 1)" \
            >"$file.failed"
        ;;
    esac
    if [ -e "$file.failed" ]; then
        note "FAILED $(cut -c1-300 "$file.failed")"
    else
        note "$name: $(($(date +%s) - began)) s"
    fi
    summarize lines "$file.jsonl"
}

# summarize WHAT PATH: prints a summary and adds it to summary.txt. An error in it must not end the
# suite.
summarize() {
    "$PYTHON" benches/gpu_summary.py "$@" | tee -a "$OUT/summary.txt" >&2 || note "no summary of $2"
}

# sampled NAME SECONDS COMMAND...: as `limited`; also writes the peak of the GPU's memory in use, in
# MiB, to raw/NAME.memory.
sampled() {
    local samples="$WORK/samples"
    if [ "$TORCH_DEVICE" = cuda ]; then
        nvidia-smi --id=0 --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=100 \
            >"$samples" &
        SAMPLER=$!
    fi
    limited "$@"
    if [ -n "$SAMPLER" ]; then
        kill "$SAMPLER" 2>/dev/null || true
        wait "$SAMPLER" 2>/dev/null || true
        SAMPLER=""
        sort -n "$samples" | tail -n 1 >"$WORK/raw/$1.memory"
        rm "$samples"
    fi
}

# lacks WHY...: records why a part is left out; the others go on.
lacks() {
    note "left out: $*"
    echo "left out: $*" >"$WORK/raw/$PART.failed"
    return 1
}

need_packages() {
    "$PYTHON" benches/environment.py has "$@" ||
        lacks "\`$PYTHON\` lacks some of these packages; install them with pip: $*"
}
