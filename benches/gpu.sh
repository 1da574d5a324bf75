#!/usr/bin/env bash
# The GPU suite: every test of kernels and golden vectors on CUDA, then every op and whole training steps of a 7B model beside
# PyTorch. Needs an NVIDIA GPU, PyTorch with CUDA (for the steps with transformers and peft), and cargo or programs that were
# built elsewhere.
#
#   benches/gpu.sh                   all of it; the report is OUT/gpu.md, the raw lines are OUT/raw
#   benches/gpu.sh tests             only the tests
#   benches/gpu.sh ops [OP...]       only the measurements, of all ops or of these; `limits` is the copy and the product
#   benches/gpu.sh steps [WHAT...]   only training steps, of all or of these: `full`, `lora`, `conversations`; 10 minutes each
#   benches/gpu.sh report            only the report, of what OUT holds
#   benches/gpu.sh rehearse [OP... | steps [WHAT...]]
#                                    the measurements at tiny sizes, ours on software WebGPU and PyTorch on the CPU: shows
#                                    that the suite works, and no figure of it means anything
#
#   PYTHON              a Python with PyTorch                                     python3
#   OUT                 the folder for results                                    target/gpu-suite
#   REPEATS             rounds of ours and PyTorch's, the median counts           3
#   UNER_OPS_BINARY     the bench `ops`, built with `cuda`, in place of cargo
#   UNER_STEPS_BINARY   the bench `steps`, likewise
#   UNER_CONVERSATIONS  lines of {ids, labels} to train on                        encoded from UNER_SHARED/data
#   CONVERSATIONS       how many of them                                          768
#   LIMIT               seconds that a program of `steps` may take                280
#   VARIANTS            of PyTorch in `steps`, such as "masters+compile"          all
#   UNER_TEST_BINARY    the test program `it`, built with `cuda`, in place of cargo nextest
#   UNER_SHARED         the folder that holds `golden` and `data`                 shared, beside the repository
#   UNER_COMMIT         the commit, where there is no .git
#   CUDA_PATH           CUDA's compiler and headers                               /usr/local/cuda, else the wheels of PyTorch
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/programs.sh
. benches/programs.sh

COMMAND="benches/gpu.sh $*"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-target/gpu-suite}"
REPEATS="${REPEATS:-3}"
CONVERSATIONS="${CONVERSATIONS:-768}"
LIMIT="${LIMIT:-280}"
DEVICE=cuda:0 TORCH_DEVICE=cuda PRESET=7b DTYPE=bf16 FEATURES=cuda TIME=1
SEQ=2048 STEPS=20 ROWS=8 BATCH=64 PAD=1024
STEP_KINDS=(full lora conversations)
# What our program is told besides where the plan turned out to be too large.
LESS=()
OPS=(limits attention rms_norm rope swiglu dropout linear quantized_linear linear_cross_entropy squared_norm adamw)
# The tests that run on `UNER_TEST_DEVICES`.
MODULES=(devices kernels golden adamw step training precision lora parallel)

check_machine() {
    command -v nvidia-smi >/dev/null || fail "there is no NVIDIA driver: \`nvidia-smi\` is missing"
    nvidia-smi >/dev/null || fail "NVIDIA's driver does not work: \`nvidia-smi\` fails"
    need_torch
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
        fail "PyTorch sees no GPU: $("$PYTHON" -c 'import torch; print(torch.__version__, "for CUDA", torch.version.cuda)')"
}

# Only after cargo has built: it would build the CUDA crates again whenever CUDA_PATH changes.
find_cuda() {
    local wheels
    if [ -n "${CUDA_PATH:-}" ] || [ -d /usr/local/cuda ]; then return; fi
    wheels="$("$PYTHON" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1] / "nvidia" / "cu13")')"
    if [ -d "$wheels/include" ]; then export CUDA_PATH="$wheels"; fi
}

# The CPU is named too: some tests compare the devices with the first.
tests() {
    local status=0
    say "tests on $DEVICE"
    if [ -z "${UNER_TEST_BINARY:-}" ] && ! cargo nextest --version >/dev/null 2>&1; then
        fail "there is no cargo nextest; install it, or name a test program that was built in UNER_TEST_BINARY"
    fi
    run_tests >"$OUT/tests.log" 2>&1 || status=$?
    echo "$status" >"$OUT/tests.status"
    tail -n 30 "$OUT/tests.log" >&2
    if [ "$status" -ne 0 ]; then say "tests FAILED: $OUT/tests.log"; fi
}

