/* Convolutions forward, directly: each output is one chain of fma over the taps' rows, columns and
   channels, from +0. Zeros around an image are numbers like others: times infinity they are NaN. */

/* Copies, by fours of a size that compilers know: memcpy of small C libraries goes byte by byte. */
static void ws_conv_copy(float *to, const float *from, int count) {
    for (; count >= 4; count -= 4) {
        memcpy(to, from, 4 * sizeof(float));
        to += 4;
        from += 4;
    }
    if (count & 2) {
        memcpy(to, from, 2 * sizeof(float));
        to += 2;
        from += 2;
    }
    if (count & 1) {
        *to = *from;
    }
}

static void ws_conv_zeros(float *y, int count) {
    int i;
    for (i = 0; i < count; ++i) {
        y[i] = 0.0F;
    }
}

/* to (R, S, c) = what a window sees of an image x from (top, left) on, which may lie outside: taps
   that lie together and are all inside, or all outside, at once */
static void ws_conv_gather(const float *x, int top, int left, int dilation0, int dilation1,
                           float *to, int C, int H, int R, int S, int W, int c) {
    const int together = dilation1 == 1 && c == C;
    int r, s, run;
    for (r = 0; r < R; ++r) {
        const int row = top + r * dilation0, within = row >= 0 && row < H;
        for (s = 0; s < S; s += run) {
            const int column = left + s * dilation1;
            const int inside = within && column >= 0 && column < W;
            run = inside ? W - column : (within && column < 0 ? -column : S);
            run = together ? (run < S - s ? run : S - s) : 1;
            if (inside) {
                ws_conv_copy(to, x + (row * W + column) * C, run * c);
            } else {
                ws_conv_zeros(to, run * c);
            }
            to += run * c;
        }
    }
}

/* Where a window's rows lie, each in one piece: in the image x itself, if all of the window does
   and its taps are side by side, else in `to`. */
static const float *ws_conv_window(const float *x, int top, int left, int dilation0, int dilation1,
                                   float *to, int C, int H, int R, int S, int W, int c) {
    if (top >= 0 && top + (R - 1) * dilation0 < H && left >= 0 && left + S <= W &&
        (S == 1 || (dilation1 == 1 && c == C))) {
        return x + (top * W + left) * C;
    }
    ws_conv_gather(x, top, left, dilation0, dilation1, to, C, H, R, S, W, c);
    return to;
}

/* The chains of O filters over what two windows see, R rows of `run` numbers each, `astep` and
   `bstep` apart, to ya and yb (O), from which they go on if `more`. Four filters share each load of
   a pixel, and both windows each of a weight. ya and yb may be the same. */
static WS_APART void ws_conv_pair(const float *a, int astep, const float *b, int bstep,
                                  const float *w, int more, float *ya, float *yb, int R, int run,
                                  int O) {
    const int whole = O - O % 4; /* which the compiler sees through, where O is known */
    int o, r, k;
    for (o = 0; o < whole; o += 4) {
        const float *w0 = w, *w1 = w0 + R * run, *w2 = w1 + R * run, *w3 = w2 + R * run;
        float a0 = 0.0F, a1 = 0.0F, a2 = 0.0F, a3 = 0.0F;
        float b0 = 0.0F, b1 = 0.0F, b2 = 0.0F, b3 = 0.0F;
        if (more) {
            a0 = ya[o], a1 = ya[o + 1], a2 = ya[o + 2], a3 = ya[o + 3];
            b0 = yb[o], b1 = yb[o + 1], b2 = yb[o + 2], b3 = yb[o + 3];
        }
        w += 4 * R * run;
        for (r = 0; r < R; ++r) {
            const float *p = a + r * astep, *q = b + r * bstep;
            for (k = run; k > 0; --k) {
                const float e = *p++, f = *q++;
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
            }
        }
        ya[o] = a0, ya[o + 1] = a1, ya[o + 2] = a2, ya[o + 3] = a3;
        yb[o] = b0, yb[o + 1] = b1, yb[o + 2] = b2, yb[o + 3] = b3;
    }
    for (o = whole; o < O; ++o) {
        float y = more ? ya[o] : 0.0F, z = more ? yb[o] : 0.0F;
        for (r = 0; r < R; ++r) {
            for (k = 0; k < run; ++k) {
                const float v = WS_W(*w++);
                y = WS_FMA(a[r * astep + k], v, y);
                z = WS_FMA(b[r * bstep + k], v, z);
            }
        }
        ya[o] = y;
        yb[o] = z;
    }
}

