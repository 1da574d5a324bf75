#!/usr/bin/env bash
# Compares uner with PyTorch on the CPU, with the same number of threads: the training step with all
# tokens trained and with the loss mask of NER, then every op. Run it on an idle machine; the load
# is recorded.
#
#   benches/cpu.sh                   everything; tables go to OUT/cpu.md, raw lines to OUT/raw
#   benches/cpu.sh steps             only the training step
#   benches/cpu.sh ops [OP...]       only the ops; `limits` is the copy and the product
#   benches/cpu.sh rehearse          a step and the ops at tiny sizes, to test the suite
#
#   PYTHON              a Python with PyTorch and transformers                    python3
#   OUT                 folder of the results                                     target/cpu-suite
#   REPEATS             number of rounds of ours and PyTorch's                    3
#   THREADS             threads of either side                                    all processors
#   LABELS              JSON Lines with `labels`, for the mask (loss_mask.py)
#                                           golden/tokenization/train.jsonl of UNER_SHARED
#   UNER_OPS_BINARY, UNER_STEP_BINARY    built benches `ops` and `training_step`, instead of cargo
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=benches/programs.sh
. benches/programs.sh

COMMAND="benches/cpu.sh $*"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-target/cpu-suite}"
REPEATS="${REPEATS:-3}"
THREADS="${THREADS:-$(nproc)}"
LABELS="${LABELS:-${UNER_SHARED:-../shared}/golden/tokenization/train.jsonl}"
PRESET=cpu TIME=1 STEPS=7 WARM_UP=3
OPS=(limits attention rms_norm rope swiglu dropout linear quantized_linear linear_cross_entropy
    squared_norm adamw)
export RAYON_NUM_THREADS="$THREADS"

# alternate NAME REPEAT OURS... -- PYTORCH...: runs both; which is first alternates by round.
alternate() {
    local name="$1" repeat="$2" ours=()
    shift 2
    while [ "$1" != -- ]; do
        ours+=("$1")
        shift
    done
    shift
    say "$name, round $repeat of $REPEATS"
    if [ $((repeat % 2)) -eq 1 ]; then
        run "$name-$repeat-ours" "${ours[@]}"
        run "$name-$repeat-pytorch" "$@"
    else
        run "$name-$repeat-pytorch" "$@"
        run "$name-$repeat-ours" "${ours[@]}"
    fi
}

# step NAME REPEAT [MASK]
step() {
    local options=(--steps "$STEPS")
    if [ $# -gt 2 ]; then options+=(--mask "$3"); fi
    alternate "step-$1" "$2" "$STEP_PROGRAM" "${options[@]}" -- \
        "$PYTHON" benches/pytorch_step.py --warm-up "$WARM_UP" --threads "$THREADS" "${options[@]}"
}

steps() {
    local repeat mask=""
    "$PYTHON" -c 'import transformers' 2>/dev/null ||
        fail "\`$PYTHON\` has no transformers; install it with pip"
    STEP_PROGRAM="$(bench training_step "${UNER_STEP_BINARY:-}")"
    if [ -f "$LABELS" ]; then
        mask="$OUT/mask.json"
        "$PYTHON" benches/loss_mask.py "$LABELS" 4 512 >"$mask"
    else
        say "SKIPPED: the step with a loss mask; \`$LABELS\` does not exist, set LABELS"
    fi
    for repeat in $(seq "$REPEATS"); do
        step all "$repeat"
        if [ -z "$mask" ]; then continue; fi
        step ner "$repeat" "$mask"
        # PyTorch's speed without logits of untrained tokens, which transformers always computes.
        run "selected-$repeat-pytorch" "$PYTHON" benches/pytorch_step.py --steps "$STEPS" \
            --warm-up "$WARM_UP" --threads "$THREADS" --mask "$mask" --selected-logits
    done
}

ops() {
    local repeat op python
    OPS_PROGRAM="$(bench ops "${UNER_OPS_BINARY:-}")"
    for repeat in $(seq "$REPEATS"); do
        for op in "$@"; do
            python=("$PYTHON" benches/pytorch_ops.py --preset "$PRESET" --op "$op"
                --seconds "$TIME" --threads "$THREADS")
            if [ "$op" = limits ]; then
                run "ops-limits-$repeat-pytorch" "${python[@]}"
            else
                alternate "ops-$op" "$repeat" \
                    "$OPS_PROGRAM" --preset "$PRESET" --op "$op" --seconds "$TIME" -- "${python[@]}"
            fi
        done
    done
}

table_of_steps() { # NAME WHAT
    if compgen -G "$OUT/raw/step-$1-*.jsonl" >/dev/null; then
        cat "$OUT/raw/step-$1"-*-ours.jsonl >"$OUT/ours.jsonl"
        cat "$OUT/raw/step-$1"-*-pytorch.jsonl >"$OUT/pytorch.jsonl"
        "$PYTHON" benches/table.py steps "$2" "$OUT/ours.jsonl" "$OUT/pytorch.jsonl"
        echo
    fi
}

report() {
    echo "# CPU suite: $COMMAND"
    echo
    echo '```json'
    cat "$OUT/environment.json"
    echo '```'
    echo
    table_of_steps all "all tokens trained"
    table_of_steps ner "trained as in NER"
    if compgen -G "$OUT/raw/selected-*.jsonl" >/dev/null; then
        cat "$OUT/raw/selected-"*.jsonl >"$OUT/pytorch.jsonl"
        "$PYTHON" benches/table.py steps \
            "trained as in NER, PyTorch's logits of trained tokens only" \
            "$OUT/ours.jsonl" "$OUT/pytorch.jsonl"
        echo
    fi
    if compgen -G "$OUT/raw/ops-*.jsonl" >/dev/null; then
        "$PYTHON" benches/table.py ops "$OUT"/raw/ops-*.jsonl
    fi
}

main() {
    local what="${1:-all}"
    if [ $# -gt 0 ]; then shift; fi
    if [ $# -eq 0 ]; then set -- "${OPS[@]}"; fi
    if [ "$what" = rehearse ]; then
        OUT="$OUT/rehearsal" REPEATS=1 PRESET=tiny TIME=0 STEPS=1 WARM_UP=1
    fi
    need_torch
    mkdir -p "$OUT/raw"
    "$PYTHON" benches/environment.py record "$COMMAND" >"$OUT/environment.json"
    case "$what" in
    all | rehearse)
        steps
        ops "$@"
        ;;
    steps) steps ;;
    ops) ops "$@" ;;
    *) fail "\`$what\` is not one of all, steps, ops, rehearse" ;;
    esac
    report >"$OUT/cpu.md"
    say "$OUT/cpu.md"
    if compgen -G "$OUT/raw/*.failed" >/dev/null; then fail "something failed: see $OUT/raw"; fi
}

# One line, so that editing the script while it runs does no harm.
{ main "$@"; exit; }