run_tests() {
    local filter
    export UNER_TEST_DEVICES="flex,$DEVICE"
    if [ -n "${UNER_SHARED:-}" ]; then UNER_SHARED="$(realpath "$UNER_SHARED")" && export UNER_SHARED; fi
    if [ -n "${UNER_TEST_BINARY:-}" ]; then
        find_cuda
        CARGO_MANIFEST_DIR="$PWD/tests" "$(realpath "$UNER_TEST_BINARY")" --test-threads=4 --show-output "${MODULES[@]/%/::}"
    else
        filter="test(/^($(IFS='|' && echo "${MODULES[*]}"))::/)"
        cargo nextest run --release --package uner-tests --features "$FEATURES" --test it --no-run
        find_cuda
        cargo nextest run --release --package uner-tests --features "$FEATURES" --test it --no-fail-fast \
            --success-output immediate -E "$filter"
    fi
}

ours() { # OP PRESET REPEAT
    run "$1-$2-$3-ours" "$PROGRAM" --device "$DEVICE" --dtype "$DTYPE" --preset "$2" --op "$1" --seconds "$TIME"
}

pytorch() { # OP PRESET REPEAT
    run "$1-$2-$3-pytorch" "$PYTHON" benches/pytorch_ops.py --device "$TORCH_DEVICE" --dtype "$DTYPE" --preset "$2" \
        --op "$1" --seconds "$TIME" --compile
}

# Ours and PyTorch's take turns, and which is first changes.
round() { # OP PRESET REPEAT
    say "$1 $2, round $3 of $REPEATS"
    if [ "$1" = limits ]; then
        pytorch "$@"
    elif [ $(($3 % 2)) -eq 1 ]; then
        ours "$@"
        pytorch "$@"
    else
        pytorch "$@"
        ours "$@"
    fi
}

ops() {
    local repeat op
    mkdir -p "$OUT/raw"
    PROGRAM="$(bench ops "${UNER_OPS_BINARY:-}" "$FEATURES")"
    find_cuda
    "$PROGRAM" --device "$DEVICE" --dtype "$DTYPE" --preset tiny --seconds 0 --op rope >/dev/null ||
        fail "our program cannot use \`$DEVICE\`"
    "$PYTHON" benches/environment.py record "$COMMAND" >"$OUT/environment.json"
    for repeat in $(seq "$REPEATS"); do
        for op in "$@"; do round "$op" "$PRESET" "$repeat"; done
    done
    # What starting a run costs on either side.
    if [ "$PRESET" != tiny ]; then
        for op in "$@"; do
            if [ "$op" != limits ]; then round "$op" tiny 1; fi
        done
    fi
}

# sampled NAME COMMAND...: as `run`, within LIMIT seconds; the most MiB of the GPU that were taken meanwhile go to raw/NAME.memory.
sampled() {
    local name="$1" sampler="" file="$OUT/raw/$1"
    shift
    rm -f "$file.memory"
    if [ "$TORCH_DEVICE" = cuda ]; then
        nvidia-smi --id=0 --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=100 >"$file.samples" &
        sampler=$!
    fi
    run "$name" timeout "$LIMIT" "$@"
    if [ -n "$sampler" ]; then
        kill "$sampler" 2>/dev/null || true
        wait "$sampler" || true
        sort -n "$file.samples" | tail -n 1 >"$file.memory"
        rm "$file.samples"
    fi
}

# our_steps NAME OPTIONS...: in the layout of the plan; where that fails, once more with a plan for less memory, which is noted.
our_steps() {
    local name="steps-$1-ours" total
    local command=("$STEPS_PROGRAM" --device "$DEVICE" --preset "$PRESET" --steps "$STEPS" "${@:2}")
    rm -f "$OUT/raw/$name.retried"
    LESS=()
    say "steps, $1: ours"
    sampled "$name" "${command[@]}"
    if [ ! -e "$OUT/raw/$name.failed" ] || [ "$TORCH_DEVICE" != cuda ]; then return; fi
    mv "$OUT/raw/$name.failed" "$OUT/raw/$name.retried"
    total="$(nvidia-smi --id=0 --query-gpu=memory.total --format=csv,noheader,nounits)"
    LESS=(--memory-gib "$((total * 85 / 100 / 1024))")
    sampled "$name" "${command[@]}" "${LESS[@]}"
}

# pytorch_steps NAME VARIANTS OPTIONS...: a run for each variant, `masters` or `autocast`, with `+compile` or without.
pytorch_steps() {
    local variant command
    for variant in ${VARIANTS:-$2}; do
        say "steps, $1: PyTorch, $variant"
        command=("$PYTHON" benches/pytorch_steps.py --device "$TORCH_DEVICE" --preset "$PRESET" --precision "${variant%+compile}")
        if [ "$variant" != "${variant%+compile}" ]; then command+=(--compile); fi
        sampled "steps-$1-$variant-pytorch" "${command[@]}" --steps "$STEPS" "${@:3}"
    done
}

