/* Numbers one by one, dropped units, pictures that are moved, rows that are picked. */

/* y = x */
static void ws_copy(const float *x, float *y, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = x[i];
    }
}

/* y = a number, everywhere */
static void ws_fill(float value, float *y, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = value;
    }
}

/* y = factor x; y may be x */
static void ws_scale(const float *x, float factor, float *y, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = x[i] * factor;
    }
}

/* y = x times 1 / divisor (1), rounded once; 0 of a divisor 0 */
static void ws_divide(const float *x, const double *divisor, float *y, int N, int O) {
    ws_scale(x, divisor[0] != 0.0 ? (float)(1.0 / divisor[0]) : 0.0F, y, N, O);
}

/* y = a + b; y may be either */
static void ws_add(const float *a, const float *b, float *y, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = a[i] + b[i];
    }
}

/* y = f(x + r); y may be either */
static void ws_residual_forward(const float *x, const float *r, int act, float slope, float *y,
                                int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = ws_apply(act, slope, x[i] + r[i]);
    }
}

/* ty = f'(y) (tx + tr); ty may be either */
static void ws_residual_tangent(const float *y, const float *tx, const float *tr, int act,
                                float slope, float *ty, int N, int O) {
    int i;
    for (i = 0; i < N * O; ++i) {
        ty[i] = ws_pull(act, slope, y[i], tx[i] + tr[i]);
    }
}

/* four random words of a block's number: Philox4x32-10 (Salmon et al. 2011) */
static void ws_philox(uint32_t block, uint64_t draw, uint64_t seed, uint32_t *words) {
    uint32_t c0 = block, c1 = 0, c2 = (uint32_t)(draw & 0xffffffffUL), c3 = (uint32_t)(draw >> 32);
    uint32_t k0 = (uint32_t)(seed & 0xffffffffUL), k1 = (uint32_t)(seed >> 32);
    int round;
    for (round = 0; round < 10; ++round) {
        const uint64_t p0 = (uint64_t)c0 * 0xd2511f53UL, p1 = (uint64_t)c2 * 0xcd9e8d57UL;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)(p1 & 0xffffffffUL);
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)(p0 & 0xffffffffUL);
        k0 += 0x9e3779b9UL;
        k1 += 0xbb67ae85UL;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* y (V, O) = x / (1 - rate) where a unit is kept, else 0: unit o falls where its word is below
   rate 2^32. The V rows share the units. */
static void ws_dropout(const float *x, double rate, uint64_t seed, uint64_t draw, float *y, int O,
                       int V) {
    const uint32_t least = (uint32_t)(rate * 4294967296.0);
    const float up = (float)(1.0 / (1.0 - rate));
    uint32_t words[4];
    int o, v;
    for (o = 0; o < O; ++o) {
        if (o % 4 == 0) {
            ws_philox((uint32_t)(o / 4), draw, seed, words);
        }
        for (v = 0; v < V; ++v) {
            y[v * O + o] = words[o % 4] >= least ? x[v * O + o] * up : 0.0F;
        }
    }
}

/* y_n = image n moved by (down_n, across_n) and, where flip_n, mirrored left to right; what lies
   outside is `outside` (C) */
static void ws_shift_flip(const float *x, const int32_t *down, const int32_t *across,
                          const uint8_t *flip, const float *outside, float *y, int C, int H, int N,
                          int W) {
    int n, i, j, c;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < H; ++i) {
            for (j = 0; j < W; ++j) {
                const int32_t row = i + down[n], column = (flip[n] ? W - 1 - j : j) + across[n];
                const int inside = row >= 0 && row < H && column >= 0 && column < W;
                const float *from = inside ? x + ((n * H + row) * W + column) * C : outside;
                for (c = 0; c < C; ++c) {
                    y[((n * H + i) * W + j) * C + c] = from[c];
                }
            }
        }
    }
}

/* out_n (I) = row rows_n of x (M, I) */
static void ws_gather_rows(const float *x, const int32_t *rows, float *out, int I, int N, int M) {
    int n;
    (void)M;
    for (n = 0; n < N; ++n) {
        memcpy(out + n * I, x + rows[n] * I, (size_t)I * sizeof *out);
    }
}
