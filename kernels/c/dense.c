/* Dense layers forward: each output one chain of fma over the features, from +0. */

/* four[j] goes on with the chain over i of x_i w_ji: four rows of w share each load of x */
static void ws_four_rows(const float *x, const float *w, float *four, int I) {
    const float *w1 = w + I, *w2 = w1 + I, *w3 = w2 + I;
    float a = four[0], b = four[1], c = four[2], d = four[3];
    int i;
    for (i = 0; i < I; ++i) {
        const float e = x[i];
        a = WS_FMA(e, WS_W(w[i]), a);
        b = WS_FMA(e, WS_W(w1[i]), b);
        c = WS_FMA(e, WS_W(w2[i]), c);
        d = WS_FMA(e, WS_W(w3[i]), d);
    }
    four[0] = a;
    four[1] = b;
    four[2] = c;
    four[3] = d;
}

/* The same of eight rows, where there are registers for them */
static WS_UNUSED void ws_eight_rows(const float *x, const float *w, float *eight, int I) {
    const float *w1 = w + I, *w2 = w1 + I, *w3 = w2 + I, *w4 = w3 + I, *w5 = w4 + I, *w6 = w5 + I;
    const float *w7 = w6 + I;
    float a = eight[0], b = eight[1], c = eight[2], d = eight[3];
    float e = eight[4], f = eight[5], g = eight[6], h = eight[7];
    int i;
    for (i = 0; i < I; ++i) {
        const float z = x[i];
        a = WS_FMA(z, WS_W(w[i]), a);
        b = WS_FMA(z, WS_W(w1[i]), b);
        c = WS_FMA(z, WS_W(w2[i]), c);
        d = WS_FMA(z, WS_W(w3[i]), d);
        e = WS_FMA(z, WS_W(w4[i]), e);
        f = WS_FMA(z, WS_W(w5[i]), f);
        g = WS_FMA(z, WS_W(w6[i]), g);
        h = WS_FMA(z, WS_W(w7[i]), h);
    }
    eight[0] = a, eight[1] = b, eight[2] = c, eight[3] = d;
    eight[4] = e, eight[5] = f, eight[6] = g, eight[7] = h;
}

/* z and the chain over i of x_i w_i that goes on from it */
static float ws_one_row(const float *x, const float *w, float z, int I) {
    int i;
    for (i = 0; i < I; ++i) {
        z = WS_FMA(x[i], WS_W(w[i]), z);
    }
    return z;
}

/* y (O) goes on with w (O, I) x */
static void ws_rows(const float *x, const float *w, float *y, int I, int O) {
    int o = 0;
    for (; WS_HARD && O - o >= 8; o += 8) {
        ws_eight_rows(x, w + o * I, y + o, I);
    }
    for (; O - o >= 4; o += 4) {
        ws_four_rows(x, w + o * I, y + o, I);
    }
    for (; o < O; ++o) {
        y[o] = ws_one_row(x, w + o * I, y[o], I);
    }
}

/* y (N, O) = a (N, I) b (O, I)^T */
static void ws_matmul_nt(const float *a, const float *b, float *y, int I, int N, int O) {
    int n;
    ws_fill(0.0F, y, N, O);
    for (n = 0; n < N; ++n) {
        ws_rows(a + n * I, b, y + n * O, I, O);
    }
}

/* y (N, O) = f(x w^T + b) */
static void ws_dense_forward(const float *x, const float *w, const float *b, int act, float slope,
                             float *y, int I, int N, int O) {
    int n, o;
    ws_matmul_nt(x, w, y, I, N, O);
    for (n = 0; n < N; ++n) {
        for (o = 0; o < O; ++o) {
            const float z = y[n * O + o];
            y[n * O + o] = ws_apply(act, slope, b ? z + WS_W(b[o]) : z);
        }
    }
}

/* y (N, O) = f(z w^T + b) of z (N, I) = c x */
static void ws_superposed_forward(const float *x, const float *c, const float *w, const float *b,
                                  int act, float slope, float *z, float *y, int I, int N, int O) {
    ws_context_multiply(x, c, z, I, N);
    ws_dense_forward(z, w, b, act, slope, y, I, N, O);
}

/* ty (N, O) = f'(y) (tx w^T + x tw^T + tb), one chain over tx w that x tw goes on with */
static void ws_dense_tangent(const float *x, const float *w, const float *y, const float *tx,
                             const float *tw, const float *tb, int act, float slope, float *ty,
                             int I, int N, int O) {
    int n, o;
    ws_fill(0.0F, ty, N, O);
    for (n = 0; n < N; ++n) {
        float *row = ty + n * O;
        if (tx) {
            ws_rows(tx + n * I, w, row, I, O);
        }
        if (tw) {
            ws_rows(x + n * I, tw, row, I, O);
        }
        for (o = 0; o < O; ++o) {
            row[o] = ws_pull(act, slope, y[n * O + o], tb ? row[o] + tb[o] : row[o]);
        }
    }
}

/* y (O, N) = f(W x (I, N) + b), W by its entries that are not 0: those of row o are starts[o] to
   starts[o + 1] of columns and values; a chain over them as they lie */
static void ws_sparse_dense_forward(const float *x, const int32_t *starts, const int32_t *columns,
                                    const float *values, const float *b, int act, float slope,
                                    float *y, int I, int N, int O, int e, int s) {
    int n, o;
    int32_t at;
    (void)I;
    (void)e;
    (void)s;
    for (o = 0; o < O; ++o) {
        for (n = 0; n < N; ++n) {
            float z = 0.0F;
            for (at = starts[o]; at < starts[o + 1]; ++at) {
                z = WS_FMA(WS_W(values[at]), x[columns[at] * N + n], z);
            }
            y[o * N + n] = ws_apply(act, slope, b ? z + WS_W(b[o]) : z);
        }
    }
}
