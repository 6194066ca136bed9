/* Where there is an operating system: files in.bin and out.bin, and nothing that counts. */

#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *in, *out;

void ws_read(void *to, size_t bytes) {
    if (!in) {
        in = fopen("in.bin", "rb");
    }
    if (!in || fread(to, 1, bytes, in) != bytes) {
        exit(1);
    }
}

void ws_write(const void *from, size_t bytes) {
    if (!out) {
        out = fopen("out.bin", "wb");
    }
    if (!out || fwrite(from, 1, bytes, out) != bytes) {
        exit(1);
    }
}

void ws_exit(int status) { exit(out && fclose(out) ? 1 : status); }

uint64_t ws_count(void) { return 0; }
