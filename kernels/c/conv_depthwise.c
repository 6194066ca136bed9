/* Depthwise convolutions, a filter a channel: w (C, R, S, 1). Channels lie together, so four of
   them are four chains side by side. */

/* The chains of C filters, each over its own channel of what two windows see, R rows of S pixels
   each, `astep` and `bstep` apart, to ya and yb (C). Four filters go at once, and both windows
   share each load of a weight. ya and yb may be the same. */
static WS_APART void ws_conv_channels(const float *a, int astep, const float *b, int bstep,
                                      const float *w, float *ya, float *yb, int C, int R, int S) {
    const int whole = C - C % 4;
    int o, r, s;
    for (o = 0; o < whole; o += 4) {
        const float *w0 = w, *w1 = w0 + R * S, *w2 = w1 + R * S, *w3 = w2 + R * S;
        float a0 = 0.0F, a1 = 0.0F, a2 = 0.0F, a3 = 0.0F;
        float b0 = 0.0F, b1 = 0.0F, b2 = 0.0F, b3 = 0.0F;
        w += 4 * R * S;
        for (r = 0; r < R; ++r) {
            const float *p = a + r * astep + o, *q = b + r * bstep + o;
            for (s = S; s > 0; --s) {
                float v = WS_W(*w0++);
                a0 = WS_FMA(p[0], v, a0);
                b0 = WS_FMA(q[0], v, b0);
                v = WS_W(*w1++);
                a1 = WS_FMA(p[1], v, a1);
                b1 = WS_FMA(q[1], v, b1);
                v = WS_W(*w2++);
                a2 = WS_FMA(p[2], v, a2);
                b2 = WS_FMA(q[2], v, b2);
                v = WS_W(*w3++);
                a3 = WS_FMA(p[3], v, a3);
                b3 = WS_FMA(q[3], v, b3);
                p += C;
                q += C;
            }
        }
        ya[o] = a0, ya[o + 1] = a1, ya[o + 2] = a2, ya[o + 3] = a3;
        yb[o] = b0, yb[o + 1] = b1, yb[o + 2] = b2, yb[o + 3] = b3;
    }
    for (o = whole; o < C; ++o) {
        float y = 0.0F, z = 0.0F;
        for (r = 0; r < R; ++r) {
            for (s = 0; s < S; ++s) {
                const float v = WS_W(*w++);
                y = WS_FMA(a[r * astep + s * C + o], v, y);
                z = WS_FMA(b[r * bstep + s * C + o], v, z);
            }
        }
        ya[o] = y;
        yb[o] = z;
    }
}

/* y (N, OH, OW, C) = f(x * w + b), groups = C = O; work: 2 R S C numbers */
static void ws_conv2d_forward_depthwise(const float *x, const float *w, const float *b, int stride0,
                                        int stride1, int padding0, int padding1, int dilation0,
                                        int dilation1, int groups, int act, float slope,
                                        float *work, float *y, int C, int H, int N, int O, int R,
                                        int S, int W, int c, int OH, int OW) {
    const int image = H * W * C, K = R * S * C, step = dilation0 * W * C;
    int p;
    (void)groups, (void)O, (void)c;
    for (p = 0; p < N * OH * OW; p += 2) {
        const int q = p + 1 < N * OH * OW ? p + 1 : p;
        const float *e = ws_conv_window(x + p / (OH * OW) * image, p / OW % OH * stride0 - padding0,
                                        p % OW * stride1 - padding1, dilation0, dilation1, work, C,
                                        H, R, S, W, C);
        const float *f = ws_conv_window(x + q / (OH * OW) * image, q / OW % OH * stride0 - padding0,
                                        q % OW * stride1 - padding1, dilation0, dilation1, work + K,
                                        C, H, R, S, W, C);
        ws_conv_channels(e, e == work ? S * C : step, f, f == work + K ? S * C : step, w, y + p * C,
                         y + q * C, C, R, S);
    }
    ws_conv_activate(b, act, slope, y, N * OH * OW, C);
}

/* dx (N, H, W, C), overwritten, groups = C = O: each pixel's chain over the taps that meet it, the
   last first, of up to four channels at once */
static void ws_conv2d_input_grad_depthwise(const float *dz, const float *w, int stride0,
                                           int stride1, int padding0, int padding1, int dilation0,
                                           int dilation1, int groups, float *work, float *dx, int C,
                                           int H, int N, int O, int R, int S, int W, int c, int OH,
                                           int OW) {
    const float zeros[4] = {0.0F, 0.0F, 0.0F, 0.0F};
    int p, o, r, s, k;
    (void)work, (void)groups, (void)O, (void)c;
    for (p = 0; p < N * H * W; ++p) {
        const int i = p / W % H + padding0, j = p % W + padding1;
        const int a = i % stride0, b = j % stride1;
        const float *maps = dz + p / (H * W) * OH * OW * C;
        for (o = 0; o < C; o += 4) {
            const int many = C - o < 4 ? C - o : 4;
            float z[4] = {0.0F, 0.0F, 0.0F, 0.0F};
            for (r = ws_conv_tap_before(R, a, stride0, dilation0); r >= 0;
                 r = ws_conv_tap_before(r, a, stride0, dilation0)) {
                const int row = (i - r * dilation0) / stride0;
                for (s = ws_conv_tap_before(S, b, stride1, dilation1); s >= 0;
                     s = ws_conv_tap_before(s, b, stride1, dilation1)) {
                    const int column = (j - s * dilation1) / stride1;
                    const int inside = row >= 0 && row < OH && column >= 0 && column < OW;
                    const float *e = inside ? maps + (row * OW + column) * C + o : zeros;
                    const float *v = w + (o * R + r) * S + s;
                    for (k = 0; k < many; ++k) {
                        z[k] = WS_FMA(e[k], WS_W(v[k * R * S]), z[k]);
                    }
                }
            }
            memcpy(dx + p * C + o, z, (size_t)many * sizeof(float));
        }
    }
}
