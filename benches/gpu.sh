#!/usr/bin/env bash
# The GPU suite: every test of kernels and golden vectors on CUDA, then training steps of a 7B model
# and every op compared with PyTorch, then NVIDIA's sanitizer on every kernel. The most informative
# parts come first, and each has its own time limit. If the suite is ended early, OUT has all
# results until then.
#
#   benches/gpu.sh all [--minutes N]       every part; each gets a share of the budget
#   benches/gpu.sh PART[=WHAT,...][:SECONDS]...
#                                          only these parts, in this order
#   benches/gpu.sh rehearse [--minutes N] [PART...]
#                                          at tiny sizes, ours on software WebGPU and PyTorch on the
#                                          CPU: tests the suite; its figures mean nothing
#   benches/gpu.sh report                  only the report on the results in WORK
#   benches/gpu.sh pack PACK.tar.xz        with Rust: packs programs, test material and this suite
#   benches/gpu.sh run PACK.tar.xz ...     without Rust: any of the above with a pack
#
#   doctor           the program's report on the machine
#   tests[=MODULE]   the tests that run on UNER_TEST_DEVICES, each in its own process
#   limits           the copy and the product, the limits that figures are compared with
#   full[=SIDE]      full fine-tuning: `uner`; PyTorch's `masters`, `autocast`, `…+compile`
#   lora[=SIDE]      training of an adapter: `uner`, `autocast`, `autocast+compile`
#   conversations[=SIDE]  one pass over conversations, ours packed, PyTorch's
#                    padded: `uner`, `masters`, `masters+compile`
#   inference[=SIDE] queries of CrossNER to a 7B model with random weights: `uner`, `transformers`
#   ops[=OP]         one op, forward and backward
#   profile          a step of full fine-tuning, op by op
#   sanitizer[=TOOL] `memcheck` and `racecheck` on one small case of every kernel
#
# The machine with the GPU needs NVIDIA's driver, CUDA's compiler and headers, Python with PyTorch
# (for training steps also transformers and peft), and cargo unless the programs are built.
#
#   OUT      folder of summary.txt, gpu.md and results.tar.gz                 target/gpu-suite
#   WORK     folder of raw lines and logs (those in results.tar.gz)           target/gpu-suite/work
#   PYTHON   a Python with PyTorch                                            python3
#   JOBS     number of tests in parallel                               as many as processors
#   CUDA_PATH           CUDA's compiler and headers                /usr/local/cuda, or its wheels
#   UNER_SHARED         the folder of `golden` and `data`          the pack's, or `../shared`
#   SANITIZER           for `pack`: the folder of compute-sanitizer and its    none in the pack
#                       libraries, from a toolkit or NVIDIA's Python wheel
#   UNER_TEST_BINARY, UNER_OPS_BINARY, UNER_STEPS_BINARY, UNER_INFERENCE_BINARY, UNER_BINARY
#                       programs built elsewhere, with `cuda`      the pack's, or cargo builds them
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/programs.sh
. benches/programs.sh
# shellcheck source=benches/gpu/pack.sh
. benches/gpu/pack.sh
# shellcheck source=benches/gpu/limits.sh
. benches/gpu/limits.sh
# shellcheck source=benches/gpu/tests.sh
. benches/gpu/tests.sh
# shellcheck source=benches/gpu/steps.sh
. benches/gpu/steps.sh
# shellcheck source=benches/gpu/ops.sh
. benches/gpu/ops.sh
# shellcheck source=benches/gpu/inference.sh
. benches/gpu/inference.sh

COMMAND="benches/gpu.sh $*"
PYTHON="${PYTHON:-python3}"
JOBS="${JOBS:-$(nproc)}"
OUT="$(realpath -m "${OUT:-target/gpu-suite}")"
WORK="$(realpath -m "${WORK:-target/gpu-suite/work}")"
# Start of the suite in seconds: unpacking counts, building does not.
STARTED="${GPU_SUITE_STARTED:-}"
DEVICE=cuda:0 TORCH_DEVICE=cuda PRESET=7b DTYPE=bf16 TIME=0.2 REPEATS=3
SEQ=2048 STEPS=8 ROWS=8 CONVERSATIONS=384 BATCH=64 PAD=1024 PACKED=2048 PASSAGES=1000
PARTS=(doctor tests limits full lora conversations inference ops profile sanitizer)
# Seconds of a part without a budget; with a budget, its weight. The first three never get more.
declare -A USUAL=([doctor]=10 [tests]=90 [limits]=25 [full]=180 [lora]=120 [conversations]=150
    [inference]=80 [ops]=150 [profile]=40 [sanitizer]=60)