/* y (N, OH, OW, O) = the correlation of x and w, whose chains go on from y if `more`; work: 2 R S c
   numbers */
static void ws_conv_sums(const float *x, const float *w, int stride0, int stride1, int padding0,
                         int padding1, int dilation0, int dilation1, int groups, int more,
                         float *work, float *y, int C, int H, int N, int O, int R, int S, int W,
                         int c, int OH, int OW) {
    const int filters = O / groups, image = H * W * C, K = R * S * c, step = dilation0 * W * C;
    int p, g;
    for (p = 0; p < N * OH * OW; p += 2) {
        const int q = p + 1 < N * OH * OW ? p + 1 : p;
        for (g = 0; g < groups; ++g) {
            const float *a = ws_conv_window(
                x + p / (OH * OW) * image + g * c, p / OW % OH * stride0 - padding0,
                p % OW * stride1 - padding1, dilation0, dilation1, work, C, H, R, S, W, c);
            const float *b = ws_conv_window(
                x + q / (OH * OW) * image + g * c, q / OW % OH * stride0 - padding0,
                q % OW * stride1 - padding1, dilation0, dilation1, work + K, C, H, R, S, W, c);
            ws_conv_pair(a, a == work ? S * c : step, b, b == work + K ? S * c : step,
                         w + g * filters * K, more, y + p * O + g * filters,
                         y + q * O + g * filters, R, S * c, filters);
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
static void ws_conv_pull(const float *y, const float *tb, int act, float slope, float *ty,
                         int count, int O) {
    int p, o;
    for (p = 0; p < count; ++p) {
        for (o = 0; o < O; ++o) {
            const float z = ty[p * O + o];
            ty[p * O + o] = ws_pull(act, slope, y[p * O + o], tb ? z + tb[o] : z);
        }
    }
}

/* y (N, OH, OW, O) = f(x * w + b) */
static void ws_conv2d_forward(const float *x, const float *w, const float *b, int stride0,
                              int stride1, int padding0, int padding1, int dilation0, int dilation1,
                              int groups, int act, float slope, float *work, float *y, int C, int H,
                              int N, int O, int R, int S, int W, int c, int OH, int OW) {
    ws_conv_sums(x, w, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, 0, work,
                 y, C, H, N, O, R, S, W, c, OH, OW);
    ws_conv_activate(b, act, slope, y, N * OH * OW, O);
}

/* ty = f'(y) (tx * w + x * tw + tb), the second product's chains going on from the first's */
static void ws_conv2d_tangent(const float *x, const float *w, const float *y, const float *tx,
                              const float *tw, const float *tb, int stride0, int stride1,
                              int padding0, int padding1, int dilation0, int dilation1, int groups,
                              int act, float slope, float *work, float *ty, int C, int H, int N,
                              int O, int R, int S, int W, int c, int OH, int OW) {
    if (tx) {
        ws_conv_sums(tx, w, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, 0,
                     work, ty, C, H, N, O, R, S, W, c, OH, OW);
    }
    if (tw) {
        ws_conv_sums(x, tw, stride0, stride1, padding0, padding1, dilation0, dilation1, groups,
                     tx != NULL, work, ty, C, H, N, O, R, S, W, c, OH, OW);
    }
    ws_conv_pull(y, tb, act, slope, ty, N * OH * OW, O);
}
