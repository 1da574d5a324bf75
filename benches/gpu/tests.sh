# Sourced by gpu.sh: what tells whether it works.
# shellcheck shell=bash

# The tests that run on `UNER_TEST_DEVICES`; the kernels' and the longest first.
MODULES=(kernels golden step devices adamw precision precision_short training lora parallel)
TOOLS=(memcheck racecheck)

part_doctor() {
    need_program uner || return 0
    limited doctor "$(left)" "${OURS[@]}" "$PROGRAM" doctor
    sed 's/^/         /' "$WORK/raw/doctor.jsonl" | tee -a "$OUT/summary.txt" >&2
}

# Each in a process of its own, as many side by side as there are processors: one that hangs or dies
# takes no other with it, and nothing but itself waits for its kernels to be compiled. The CPU is
# named too: some tests compare the devices with the first.
part_tests() {
    local modules=("$@") list="$WORK/tests/list" filter
    if [ $# -eq 0 ]; then modules=("${MODULES[@]}"); fi
    need_program it || return 0
    rm -rf "$WORK/tests" && mkdir -p "$WORK/tests/logs"
    filter="^($(IFS='|' && echo "${modules[*]}"))(::.*)?: test$"
    "${OURS[@]}" "$PROGRAM" --list --format terse 2>"$WORK/tests/list.err" | grep -E "$filter" | sed 's/: test$//' >"$list" ||
        lacks "the test program names no test of ${modules[*]}" || return 0
    export UNER_TEST_DEVICES="flex,$DEVICE" CARGO_MANIFEST_DIR="$PWD/tests" PROGRAM WORK
    export -f one_test
    echo "$STAMP" >"$WORK/tests/stamp"
    side_by_side one_test <"$list"
    summarize tests "$WORK"
    unset UNER_TEST_DEVICES CARGO_MANIFEST_DIR
}

# side_by_side FUNCTION: for every line of stdin in a process of its own, until the part's limit.
side_by_side() {
    # shellcheck disable=SC2016 # for the inner shell
    timeout --kill-after=3 "$(left)" xargs -P "$JOBS" -L 1 "${OURS[@]}" bash -c '"$@"' _ "$1" <&0 >&2 &
    RUNNING=$!
    wait "$RUNNING" || true
    RUNNING=""
}

# one_test NAME: its log, and a line in `results` when it has ended. Tests of a module share the
# folder where tuned kernels are remembered.
one_test() {
    local status=0 began log="$WORK/tests/logs/${1//::/.}.log" folder="$WORK/cwd/${1%::*}"
    mkdir -p "$folder"
    began="$(date +%s)"
    (cd "$folder" && XDG_CACHE_HOME="$folder" "$PROGRAM" --exact "$1" --nocapture --test-threads=1) >"$log" 2>&1 || status=$?
    echo "$status $(($(date +%s) - began)) $1" >>"$WORK/tests/results"
}

# Its path: that of the pack, of the toolkit or on PATH; nothing where there is none.
find_sanitizer() {
    local path
    for path in "$PWD/bin/compute-sanitizer/compute-sanitizer" "${CUDA_PATH:-/usr/local/cuda}/bin/compute-sanitizer" compute-sanitizer; do
        if command -v "$path"; then return; fi
    done
}

# One small case of every kernel, an op a process, side by side: racecheck is slow.
part_sanitizer() {
    local tools=("$@") tool op sanitizer
    if [ $# -eq 0 ]; then tools=("${TOOLS[@]}"); fi
    sanitizer="$(find_sanitizer)"
    if [ -z "$sanitizer" ]; then
        note "sanitizer: left out, there is no compute-sanitizer"
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

# one_sanitized TOOL OP: in both types, because attention and products have kernels of their own for
# bf16.
one_sanitized() {
    local dtype status file
    for dtype in bf16 f32; do
        status=0 file="$WORK/raw/sanitizer-$1-$2-$dtype"
        echo "$STAMP" >"$file.stamp"
        "$SANITIZER" --tool "$1" --error-exitcode 99 "$PROGRAM" --device "$DEVICE" --dtype "$dtype" --preset odd --once --op "$2" \
            >"$file.log" 2>&1 || status=$?
        echo "$status" >"$file.status"
    done
}
