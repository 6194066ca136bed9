/* Convolutions forward of images of one channel by filters three wide, stride 1: four outputs side by
   side see six pixels of a row, each of which is loaded once for all of them. */

/* y (count, O) = f(z + b), z the chains of O filters w (O, R, 3) over what `count` outputs side by side,
   at most four, see from x on: R rows of six pixels, `step` apart */
static WS_APART void ws_conv_grey_four(const float *x, int step, const float *w, const float *b,
                                       int act, float slope, float *y, int count, int O, int R) {
    const int whole = O - O % 4;
    int o, r, k;
    for (o = 0; o < whole; o += 4, w += 9 * R, b = b ? b + 4 : b, y += 4) {
        const float *p = x, *w1 = w + 3 * R, *w2 = w1 + 3 * R, *w3 = w2 + 3 * R;
        float c0 = 0.0F, c1 = 0.0F, c2 = 0.0F, c3 = 0.0F, d0 = 0.0F, d1 = 0.0F, d2 = 0.0F, d3 = 0.0F;
        float e0 = 0.0F, e1 = 0.0F, e2 = 0.0F, e3 = 0.0F, f0 = 0.0F, f1 = 0.0F, f2 = 0.0F, f3 = 0.0F;
        for (r = R; r > 0; --r, p += step) {
            const float p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3], p4 = p[4], p5 = p[5];
            float s = WS_W(w[0]), t = WS_W(w[1]), u = WS_W(w[2]);
            c0 = WS_FMA(p2, u, WS_FMA(p1, t, WS_FMA(p0, s, c0)));
            d0 = WS_FMA(p3, u, WS_FMA(p2, t, WS_FMA(p1, s, d0)));
            e0 = WS_FMA(p4, u, WS_FMA(p3, t, WS_FMA(p2, s, e0)));
            f0 = WS_FMA(p5, u, WS_FMA(p4, t, WS_FMA(p3, s, f0)));
            s = WS_W(w1[0]), t = WS_W(w1[1]), u = WS_W(w1[2]);
            c1 = WS_FMA(p2, u, WS_FMA(p1, t, WS_FMA(p0, s, c1)));
            d1 = WS_FMA(p3, u, WS_FMA(p2, t, WS_FMA(p1, s, d1)));
            e1 = WS_FMA(p4, u, WS_FMA(p3, t, WS_FMA(p2, s, e1)));
            f1 = WS_FMA(p5, u, WS_FMA(p4, t, WS_FMA(p3, s, f1)));
            s = WS_W(w2[0]), t = WS_W(w2[1]), u = WS_W(w2[2]);
            c2 = WS_FMA(p2, u, WS_FMA(p1, t, WS_FMA(p0, s, c2)));
            d2 = WS_FMA(p3, u, WS_FMA(p2, t, WS_FMA(p1, s, d2)));
            e2 = WS_FMA(p4, u, WS_FMA(p3, t, WS_FMA(p2, s, e2)));
            f2 = WS_FMA(p5, u, WS_FMA(p4, t, WS_FMA(p3, s, f2)));
            s = WS_W(w3[0]), t = WS_W(w3[1]), u = WS_W(w3[2]);
            c3 = WS_FMA(p2, u, WS_FMA(p1, t, WS_FMA(p0, s, c3)));
            d3 = WS_FMA(p3, u, WS_FMA(p2, t, WS_FMA(p1, s, d3)));
            e3 = WS_FMA(p4, u, WS_FMA(p3, t, WS_FMA(p2, s, e3)));
            f3 = WS_FMA(p5, u, WS_FMA(p4, t, WS_FMA(p3, s, f3)));
            w += 3, w1 += 3, w2 += 3, w3 += 3;
        }
        ws_conv_put(y, b, act, slope, c0, c1, c2, c3);
        if (count > 1) {
            ws_conv_put(y + O, b, act, slope, d0, d1, d2, d3);
        }
        if (count > 2) {
            ws_conv_put(y + 2 * O, b, act, slope, e0, e1, e2, e3);
        }
        if (count > 3) {
            ws_conv_put(y + 3 * O, b, act, slope, f0, f1, f2, f3);
        }
    }
    for (o = whole; o < O; ++o, w += 3 * R, b = b ? b + 1 : b, ++y) {
        for (k = 0; k < count; ++k) {
            float z = 0.0F;
            for (r = 0; r < R; ++r) {
                z = ws_one_row(x + r * step + k, w + 3 * r, z, 3);
            }
            y[k * O] = ws_apply(act, slope, b ? z + WS_W(*b) : z);
        }
    }
}

/* y (N, OH, OW, O) = f(x * w + b), S = 3, C = 1; work: 6 R numbers */
static void ws_conv2d_forward_grey(const float *x, const float *w, const float *b, int stride0,
                                   int stride1, int padding0, int padding1, int dilation0,
                                   int dilation1, int groups, int act, float slope, float *work,
                                   float *y, int C, int H, int N, int O, int R, int S, int W, int c,
                                   int OH, int OW) {
    int n, i, j;
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups;
    (void)C, (void)S, (void)c;
    for (n = 0; n < N; ++n, x += H * W) {
        for (i = 0; i < OH; ++i) {
            for (j = 0; j < OW; j += 4) {
                const int top = i - padding0, left = j - padding1, count = OW - j < 4 ? OW - j : 4;
                const float *from = work;
                int step = 6;
                if (top >= 0 && top + R <= H && left >= 0 && left + 6 <= W) {
                    from = x + top * W + left;
                    step = W;
                } else {
                    ws_conv_gather(x, top, left, 1, 1, work, 1, H, R, 6, W, 1);
                }
                ws_conv_grey_four(from, step, w, b, act, slope, y, count, O, R);
                y += count * O;
            }
        }
    }
}
