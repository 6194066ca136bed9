/* Convolutions forward, directly: each output is one chain of fma over the taps' rows, columns and
   channels, from +0. Zeros around an image are numbers like others: times infinity they are NaN. */

/* The chain z of one filter goes on with what it sees of an image from (top, left) on, which may lie
   outside. */
static float ws_conv_one(float z, const float *x, int top, int left, const float *w, int dilation0,
                         int dilation1, int C, int H, int R, int S, int W, int c) {
    const float zero = 0.0F;
    int r, s, k;
    for (r = 0; r < R; ++r) {
        const int row = top + r * dilation0;
        for (s = 0; s < S; ++s) {
            const int column = left + s * dilation1;
            const int inside = row >= 0 && row < H && column >= 0 && column < W;
            const float *p = inside ? x + (row * W + column) * C : &zero;
            for (k = 0; k < c; ++k) {
                z = WS_FMA(*p, WS_W(*w), z);
                p += inside;
                ++w;
            }
        }
    }
    return z;
}

/* The chains of O filters at two places, ya and yb (O), go on with what they see of images a and b
   from (top, left) on. Four filters share each load of a pixel, both places each of a weight; a run of
   a window's columns is one loop where it lies within both images. Both places may be the same. */
static void ws_conv_pair(const float *a, int atop, int aleft, const float *b, int btop, int bleft,
                         const float *w, int dilation0, int dilation1, float *ya, float *yb, int C,
                         int H, int O, int R, int S, int W, int c) {
    const float zero = 0.0F;
    const int whole = dilation1 == 1 && c == C && aleft >= 0 && aleft + S <= W && bleft >= 0 &&
                      bleft + S <= W;
    const int span = whole ? S : 1, K = R * S * c;
    int o, r, s, k;
    for (o = 0; o + 4 <= O; o += 4) {
        const float *w0 = w + o * K, *w1 = w0 + K, *w2 = w1 + K, *w3 = w2 + K;
        float a0 = ya[o], a1 = ya[o + 1], a2 = ya[o + 2], a3 = ya[o + 3];
        float b0 = yb[o], b1 = yb[o + 1], b2 = yb[o + 2], b3 = yb[o + 3];
        for (r = 0; r < R; ++r) {
            const int arow = atop + r * dilation0, brow = btop + r * dilation0;
            for (s = 0; s < S; s += span) {
                const int acolumn = aleft + s * dilation1, bcolumn = bleft + s * dilation1;
                const int p_in = arow >= 0 && arow < H && acolumn >= 0 && acolumn < W;
                const int q_in = brow >= 0 && brow < H && bcolumn >= 0 && bcolumn < W;
                const float *p = p_in ? a + (arow * W + acolumn) * C : &zero;
                const float *q = q_in ? b + (brow * W + bcolumn) * C : &zero;
                for (k = span * c; k > 0; --k) {
                    const float e = *p, f = *q;
                    float v = WS_W(*w0++);
                    a0 = WS_FMA(e, v, a0);
                    b0 = WS_FMA(f, v, b0);
                    v = WS_W(*w1++);
                    a1 = WS_FMA(e, v, a1);
                    b1 = WS_FMA(f, v, b1);
                    v = WS_W(*w2++);
                    a2 = WS_FMA(e, v, a2);
                    b2 = WS_FMA(f, v, b2);
                    v = WS_W(*w3++);
                    a3 = WS_FMA(e, v, a3);
                    b3 = WS_FMA(f, v, b3);
                    p += p_in;
                    q += q_in;
                }
            }
        }
        ya[o] = a0, ya[o + 1] = a1, ya[o + 2] = a2, ya[o + 3] = a3;
        yb[o] = b0, yb[o + 1] = b1, yb[o + 2] = b2, yb[o + 3] = b3;
    }
    for (; o < O; ++o) {
        ya[o] = ws_conv_one(ya[o], a, atop, aleft, w + o * K, dilation0, dilation1, C, H, R, S, W, c);
        if (yb != ya) {
            yb[o] = ws_conv_one(yb[o], b, btop, bleft, w + o * K, dilation0, dilation1, C, H, R, S, W,
                                c);
        }
    }
}

