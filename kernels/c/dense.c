/* Dense layers forward: each output one chain of fma over the features, from +0. */

/* four[j] = the chain over i of x_i w_ji of four rows of w, which share each load of x */
static void ws_four_rows(const float *x, const float *w, float *four, int I) {
    const float *w1 = w + I, *w2 = w1 + I, *w3 = w2 + I;
    float a = 0.0F, b = 0.0F, c = 0.0F, d = 0.0F;
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

/* the chain over i of x_i w_i */
static float ws_one_row(const float *x, const float *w, int I) {
    float z = 0.0F;
    int i;
    for (i = 0; i < I; ++i) {
        z = WS_FMA(x[i], WS_W(w[i]), z);
    }
    return z;
}

/* y (N, O) = f(x w^T + b) */
static void ws_dense_forward(const float *x, const float *w, const float *b, int act, float slope,
                             float *y, int I, int N, int O) {
    int n, o;
    for (n = 0; n < N; ++n) {
        for (o = 0; o + 4 <= O; o += 4) {
            ws_four_rows(x + n * I, w + o * I, y + n * O + o, I);
        }
        for (; o < O; ++o) {
            y[n * O + o] = ws_one_row(x + n * I, w + o * I, I);
        }
        for (o = 0; o < O; ++o) {
            const float z = y[n * O + o];
            y[n * O + o] = ws_apply(act, slope, b ? z + WS_W(b[o]) : z);
        }
    }
}
