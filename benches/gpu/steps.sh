# Sourced by gpu.sh: measures training steps, ours and PyTorch's.
# shellcheck shell=bash

# The sides to compare by default. A comparison needs the first two; the others follow if time is
# left.
declare -A SIDES=(
    [full]="uner masters masters+compile autocast+compile"
    [lora]="uner autocast autocast+compile"
    [conversations]="uner masters masters+compile"
)
# A PyTorch run that compiles starts only if this many seconds are left.
COMPILING=60

# steps KIND [SIDE...]: ours gets at most half of the part's time, and PyTorch the rest.
steps() {
    local kind="$1" side sides options
    read -ra sides <<<"${SIDES[$1]}"
    if [ $# -gt 1 ]; then sides=("${@:2}"); fi
    need_program steps || return 0
    rm -f "$WORK/raw/steps-$kind"-*
    step_options "$kind" || return 0
    for side in "${sides[@]}"; do
        if [ "$side" = uner ]; then
            our_steps "$kind" $(($(left) / (${#sides[@]} > 1 ? 2 : 1)))
        elif [ "$side" != "${side%+compile}" ] && [ "$TORCH_DEVICE" = cuda ] &&
            [ "$(left)" -lt "$COMPILING" ]; then
            note "steps-$kind-$side: left out, $(left) s are left of its part"
        else
            pytorch_steps "$kind" "$side"
        fi
    done
}

# step_options KIND: sets `options` to the options of both sides.
step_options() {
    local mode=full count
    if [ "$1" = lora ]; then mode=lora; fi
    if [ "$1" = conversations ]; then
        find_conversations || return 1
        count="$(wc -l <"$WORK/conversations.jsonl")"
        options=(--conversations "$WORK/conversations.jsonl" --batch "$BATCH"
            --steps $((count / BATCH)))
    else
        options=(--rows "$ROWS" --seq "$SEQ" --steps "$STEPS")
    fi
    options+=(--mode "$mode" --preset "$PRESET")
}

# Copies the conversations of the pack, or encodes them now.
find_conversations() {
    local packed=conversations.jsonl
    if [ ! -f "$packed" ]; then
        packed="$WORK/encoded.jsonl"
        [ -d "$(shared)/data" ] ||
            lacks "conversations are missing: \`$(shared)/data\` does not exist; set UNER_SHARED" ||
            return 1
        limited steps-conversations-data "$(left)" "$PROGRAM" --encode "$packed" \
            --shared "$(shared)" --count "$CONVERSATIONS" --longest "$PAD"
    else
        cp conversations.json "$WORK/raw/steps-conversations-data.jsonl"
    fi
    head -n "$CONVERSATIONS" "$packed" >"$WORK/conversations.jsonl"
}

# our_steps KIND SECONDS: runs ours in the layout of the plan. If that fails, runs it again with a
# plan for less memory, which the report mentions.
our_steps() {
    local name="steps-$1-ours" ends=$(($(date +%s) + $2))
    local command=("${OURS[@]}" "$PROGRAM" --device "$DEVICE" "${options[@]}")
    if [ "$1" = conversations ]; then command+=(--seq "$PACKED"); fi
    sampled "$name" "$2" "${command[@]}"
    if ! grep -qs ': status ' "$WORK/raw/$name.failed" || [ "$TORCH_DEVICE" != cuda ]; then
        return
    fi
    mv "$WORK/raw/$name.failed" "$WORK/$name.retried"
    sampled "$name" $((ends - $(date +%s))) "${command[@]}" --memory-gib "$(less_memory)"
    mv "$WORK/$name.retried" "$WORK/raw/$name.retried"
}

# Prints 85 % of the GPU's memory, in GiB.
less_memory() {
    local total
    total="$(nvidia-smi --id=0 --query-gpu=memory.total --format=csv,noheader,nounits)"
    echo $((total * 85 / 100 / 1024))
}

# pytorch_steps KIND VARIANT: VARIANT is `masters` or `autocast`, with or without `+compile`.
pytorch_steps() {
    need_packages torch transformers peft || return 0
    local command=("$PYTHON" benches/pytorch_steps.py --device "$TORCH_DEVICE"
        --precision "${2%+compile}" "${options[@]}")
    if [ "$2" != "${2%+compile}" ]; then command+=(--compile); fi
    if [ "$1" = conversations ]; then command+=(--pad "$PAD"); fi
    sampled "steps-$1-$2-pytorch" "$(left)" "${command[@]}"
}

part_profile() {
    local options less=()
    need_program steps || return 0
    step_options full
    if [ -e "$WORK/raw/steps-full-ours.retried" ]; then less=(--memory-gib "$(less_memory)"); fi
    limited steps-profile "$(left)" "${OURS[@]}" "$PROGRAM" --device "$DEVICE" "${options[@]}" \
        --profile "${less[@]}"
}
