# Sourced by gpu.sh: doctor, tests and sanitizer.
# shellcheck shell=bash

# Modules with tests that run on `UNER_TEST_DEVICES`: kernels first, then the longest.
MODULES=(kernels golden step devices adamw precision precision_short training lora parallel)
TOOLS=(memcheck racecheck)

part_doctor() {
    need_program uner || return 0
    limited doctor "$(left)" "${OURS[@]}" "$PROGRAM" doctor
    sed 's/^/         /' "$WORK/raw/doctor.jsonl" | tee -a "$OUT/summary.txt" >&2
}

# Runs each test in its own process, as many in parallel as processors. A test that hangs or dies
# does not affect others, and only the test itself waits for its kernels to compile. The devices
# include the CPU: some tests compare the others with the first.
part_tests() {
    local modules=("$@") list="$WORK/tests/list" filter
    if [ $# -eq 0 ]; then modules=("${MODULES[@]}"); fi
    need_program it || return 0
    rm -rf "$WORK/tests" && mkdir -p "$WORK/tests/logs"
    filter="^($(IFS='|' && echo "${modules[*]}"))(::.*)?: test$"
    "${OURS[@]}" "$PROGRAM" --list --format terse 2>"$WORK/tests/list.err" |
        grep -E "$filter" | sed 's/: test$//' >"$list" ||
        lacks "the test program has no test of ${modules[*]}" || return 0
    export UNER_TEST_DEVICES="flex,$DEVICE" CARGO_MANIFEST_DIR="$PWD/tests" PROGRAM WORK
    export -f one_test
    echo "$STAMP" >"$WORK/tests/stamp"
    side_by_side one_test <"$list"
    summarize tests "$WORK"
    unset UNER_TEST_DEVICES CARGO_MANIFEST_DIR
}

# side_by_side FUNCTION: calls it for every line of stdin, in parallel processes, until the part's
# limit.
side_by_side() {
    # shellcheck disable=SC2016 # for the inner shell
    timeout --kill-after=3 "$(left)" \
        xargs -P "$JOBS" -L 1 "${OURS[@]}" bash -c '"$@"' _ "$1" <&0 >&2 &
    RUNNING=$!
    wait "$RUNNING" || true
    RUNNING=""
}

# one_test NAME: writes the test's log, and a line to `results` when it ends. Tests of a module
# share the folder of tuned kernels.
one_test() {
    local status=0 began log="$WORK/tests/logs/${1//::/.}.log" folder="$WORK/cwd/${1%::*}"
    mkdir -p "$folder"
    began="$(date +%s)"
    (cd "$folder" && XDG_CACHE_HOME="$folder" \
        "$PROGRAM" --exact "$1" --nocapture --test-threads=1) >"$log" 2>&1 || status=$?
    echo "$status $(($(date +%s) - began)) $1" >>"$WORK/tests/results"
}

# Prints the sanitizer's path: in the pack, in the toolkit or on PATH; nothing if it is missing.
find_sanitizer() {
    local path
    for path in "$PWD/bin/compute-sanitizer/compute-sanitizer" \
        "${CUDA_PATH:-/usr/local/cuda}/bin/compute-sanitizer" compute-sanitizer; do
        if command -v "$path"; then return; fi
    done
}

# Checks one small case of every kernel, one process per op, in parallel: racecheck is slow.
part_sanitizer() {
    local tools=("$@") tool op sanitizer
    if [ $# -eq 0 ]; then tools=("${TOOLS[@]}"); fi
    sanitizer="$(find_sanitizer)"
    if [ -z "$sanitizer" ]; then
        note "sanitizer: left out, compute-sanitizer is missing"
        return
    fi
    need_program ops || return 0
    for tool in "${tools[@]}"; do
        for op in "${OPS[@]}"; do printf '%s\n' "$tool $op"; done
    done >"$WORK/sanitizer.list"
    rm -f "$WORK"/raw/sanitizer-*
    export PROGRAM WORK DEVICE STAMP SANITIZER="$sanitizer"
    export -f one_sanitized
    mkdir -p "$WORK/cwd"
    side_by_side one_sanitized <"$WORK/sanitizer.list"
    summarize sanitizer "$WORK"
}

# one_sanitized TOOL OP: checks both types, because attention and products have their own kernels
# for bf16.
one_sanitized() {
    local dtype status file
    for dtype in bf16 f32; do
        status=0 file="$WORK/raw/sanitizer-$1-$2-$dtype"
        echo "$STAMP" >"$file.stamp"
        "$SANITIZER" --tool "$1" --error-exitcode 99 \
            "$PROGRAM" --device "$DEVICE" --dtype "$dtype" --preset odd --once --op "$2" \
            >"$file.log" 2>&1 || status=$?
        echo "$status" >"$file.status"
    done
}