# limit_of PART NEXT...: prints the seconds that a part gets if the parts NEXT follow.
limit_of() {
    local part="$1" left shares=0 name limit
    limit="${USUAL[$1]}"
    if [ -z "$MINUTES" ]; then
        echo "$limit"
        return
    fi
    for name in "$@"; do
        name="${name%%:*}"
        shares=$((shares + USUAL[${name%%=*}]))
    done
    left=$((STARTED + MINUTES * 60 - $(date +%s)))
    left=$((left * limit / shares))
    case "$part" in
    doctor | tests | limits) echo $((left < limit ? left : limit)) ;;
    *) echo "$left" ;;
    esac
}

# part NAME[=WHAT,...][:SECONDS] NEXT...
part() {
    local asked="$1" name chosen=() limit=""
    if [ "$asked" != "${asked%:*}" ]; then limit="${asked##*:}"; fi
    asked="${asked%:*}"
    name="${asked%%=*}"
    if [ "$asked" != "$name" ]; then IFS=, read -ra chosen <<<"${asked#*=}"; fi
    if [ -z "$limit" ]; then limit="$(limit_of "$name" "${@:2}")"; fi
    if [ "$limit" -lt 1 ]; then
        note "$name: left out, no time is left"
        return
    fi
    note "$name, at most $limit s"
    PART="$name" ENDS=$(($(date +%s) + limit))
    rm -f "$WORK/raw/$PART.failed"
    case "$name" in
    full | lora | conversations) steps "$name" "${chosen[@]}" ;;
    *) "part_$name" "${chosen[@]}" ;;
    esac
}

check_parts() {
    local asked name
    for asked in "$@"; do
        name="${asked%%:*}"
        [ -n "${USUAL[${name%%=*}]:-}" ] ||
            fail "\`$asked\` is not one of all, rehearse, report, pack, run, ${PARTS[*]}"
        [[ "$asked" =~ ^[^:]*(:[0-9]+)?$ ]] ||
            fail "\`$asked\`: the part after the colon must be a number of seconds"
    done
}

check_machine() {
    command -v nvidia-smi >/dev/null || fail "NVIDIA's driver is missing: no \`nvidia-smi\` on PATH"
    nvidia-smi >/dev/null || fail "NVIDIA's driver does not work: \`nvidia-smi\` fails"
}

parts() {
    check_parts "$@"
    find_programs
    begin
    while [ $# -gt 0 ]; do
        part "$@"
        shift
    done
}

rehearse() {
    OUT="$OUT/rehearsal" WORK="$WORK/rehearsal"
    DEVICE=webgpu:cpu TORCH_DEVICE=cpu PRESET=tiny DTYPE=f32 TIME=0 REPEATS=1
    SEQ=128 STEPS=2 ROWS=1 CONVERSATIONS=4 BATCH=2 PACKED=1024 PASSAGES=2
    if [ $# -eq 0 ]; then
        set -- doctor limits full=uner,masters lora=uner,autocast conversations=uner,masters \
            inference ops profile
    fi
    parts "$@"
}

report() {
    [ -f "$WORK/environment.json" ] || fail "\`$WORK\` has no measurements"
    save
    say "$OUT/gpu.md"
}

main() {
    local what="${1:-all}"
    MINUTES=""
    if [ $# -gt 0 ]; then shift; fi
    if [ "${1:-}" = --minutes ]; then
        [[ "${2:-}" =~ ^[0-9]+$ ]] || fail "--minutes: \`${2:-}\` is not a whole number"
        MINUTES="$2"
        shift 2
    fi
    case "$what" in
    all)
        check_machine
        parts "${PARTS[@]}"
        ;;
    rehearse) rehearse "$@" ;;
    report) report ;;
    pack) pack "$@" ;;
    run) unpack_and_run "$@" ;;
    *)
        check_parts "$what" "$@"
        check_machine
        parts "$what" "$@"
        ;;
    esac
    if ! "$PYTHON" benches/gpu_summary.py failed "$WORK"; then
        fail "something failed or was cut off: see the end of $OUT/gpu.md"
    fi
}

# One line, so that editing the script while it runs does no harm.
{ main "$@"; exit; }
