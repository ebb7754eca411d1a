#!/usr/bin/env bash
# What a task costs now, beside another commit: both are built, and take turns. Prints the median of the rounds' ratios.
#   benches/against.sh <commit> [rounds, 30 when nothing is said]
# Needs lld, Rust's own linker on x86-64. Where a linker puts the functions moves these figures by more than most changes do, so each round has both with an order of its own, drawn by its number.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --verify "${1:?which commit?}^{commit}")
rounds=${2:-30}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/then" 2>/dev/null; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/then" "$commit"
# The same bench in either tree: the other commit may not have it.
cp -r benches/round.rs benches/common "$work/then/benches/"
grep -q '^name = "round"$' "$work/then/Cargo.toml" || printf '\n[[bench]]\nname = "round"\nharness = false\n' >>"$work/then/Cargo.toml"

# Builds the bench of the tree in $1 with the functions in the order that the number $2 draws, as the program $3. The library is built the first time.
build() {
    local order="-Wl,--shuffle-sections=.text*=$2"
    local program
    program=$(cd "$1" && CARGO_TARGET_DIR="$work/build-$(basename "$3")" cargo rustc --locked --profile bench --bench round --message-format json -- -C "link-arg=$order" 2>"$work/log" |
        sed -n '/"name":"round"/s/.*"executable":"\([^"]*\)".*/\1/p') && [[ -n $program ]] || { cat "$work/log" >&2; exit 1; }
    mv "$program" "$3.$2"
}
for ((round = 1; round <= rounds; round++)); do
    build . "$round" "$work/now"
    build "$work/then" "$round" "$work/before"
done
for ((round = 1; round <= rounds; round++)); do
    # Who comes first has the other's caches: by turns.
    order="now before"
    ((round % 2)) || order="before now"
    for which in $order; do
        "$work/$which.$round" --bench | sed "s/^/$round $which /"
    done
done >"$work/figures"
python3 - "$work/figures" <<'PYTHON'
import statistics
import sys

figures = {}
for line in open(sys.argv[1]):
    number, which, name, ns = line.split()
    figures.setdefault(name, {}).setdefault(which, {})[number] = float(ns)
for name, of in figures.items():
    ratios = [ns / of["before"][number] for number, ns in of["now"].items()]
    now, before = (statistics.median(of[which].values()) for which in ("now", "before"))
    print(f"{name}: now {now:.0f} ns, before {before:.0f} ns, median ratio of {len(ratios)} rounds {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
PYTHON
