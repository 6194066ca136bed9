/* Depthwise convolutions, a filter a channel: w (C, R, S, 1). Channels lie together, so four of
   them are four chains side by side. */

/* The chain of one filter over what it sees of one channel of an image x from (top, left) on, which
   may lie outside */
static float ws_conv_one(const float *x, int top, int left, const float *w, int dilation0,
                         int dilation1, int C, int H, int R, int S, int W) {
    float z = 0.0F;
    int r, s;
    for (r = 0; r < R; ++r) {
        const int row = top + r * dilation0;
        for (s = 0; s < S; ++s) {
            const int column = left + s * dilation1;
            const int inside = row >= 0 && row < H && column >= 0 && column < W;
            z = WS_FMA(inside ? x[(row * W + column) * C] : 0.0F, WS_W(*w++), z);
        }
    }
    return z;
}

/* y (C) = what C filters see, each of its own channel, from (top, left) of an image x on */
static WS_APART void ws_conv_channels(const float *x, int top, int left, const float *w,
                                      int dilation0, int dilation1, float *y, int C, int H, int R,
                                      int S, int W) {
    const float zeros[4] = {0.0F, 0.0F, 0.0F, 0.0F};
    const int whole = left >= 0 && left + (S - 1) * dilation1 < W;
    int o, r, s;
    for (o = 0; o + 4 <= C; o += 4) {
        const float *w0 = w + o * R * S, *w1 = w0 + R * S, *w2 = w1 + R * S, *w3 = w2 + R * S;
        float z0 = 0.0F, z1 = 0.0F, z2 = 0.0F, z3 = 0.0F;
        for (r = 0; r < R; ++r) {
            const int row = top + r * dilation0, inside = row >= 0 && row < H,
                      plain = inside && whole;
            const float *next = x + (plain ? (row * W + left) * C + o : 0);
            for (s = 0; s < S; ++s) {
                const int column = left + s * dilation1;
                const float *e = next;
                if (plain) {
                    next += dilation1 * C;
                } else {
                    e = inside && column >= 0 && column < W ? x + (row * W + column) * C + o
                                                            : zeros;
                }
                z0 = WS_FMA(e[0], WS_W(*w0++), z0);
                z1 = WS_FMA(e[1], WS_W(*w1++), z1);
                z2 = WS_FMA(e[2], WS_W(*w2++), z2);
                z3 = WS_FMA(e[3], WS_W(*w3++), z3);
            }
        }
        y[o] = z0, y[o + 1] = z1, y[o + 2] = z2, y[o + 3] = z3;
    }
    for (; o < C; ++o) {
        y[o] = ws_conv_one(x + o, top, left, w + o * R * S, dilation0, dilation1, C, H, R, S, W);
    }
}

/* y (N, OH, OW, C) = f(x * w + b), groups = C = O */
static void ws_conv2d_forward_depthwise(const float *x, const float *w, const float *b, int stride0,
                                        int stride1, int padding0, int padding1, int dilation0,
                                        int dilation1, int groups, int act, float slope,
                                        float *work, float *y, int C, int H, int N, int O, int R,
                                        int S, int W, int c, int OH, int OW) {
    int p;
    (void)work, (void)groups, (void)O, (void)c;
    for (p = 0; p < N * OH * OW; ++p) {
        ws_conv_channels(x + p / (OH * OW) * H * W * C, p / OW % OH * stride0 - padding0,
                         p % OW * stride1 - padding1, w, dilation0, dilation1, y + p * C, C, H, R,
                         S, W);
    }
    ws_conv_activate(b, act, slope, y, N * OH * OW, C);
}
