/* Depthwise convolutions, a filter a channel: w (C, R, S, 1). Channels lie together, so four of them
   are four chains side by side. */

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

/* y (N, OH, OW, C) = f(x * w + b), groups = C = O */
static void ws_conv2d_forward_depthwise(const float *x, const float *w, const float *b, int stride0,
                                        int stride1, int padding0, int padding1, int dilation0,
                                        int dilation1, int groups, int act, float slope, float *work,
                                        float *y, int C, int H, int N, int O, int R, int S, int W,
                                        int c, int OH, int OW) {
    const float zeros[4] = {0.0F, 0.0F, 0.0F, 0.0F};
    int p, o, r, s;
    (void)work, (void)groups, (void)O;
    for (p = 0; p < N * OH * OW; ++p) {
        const float *image = x + p / (OH * OW) * H * W * C;
        const int top = p / OW % OH * stride0 - padding0, left = p % OW * stride1 - padding1;
        for (o = 0; o + 4 <= C; o += 4) {
            const float *w0 = w + o * R * S, *w1 = w0 + R * S, *w2 = w1 + R * S, *w3 = w2 + R * S;
            float z0 = 0.0F, z1 = 0.0F, z2 = 0.0F, z3 = 0.0F;
            for (r = 0; r < R; ++r) {
                const int row = top + r * dilation0;
                for (s = 0; s < S; ++s) {
                    const int column = left + s * dilation1;
                    const float *e = row >= 0 && row < H && column >= 0 && column < W
                                         ? image + (row * W + column) * C + o
                                         : zeros;
                    z0 = WS_FMA(e[0], WS_W(*w0++), z0);
                    z1 = WS_FMA(e[1], WS_W(*w1++), z1);
                    z2 = WS_FMA(e[2], WS_W(*w2++), z2);
                    z3 = WS_FMA(e[3], WS_W(*w3++), z3);
                }
            }
            y[p * C + o] = z0, y[p * C + o + 1] = z1, y[p * C + o + 2] = z2, y[p * C + o + 3] = z3;
        }
        for (; o < C; ++o) {
            y[p * C + o] = ws_conv_one(0.0F, image + o, top, left, w + o * R * S, dilation0, dilation1,
                                       C, H, R, S, W, c);
        }
    }
    ws_conv_activate(b, act, slope, y, N * OH * OW, C);
}
