#!/usr/bin/env bash
# The GPU suite: every test of kernels and golden vectors on CUDA, then every op beside PyTorch. Needs an NVIDIA GPU,
# PyTorch with CUDA, and cargo or programs that were built elsewhere.
#
#   benches/gpu.sh                   all of it; the report is OUT/gpu.md, the raw lines are OUT/raw
#   benches/gpu.sh tests             only the tests
#   benches/gpu.sh ops [OP...]       only the measurements, of all ops or of these; `limits` is the copy and the product
#   benches/gpu.sh report            only the report, of what OUT holds
#   benches/gpu.sh rehearse          the measurements at tiny sizes, ours on software WebGPU and PyTorch on the CPU: shows
#                                    that the suite works, and no figure of it means anything
#
#   PYTHON              a Python with PyTorch                                     python3
#   OUT                 the folder for results                                    target/gpu-suite
#   REPEATS             rounds of ours and PyTorch's, the median counts           3
#   UNER_OPS_BINARY     the bench `ops`, built with `cuda`, in place of cargo
#   UNER_TEST_BINARY    the test program `it`, built with `cuda`, in place of cargo nextest
#   UNER_SHARED         the folder that holds `golden`                            shared, beside the repository
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
DEVICE=cuda:0 TORCH_DEVICE=cuda PRESET=7b DTYPE=bf16 FEATURES=cuda TIME=1
OPS=(limits attention rms_norm rope swiglu dropout linear quantized_linear linear_cross_entropy squared_norm adamw)
# The tests that run on `UNER_TEST_DEVICES`.
MODULES=(devices kernels golden adamw step training precision lora)

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

report() {
    [ -f "$OUT/environment.json" ] || fail "\`$OUT\` holds no measurements"
    "$PYTHON" benches/gpu_report.py "$OUT" >"$OUT/gpu.md"
    say "$OUT/gpu.md, $OUT/gpu.json"
}

rehearse() {
    need_torch
    OUT="$OUT/rehearsal"
    DEVICE=webgpu:cpu TORCH_DEVICE=cpu PRESET=tiny DTYPE=f32 FEATURES=webgpu TIME=0 REPEATS=1
    if [ $# -eq 0 ]; then set -- "${OPS[@]}"; fi
    ops "$@"
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
    *) fail "\`$what\` is none of tests, ops, report, rehearse" ;;
    esac
    if compgen -G "$OUT/raw/*.failed" >/dev/null || [ "$(cat "$OUT/tests.status" 2>/dev/null || echo 0)" -ne 0 ]; then
        fail "something failed: see the end of the report"
    fi
}

# In one line, so that an edit while this runs does no harm.
{ main "$@"; exit; }
