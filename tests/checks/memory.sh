#!/usr/bin/env bash
# Looks for memory errors in the kernels, which are the only code here with `unsafe` loops.
#
#     tests/checks/memory.sh            valgrind's memcheck: the portable and the AVX2 form as they are compiled
#     tests/checks/memory.sh miri       miri: the portable form, interpreted (also alignment and aliasing rules)
#
# memcheck reports reads and writes outside of a block and decisions on memory that was never written. It does not
# know AVX-512, so the program takes AVX2 under it. miri needs a nightly toolchain with the components miri and
# rust-src.
#
# Measured on two shared cores with the kernels before their slices carried lengths: memcheck, portable form, 11 tests
# in 336 s, no error. AVX2 and miri were not run.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Products, convolutions, norms, activations and attention against their plain forms, over odd shapes.
tests=(kernels::)

if [[ "${1:-}" == miri ]]; then
    export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance"
    export P2P_KERNELS=portable RAYON_NUM_THREADS=2
    exec cargo +nightly miri test --locked --no-default-features --test it -- "${tests[@]}"
fi

command -v valgrind >/dev/null || {
    echo "valgrind is missing: apt-get install valgrind" >&2
    exit 1
}
binary=$(cargo test --locked --test it --no-run --message-format=json |
    grep -o '"executable":"[^"]*/it-[^"]*"' | tail -n 1 | cut -d'"' -f4)
for form in portable avx2; do
    echo "== $form"
    P2P_KERNELS=$form RAYON_NUM_THREADS=2 valgrind --quiet --error-exitcode=9 --leak-check=no \
        "$binary" --test-threads=1 "${tests[@]}"
done
