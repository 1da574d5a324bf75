#!/usr/bin/env bash
# Builds the program and packs it with manual pages, completions and licences, as
# dist/uner-VERSION-TARGET.tar.gz:
#
#     deploy/release.sh                  # for the CPU
#     deploy/release.sh cuda             # features, separated by commas, which the name then has
#
# Needs Rust, GNU tar and cargo-about (`cargo install --locked cargo-about --features cli`). Equal
# files give an equal archive: names are sorted, and times are SOURCE_DATE_EPOCH, which is the time
# of the commit by default.
set -euo pipefail
cd "$(dirname "$0")/.."

features="${1:-}"
if [ $# -gt 1 ] || [[ ! "$features" =~ ^[a-z0-9,-]*$ || "$features" == -* ]]; then
    echo "usage: deploy/release.sh [FEATURE,...]" >&2
    exit 2
fi
if ! cargo about --version >/dev/null 2>&1; then
    echo "error: cargo-about is missing: cargo install --locked cargo-about --features cli" >&2
    exit 1
fi
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "error: files differ from the commit; a release is made of a commit" >&2
    exit 1
fi

# `path+file:///…/crates/uner-cli#0.1.0`, or `…#uner-cli@0.1.0`.
version="$(cargo pkgid --locked --package uner-cli)"
version="${version##*[#@]}"
target="$(rustc --version --verbose | sed -n 's/^host: //p')"
epoch="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
name="uner-$version-$target${features:+-${features//,/-}}"
built="${CARGO_TARGET_DIR:-target}/release/uner"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
folder="$work/$name"
mkdir -p "$folder/completions" "$folder/man/man1"

cargo build --release --locked --package uner-cli --bin uner --features "$features"
# `uner-train` is not in the archive: it is `uner train`.
install --mode=755 "$built" "$folder/uner"
strip "$folder/uner"

"$folder/uner" man "$folder/man/man1"
"$folder/uner" completions bash >"$folder/completions/uner.bash"
"$folder/uner" completions zsh >"$folder/completions/_uner"
"$folder/uner" completions fish >"$folder/completions/uner.fish"
"$folder/uner" completions powershell >"$folder/completions/_uner.ps1"
"$folder/uner" completions elvish >"$folder/completions/uner.elv"

cp README.md LICENSE-MIT LICENSE-APACHE deploy/uner.service "$folder"
# Without the network, so that the texts are those of the crates that were compiled.
cargo about generate --locked --offline --fail --manifest-path crates/uner-cli/Cargo.toml \
    --features "${features//,/ }" --target "$target" --config deploy/about.toml \
    --output-file "$folder/THIRD-PARTY-LICENSES.html" deploy/about.hbs

(cd "$folder" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum) \
    >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" "$folder"

mkdir -p dist
LC_ALL=C tar --create --format=gnu --sort=name --mtime="@$epoch" --owner=0 --group=0 \
    --numeric-owner --mode='u=rwX,go=rX' --directory "$work" "$name" |
    gzip --no-name --best >"dist/$name.tar.gz"
# All archives of the folder, so that one file can be published with them.
(cd dist && LC_ALL=C sha256sum uner-*.tar.gz >SHA256SUMS)
echo "dist/$name.tar.gz"
