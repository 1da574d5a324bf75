# Sourced by gpu.sh: packs one file for a machine with a GPU and no Rust. It unpacks to a folder
# like a checkout, with `bin`, `shared`, `conversations.jsonl` and `commit` in addition.
# shellcheck shell=bash

# Prints the path of the shared data.
shared() {
    if [ -n "${UNER_SHARED:-}" ]; then
        realpath "$UNER_SHARED"
    elif [ -d bin ]; then
        echo "$PWD/shared"
    else
        realpath -m ../shared
    fi
}

# find_programs: sets PROGRAMS to the programs' paths and OURS to the prefix of their commands. If
# one is neither named nor in a pack, cargo builds all at once. CUDA is located only after that:
# cargo would rebuild the CUDA crates whenever CUDA_PATH changes. Only our programs get its path,
# because PyTorch has its own CUDA.
find_programs() {
    local name variable path missing=()
    declare -A variables=([it]=UNER_TEST_BINARY [ops]=UNER_OPS_BINARY [steps]=UNER_STEPS_BINARY
        [inference]=UNER_INFERENCE_BINARY [uner]=UNER_BINARY)
    for name in "${!variables[@]}"; do
        variable="${variables[$name]}"
        path="${!variable:-}"
        if [ -z "$path" ] && [ -x "bin/$name" ]; then path="bin/$name"; fi
        if [ -z "$path" ]; then
            missing+=("$name")
        else
            [ -x "$path" ] || fail "\`$path\` is not a program"
            PROGRAMS[$name]="$(realpath "$path")"
        fi
    done
    if [ "${#missing[@]}" -gt 0 ]; then build_programs "${missing[@]}"; fi
    find_cuda
}

# build_programs NAME...: builds programs, with software WebGPU for rehearsals. Without cargo, parts
# that need one of them are left out.
build_programs() {
    local name built
    if ! command -v cargo >/dev/null; then return; fi
    built="$(cargo build --release --workspace --features webgpu,cuda --test it --bench ops \
        --bench steps --bench inference --bin uner --message-format json)" ||
        fail "cargo did not build the programs"
    for name in "$@"; do
        PROGRAMS[$name]="$("$PYTHON" benches/environment.py executable "$name" <<<"$built")"
    done
}

# need_program NAME: sets PROGRAM to the path.
need_program() {
    PROGRAM="${PROGRAMS[$1]:-}"
    [ -n "$PROGRAM" ] || lacks "the program \`$1\` is missing, and so is cargo to build it"
}

find_cuda() {
    local wheels libraries cuda="${CUDA_PATH:-}"
    wheels="$("$PYTHON" benches/environment.py cuda-wheels)"
    if [ -z "$cuda" ]; then
        if [ -d /usr/local/cuda ]; then
            cuda=/usr/local/cuda
        elif [ -d "$wheels/include" ]; then
            cuda="$wheels"
        fi
    fi
    libraries="${cuda:-/usr/local/cuda}/lib64:$wheels/lib:${wheels%/*}/nccl/lib"
    OURS=(env RUST_BACKTRACE=0 UNER_SHARED="$(shared)"
        LD_LIBRARY_PATH="$libraries:${LD_LIBRARY_PATH:-}" ${cuda:+CUDA_PATH="$cuda"})
}
declare -A PROGRAMS=()
OURS=()

# pack PACK.tar.xz
pack() {
    local out program test folder="$WORK/pack/uner"
    [ $# -eq 1 ] || fail "pack: name the file to write"
    out="$(realpath -m "$1")"
    find_programs
    rm -rf "$WORK/pack" && mkdir -p "$folder/bin" "$folder/tests" "$folder/shared/data"
    for program in it ops steps inference uner; do
        [ -n "${PROGRAMS[$program]:-}" ] ||
            fail "the program \`$program\` is missing, and so is cargo to build it"
        strip -o "$folder/bin/$program" "${PROGRAMS[$program]}"
    done
    cp -r Cargo.toml benches configs recipes "$folder"
    find "$folder/benches" -name __pycache__ -prune -exec rm -r {} +
    cp -r tests/Cargo.toml tests/fixtures "$folder/tests"
    cp -r "$(shared)/golden" "$folder/shared"
    cp -r "$(shared)/data/llama-tokenizer" "$(shared)/data/tinystories-656k" "$folder/shared/data"
    for test in "$(shared)"/data/crossner/{ai,literature,music,politics,science}/test.txt; do
        install -D "$test" "$folder/shared/${test#"$(shared)"/}"
    done
    if [ -n "${SANITIZER:-}" ]; then
        [ -x "$SANITIZER/compute-sanitizer" ] || fail "\`$SANITIZER\` has no compute-sanitizer"
        cp -r "$SANITIZER" "$folder/bin/compute-sanitizer"
    fi
    "$folder/bin/steps" --encode "$folder/conversations.jsonl" --shared "$(shared)" \
        --count "$CONVERSATIONS" --longest "$PAD" >"$folder/conversations.json"
    "$PYTHON" benches/environment.py commit >"$folder/commit"
    # The programs share most of their code. With a dictionary that covers the previous program, all
    # of them take little more space than one.
    tar cf - -C "$WORK/pack" uner | xz --threads=1 --lzma2=preset=3,dict=128MiB >"$out"
    rm -rf "$WORK/pack"
    say "$out, $(($(stat -c %s "$out") / 1000000)) MB"
}

# unpack_and_run PACK.tar.xz WHAT...: runs the pack's own suite, which fits its programs. Python
# unpacks, since xz may be missing.
unpack_and_run() {
    local pack="${1:-}" folder="${TMPDIR:-/tmp}/uner-gpu-suite" started
    started="$(date +%s)"
    [ -f "$pack" ] || fail "run: \`$pack\` is not a file"
    mkdir -p "$OUT" "$folder"
    rm -rf "$folder/uner"
    "$PYTHON" -c '
import sys, tarfile
tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2], filter="data")' "$pack" "$folder"
    export GPU_SUITE_STARTED="$started" OUT PYTHON WORK="$folder/work"
    exec bash "$folder/uner/benches/gpu.sh" "${@:2}"
}
