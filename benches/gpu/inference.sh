# Sourced by gpu.sh: measures answers to queries, ours and those of transformers.
# shellcheck shell=bash

# Queries that run at the same time. transformers computes a passage again for each of them.
OUR_QUERIES=256 THEIR_QUERIES=128

# part_inference [SIDE...]: ours first, which writes the prompts for both.
part_inference() {
    local side sides=("$@") prompts="$WORK/prompts.jsonl"
    if [ $# -eq 0 ]; then sides=(uner transformers); fi
    need_program inference || return 0
    rm -f "$WORK"/raw/inference-*
    for side in "${sides[@]}"; do
        if [ "$side" = uner ]; then
            rm -f "$prompts"
            limited inference-ours "$(left)" "${OURS[@]}" "$PROGRAM" --device "$DEVICE" \
                --preset "$PRESET" --tokenizer "$(shared)/data/llama-tokenizer/tokenizer.model" \
                --root "$(shared)/data" --passages "$PASSAGES" --batch "$OUR_QUERIES" \
                --prompts "$prompts"
        else
            need_packages torch transformers || return 0
            [ -f "$prompts" ] || lacks "no prompts: the side \`uner\` writes them" || return 0
            # Half of the time: the program also has to start.
            limited inference-pytorch "$(left)" "$PYTHON" benches/inference.py transformers \
                "$PRESET" "$prompts" --device "$TORCH_DEVICE" --batch "$THEIR_QUERIES" \
                --seconds $(($(left) / 2))
        fi
    done
}
