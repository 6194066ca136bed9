/* Superposition: contexts, and complex numbers laid out for products. */

/* y (N, I) = x c, each feature by its context; y may be x */
static void ws_context_multiply(const float *x, const float *c, float *y, int I, int N) {
    int n, i;
    for (n = 0; n < N; ++n) {
        for (i = 0; i < I; ++i) {
            y[n * I + i] = x[n * I + i] * c[i];
        }
    }
}

/* dc (I) = beta dc + sum over n of x_n dy_n, a chain */
static void ws_context_gradient(const float *x, const float *dy, float beta, float *dc, int I,
                                int N) {
    int n, i;
    for (i = 0; i < I; ++i) {
        float z = beta == 0.0F ? 0.0F : dc[i] * beta;
        for (n = 0; n < N; ++n) {
            z = WS_FMA(x[n * I + i], dy[n * I + i], z);
        }
        dc[i] = z;
    }
}

/* -x, by its bits: of -fma(a, b, c) gcc makes one instruction, -(a b) - c, which gives +0 for -0 */
static float ws_minus(float x) {
    return ws_float(ws_bits(x) ^ INT32_MIN);
}

/* z (N, q, 2 I) = c x of numbers a + b i, x (N, p, I): p is 1 where they are real, q where only
   real parts are asked for. z_n0 = (Re, -Im), z_n1 = (Im, Re). */
static void ws_complex_expand(const float *x, const float *c, float *z, int I, int N, int j, int p,
                              int q) {
    int n, i;
    for (n = 0; n < N; ++n) {
        const float *from = x + n * p * I;
        float *to = z + n * q * j;
        for (i = 0; i < I; ++i) {
            float a = from[i], b = p == 2 ? from[I + i] : 0.0F;
            if (c) {
                const float re = WS_FMA(a, c[i], -(b * c[I + i]));
                b = WS_FMA(a, c[I + i], b * c[i]);
                a = re;
            }
            to[i] = a;
            to[I + i] = ws_minus(b);
            if (q == 2) {
                to[j + i] = b;
                to[j + I + i] = a;
            }
        }
    }
}

/* its transpose: dx (N, p, I) of dz (N, q, 2 I); a context comes back conjugate */
static void ws_complex_contract(const float *dz, const float *c, float *dx, int I, int N, int j,
                                int p, int q) {
    int n, i;
    for (n = 0; n < N; ++n) {
        const float *from = dz + n * q * j;
        float *to = dx + n * p * I;
        for (i = 0; i < I; ++i) {
            float a = from[i], b = -from[I + i];
            if (q == 2) {
                a = a + from[j + I + i];
                b = b + from[j + i];
            }
            if (c) {
                const float re = WS_FMA(a, c[i], b * c[I + i]);
                b = WS_FMA(b, c[i], -(a * c[I + i]));
                a = re;
            }
            to[i] = a;
            if (p == 2) {
                to[I + i] = b;
            }
        }
    }
}
