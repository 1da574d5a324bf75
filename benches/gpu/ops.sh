# Sourced by gpu.sh: measures every op, ours and PyTorch's.
# shellcheck shell=bash

# Products, attention, and memory-bound ops. PyTorch measures a group in one process, because
# importing it takes longer than measuring.
GROUPS_OF_OPS=("linear linear_cross_entropy quantized_linear" "attention"
    "rms_norm rope swiglu dropout adamw squared_norm")
# Ops that PyTorch does not have.
OURS_ALONE=(linear_sum add_linear accumulate add_rows cached_attention)
read -ra OPS <<<"${GROUPS_OF_OPS[*]} ${OURS_ALONE[*]}"

part_limits() {
    need_packages torch || return 0
    # shellcheck disable=SC2153 # set in gpu.sh; a function below has its own `preset`
    limited limits-pytorch "$(left)" "$PYTHON" benches/pytorch_ops.py --device "$TORCH_DEVICE" \
        --dtype "$DTYPE" --preset "$PRESET" --op limits --seconds "$TIME"
}

# part_ops [OP...]: the first round measures everything once, with PyTorch eager, and the time of
# launching on both sides. Further rounds also compile PyTorch, which takes long. The median of the
# rounds counts.
part_ops() {
    local groups=("${GROUPS_OF_OPS[@]}" "${OURS_ALONE[*]}") round
    if [ $# -gt 0 ]; then groups=("$*"); fi
    need_program ops || return 0
    rm -f "$WORK"/raw/ops-*
    for round in $(seq "$REPEATS"); do
        ops_round "$round" "$PRESET" "${groups[@]}"
        if [ "$round" -eq 1 ] && [ "$PRESET" != tiny ]; then ops_round start tiny "${groups[@]}"; fi
        if [ "$(share_left)" -lt 1 ]; then
            note "ops: no time is left in round $round of $REPEATS"
            return
        fi
    done
}

# ops_round ROUND PRESET GROUP...
ops_round() {
    local round="$1" preset="$2" group op ops compile=()
    shift 2
    # The first round has to be fast. The order of the two sides alternates.
    if [ "$round" != 1 ] && [ "$round" != start ]; then compile=(--compile); fi
    for group in "$@"; do
        if [ "$(share_left)" -lt 1 ]; then return; fi
        read -ra ops <<<"$group"
        if [ "${#compile[@]}" -gt 0 ]; then
            pytorch_ops "$round" "$preset" "${ops[@]}" "${compile[@]}"
        fi
        for op in "${ops[@]}"; do
            limited "ops-$op-$preset-$round-ours" "$(share_left)" "${OURS[@]}" "$PROGRAM" \
                --device "$DEVICE" --dtype "$DTYPE" --preset "$preset" --op "$op" --seconds "$TIME"
        done
        if [ "${#compile[@]}" -eq 0 ]; then pytorch_ops "$round" "$preset" "${ops[@]}"; fi
    done
}

# pytorch_ops ROUND PRESET OP... [--compile]
pytorch_ops() {
    local round="$1" preset="$2" op options=() ops=0
    need_packages torch || return 0
    shift 2
    for op in "$@"; do
        if [ "$op" = --compile ]; then
            options+=("$op")
        elif [[ " ${OURS_ALONE[*]} " != *" $op "* ]]; then
            options+=(--op "$op") ops=1
        fi
    done
    if [ "$ops" = 0 ]; then return; fi
    limited "ops-${1}-$preset-$round-pytorch" "$(share_left)" "$PYTHON" benches/pytorch_ops.py \
        --device "$TORCH_DEVICE" --dtype "$DTYPE" --preset "$preset" --seconds "$TIME" \
        "${options[@]}"
}

# Prints a third of the time left, so that a program that hangs does not use up the others' time.
share_left() {
    echo $(($(left) / 3))
}
