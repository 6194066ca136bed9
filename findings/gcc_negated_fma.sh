#!/usr/bin/env bash
# Minus an fma loses the sign of zero.
#
# gcc 12.2 (Debian 12), x86-64 with -mfma and arm64, -O1 and above, without -ffast-math:
# `-__builtin_fmaf(a, b, c)`.
#
# Expected: the fma is rounded, then its sign is turned. Of a = -0.25, b = 0, c = 0 the product is -0,
# the sum +0, and minus that -0. -fsigned-zeros is the default.
# Seen: both become one instruction, -(a b) - c (vfnmsub, fnmadd), which is +0 - 0 = +0: right for all
# numbers but an fma that is exactly zero. -O0 gives -0, clang 14 gives -0 at every level. It takes
# that the fma's own value is used nowhere else: so one loop had it at -O3, where a branch was taken
# out of it, and not at -O2.
# What follows here: C that must give the same bits turns a sign by its bit (kernels/c/context.c).
#
# Exits 0 while that is so, 1 when it no longer is.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat > "$place/minus.c" <<'C'
#include <stdio.h>
#include <string.h>
__attribute__((noinline)) static float minus(float a, float b, float c) {
    return -__builtin_fmaf(a, b, c);
}
int main(void) {
    volatile float a = -0.25f, b = 0.0f, c = 0.0f;
    const float found = minus(a, b, c);
    unsigned bits;
    memcpy(&bits, &found, sizeof bits);
    puts(bits >> 31 ? "-0" : "+0");
    return 0;
}
C
said() {
    "$@" -std=c99 -mfma -ffp-contract=off "$place/minus.c" -o "$place/minus"
    "$place/minus"
}
gcc --version | head -1
plain=$(said gcc -O0) quick=$(said gcc -O2)
echo "gcc -O0 $plain, gcc -O2 $quick"
if command -v clang > /dev/null; then
    echo "clang -O2 $(said clang -O2)"
fi
if [[ $plain == -0 && $quick == +0 ]]; then
    echo "as described"
else
    echo "no longer so"
    exit 1
fi
