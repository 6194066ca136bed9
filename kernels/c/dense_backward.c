/* Dense layers backward: sums over samples or over output units, each one chain of fma. */

/* four[j] goes on with the chain over k of a_k b_kj; a's numbers lie `step` apart, b's rows
   `width`. Four columns of b share each load of a. */
static void ws_four_columns(const float *a, int step, const float *b, int width, float *four,
                            int K) {
    float p = four[0], q = four[1], r = four[2], s = four[3];
    int k;
    for (k = 0; k < K; ++k) {
        const float e = a[k * step];
        const float *row = b + k * width;
        p = WS_FMA(e, row[0], p);
        q = WS_FMA(e, row[1], q);
        r = WS_FMA(e, row[2], r);
        s = WS_FMA(e, row[3], s);
    }
    four[0] = p;
    four[1] = q;
    four[2] = r;
    four[3] = s;
}

/* y (width) goes on with the row a (K, `step` apart) times b (K, width) */
static void ws_columns(const float *a, int step, const float *b, int width, float *y, int K) {
    const int whole = width - width % 4; /* which the compiler sees through, where width is known */
    int j, k;
    for (j = 0; j < whole; j += 4) {
        ws_four_columns(a, step, b + j, width, y + j, K);
    }
    for (j = whole; j < width; ++j) {
        float z = y[j];
        for (k = 0; k < K; ++k) {
            z = WS_FMA(a[k * step], b[k * width + j], z);
        }
        y[j] = z;
    }
}

/* y (N, O) = a (N, I) b (I, O) */
static void ws_matmul_nn(const float *a, const float *b, float *y, int I, int N, int O) {
    int n;
    ws_fill(0.0F, y, N, O);
    for (n = 0; n < N; ++n) {
        ws_columns(a + n * I, 1, b, O, y + n * O, I);
    }
}

/* y (N, O) goes on with a (I, N)^T b (I, O) */
static void ws_add_product(const float *a, const float *b, float *y, int I, int N, int O) {
    int n;
    for (n = 0; n < N; ++n) {
        ws_columns(a + n, N, b, O, y + n * O, I);
    }
}

/* y (N, O) = a (I, N)^T b (I, O) */
static void ws_matmul_tn(const float *a, const float *b, float *y, int I, int N, int O) {
    ws_fill(0.0F, y, N, O);
    ws_add_product(a, b, y, I, N, O);
}

/* y (O) = beta y, which is 0 where beta is, whatever y was */
static void ws_begin(float beta, float *y, int O) {
    int o;
    for (o = 0; o < O; ++o) {
        y[o] = beta == 0.0F ? 0.0F : y[o] * beta;
    }
}

/* y (O) goes on with the rows of x (N, O) in order */
static void ws_add_rows(const float *x, float *y, int N, int O) {
    int n, o;
    for (n = 0; n < N; ++n) {
        for (o = 0; o < O; ++o) {
            y[o] = y[o] + x[n * O + o];
        }
    }
}

/* dz = f'(y) dy, dw = beta dw + dz^T x, db = beta db + sum of dz, dx = dz w; V cotangents
   stacked */
static void ws_dense_backward(const float *x, const float *w, const float *y, const float *dy,
                              int act, float slope, float beta, float *dz, float *dw, float *db,
                              float *dx, int I, int N, int O, int V) {
    ws_activation_backward(act, slope, y, dy, dz, N, O, V);
    if (dw) {
        ws_begin(beta, dw, O * I);
        ws_add_product(dz, x, dw, N, O, I);
    }
    if (db) {
        ws_begin(beta, db, O);
        ws_add_rows(dz, db, N, O);
    }
    if (dx) {
        ws_matmul_nn(dz, w, dx, O, V * N, I);
    }
}

/* the same of the input z (N, I) = c x, with dx = c (dz w) */
static void ws_superposed_backward(const float *z, const float *c, const float *w, const float *y,
                                   const float *dy, int act, float slope, float beta, float *dz,
                                   float *dw, float *db, float *dx, int I, int N, int O, int V) {
    ws_dense_backward(z, w, y, dy, act, slope, beta, dz, dw, db, dx, I, N, O, V);
    if (dx) {
        ws_context_multiply(dx, c, dx, I, V * N);
    }
}

/* dw (N, O, I) = dz_n x_n^T and db (N, O) = dz_n of each sample */
static void ws_dense_sample_grads(const float *x, const float *dz, float *dw, float *db, int I,
                                  int N, int O) {
    int i, j;
    for (j = 0; j < N * O; ++j) {
        const float *row = x + j / O * I;
        for (i = 0; i < I; ++i) {
            dw[j * I + i] = dz[j] * row[i];
        }
        if (db) {
            db[j] = dz[j];
        }
    }
}

/* sum + |x|^power, power 1 or 2 */
static float ws_raised(int power, float x, float sum) {
    return power == 2 ? WS_FMA(x, x, sum) : sum + ws_abs(x);
}

/* dw (O, I) += sum over v, n of |dz_vn x_n^T|^power, db likewise: the power of a product is that of
   its factors. Scratch: xp (N, I), dp (N, O). */
static void ws_dense_accumulate(const float *x, const float *dz, int power, float *xp, float *dp,
                                float *dw, float *db, int I, int N, int O, int V) {
    int i, v;
    for (i = 0; i < N * I; ++i) {
        xp[i] = ws_raised(power, x[i], 0.0F);
    }
    for (i = 0; i < N * O; ++i) {
        float sum = 0.0F;
        for (v = 0; v < V; ++v) {
            sum = ws_raised(power, dz[v * N * O + i], sum);
        }
        dp[i] = sum;
    }
    ws_add_product(dp, xp, dw, N, O, I);
    if (db) {
        ws_add_rows(dp, db, N, O);
    }
}

/* y (O) = the sum of the magnitudes of x's rows (N, O), in order */
static void ws_magnitudes(const float *x, float *y, int N, int O) {
    int n, o;
    for (o = 0; o < O; ++o) {
        float sum = 0.0F;
        for (n = 0; n < N; ++n) {
            sum = sum + ws_abs(x[n * O + o]);
        }
        y[o] = sum;
    }
}

/* dw (O, I) += |w| sum over n of |x_n|, db (O) += sum of |y_n| */
static void ws_dense_signal(const float *x, const float *y, const float *w, float *traffic,
                            float *response, float *dw, float *db, int I, int N, int O) {
    int i, o;
    ws_magnitudes(x, traffic, N, I);
    for (o = 0; o < O; ++o) {
        for (i = 0; i < I; ++i) {
            dw[o * I + i] = WS_FMA(ws_abs(w[o * I + i]), traffic[i], dw[o * I + i]);
        }
    }
    if (db) {
        ws_magnitudes(y, response, N, O);
        ws_add_rows(response, db, 1, O);
    }
}