steps() {
    local kind
    mkdir -p "$OUT/raw"
    "$PYTHON" -c 'import transformers, peft' 2>/dev/null || fail "\`$PYTHON\` lacks transformers or peft; install them with pip"
    STEPS_PROGRAM="$(bench steps "${UNER_STEPS_BINARY:-}" "$FEATURES")"
    find_cuda
    "$PYTHON" benches/environment.py record "$COMMAND" >"$OUT/environment.json"
    # The product that utilisation is a share of.
    round limits "$PRESET" steps
    for kind in "$@"; do
        case "$kind" in
        full)
            our_steps full --mode full --seq "$SEQ" --rows "$ROWS"
            run steps-full-profile timeout "$LIMIT" "$STEPS_PROGRAM" --device "$DEVICE" --preset "$PRESET" --seq "$SEQ" \
                --rows "$ROWS" --profile "${LESS[@]}"
            pytorch_steps full "masters masters+compile autocast+compile" --mode full --seq "$SEQ" --rows "$ROWS"
            ;;
        lora)
            our_steps lora --mode lora --seq "$SEQ" --rows "$ROWS"
            pytorch_steps lora "autocast autocast+compile" --mode lora --seq "$SEQ" --rows "$ROWS"
            ;;
        conversations) conversations ;;
        *) fail "\`$kind\` is none of ${STEP_KINDS[*]}" ;;
        esac
    done
}

# One pass over real conversations: ours packed into rows, PyTorch's padded to PAD each.
conversations() {
    local file="${UNER_CONVERSATIONS:-}" shared="${UNER_SHARED:-../shared}"
    if [ -z "$file" ]; then
        file="$OUT/conversations.jsonl"
        [ -d "$shared/data" ] || fail "there are no conversations: \`$shared/data\` does not exist; set UNER_SHARED or UNER_CONVERSATIONS"
        run steps-conversations-data "$STEPS_PROGRAM" --encode "$file" --shared "$shared" --count "$CONVERSATIONS" --longest "$PAD"
    fi
    STEPS=$(($(wc -l <"$file") / BATCH))
    our_steps conversations --mode full --seq "$SEQ" --conversations "$file" --batch "$BATCH"
    pytorch_steps conversations "masters masters+compile" --mode full --conversations "$file" --pad "$PAD" --batch "$BATCH"
}

report() {
    [ -f "$OUT/environment.json" ] || fail "\`$OUT\` holds no measurements"
    "$PYTHON" benches/gpu_report.py "$OUT" >"$OUT/gpu.md"
    say "$OUT/gpu.md, $OUT/gpu.json"
}

rehearse() {
    need_torch
    OUT="$OUT/rehearsal"
    DEVICE=webgpu:cpu TORCH_DEVICE=cpu PRESET=tiny DTYPE=f32 FEATURES=webgpu TIME=0 REPEATS=1
    SEQ=1024 STEPS=2 ROWS=1 CONVERSATIONS=4 BATCH=2
    if [ "${1:-}" = steps ]; then
        shift
        if [ $# -eq 0 ]; then set -- "${STEP_KINDS[@]}"; fi
        steps "$@"
    elif [ $# -gt 0 ]; then
        ops "$@"
    else
        ops "${OPS[@]}"
        steps "${STEP_KINDS[@]}"
    fi
    report
}

main() {
    local what="${1:-all}"
    if [ $# -gt 0 ]; then shift; fi
    mkdir -p "$OUT"
    case "$what" in
    all)
        check_machine
        tests
        ops "${OPS[@]}"
        steps "${STEP_KINDS[@]}"
        report
        ;;
    steps)
        check_machine
        if [ $# -eq 0 ]; then set -- "${STEP_KINDS[@]}"; fi
        steps "$@"
        report
        ;;
    tests)
        check_machine
        tests
        ;;
    ops)
        check_machine
        if [ $# -eq 0 ]; then set -- "${OPS[@]}"; fi
        ops "$@"
        report
        ;;
    report) report ;;
    rehearse) rehearse "$@" ;;
    *) fail "\`$what\` is none of tests, ops, steps, report, rehearse" ;;
    esac
    if compgen -G "$OUT/raw/*.failed" >/dev/null || [ "$(cat "$OUT/tests.status" 2>/dev/null || echo 0)" -ne 0 ]; then
        fail "something failed: see the end of the report"
    fi
}

# In one line, so that an edit while this runs does no harm.
{ main "$@"; exit; }