/* y (N, OH, OW, O), the chains so far, go on with the correlation of x and w. */
static void ws_conv_sums(const float *x, const float *w, int stride0, int stride1, int padding0,
                         int padding1, int dilation0, int dilation1, int groups, float *y, int C,
                         int H, int N, int O, int R, int S, int W, int c, int OH, int OW) {
    const int filters = O / groups, image = H * W * C;
    int p, g;
    for (p = 0; p < N * OH * OW; p += 2) {
        const int q = p + 1 < N * OH * OW ? p + 1 : p;
        const int atop = p / OW % OH * stride0 - padding0, aleft = p % OW * stride1 - padding1;
        const int btop = q / OW % OH * stride0 - padding0, bleft = q % OW * stride1 - padding1;
        for (g = 0; g < groups; ++g) {
            ws_conv_pair(x + p / (OH * OW) * image + g * c, atop, aleft,
                         x + q / (OH * OW) * image + g * c, btop, bleft, w + g * filters * R * S * c,
                         dilation0, dilation1, y + p * O + g * filters, y + q * O + g * filters, C, H,
                         filters, R, S, W, c);
        }
    }
}

/* y (count, O) = f(y + b) */
static void ws_conv_activate(const float *b, int act, float slope, float *y, int count, int O) {
    int p, o;
    for (p = 0; p < count; ++p) {
        for (o = 0; o < O; ++o) {
            const float z = y[p * O + o];
            y[p * O + o] = ws_apply(act, slope, b ? z + WS_W(b[o]) : z);
        }
    }
}

/* ty (count, O) = f'(y) (ty + tb) */
static void ws_conv_pull(const float *y, const float *tb, int act, float slope, float *ty, int count,
                         int O) {
    int p, o;
    for (p = 0; p < count; ++p) {
        for (o = 0; o < O; ++o) {
            const float z = ty[p * O + o];
            ty[p * O + o] = ws_pull(act, slope, y[p * O + o], tb ? z + tb[o] : z);
        }
    }
}

static void ws_conv_zeros(float *y, int count) {
    int i;
    for (i = 0; i < count; ++i) {
        y[i] = 0.0F;
    }
}

/* y (N, OH, OW, O) = f(x * w + b) */
static void ws_conv2d_forward(const float *x, const float *w, const float *b, int stride0, int stride1,
                              int padding0, int padding1, int dilation0, int dilation1, int groups,
                              int act, float slope, float *work, float *y, int C, int H, int N, int O,
                              int R, int S, int W, int c, int OH, int OW) {
    (void)work;
    ws_conv_zeros(y, N * OH * OW * O);
    ws_conv_sums(x, w, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, y, C, H, N,
                 O, R, S, W, c, OH, OW);
    ws_conv_activate(b, act, slope, y, N * OH * OW, O);
}

/* ty = f'(y) (tx * w + x * tw + tb), the second product's chains going on from the first's */
static void ws_conv2d_tangent(const float *x, const float *w, const float *y, const float *tx,
                              const float *tw, const float *tb, int stride0, int stride1, int padding0,
                              int padding1, int dilation0, int dilation1, int groups, int act,
                              float slope, float *work, float *ty, int C, int H, int N, int O, int R,
                              int S, int W, int c, int OH, int OW) {
    (void)work;
    ws_conv_zeros(ty, N * OH * OW * O);
    if (tx) {
        ws_conv_sums(tx, w, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, ty, C,
                     H, N, O, R, S, W, c, OH, OW);
    }
    if (tw) {
        ws_conv_sums(x, tw, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, ty, C,
                     H, N, O, R, S, W, c, OH, OW);
    }
    ws_conv_pull(y, tb, act, slope, ty, N * OH * OW, O);
}
