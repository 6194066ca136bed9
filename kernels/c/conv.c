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

/* Four outputs that lie together: y = f(z + b), b NULL for none */
static void ws_conv_put(float *y, const float *b, int act, float slope, float z0, float z1,
                        float z2, float z3) {
    if (b) {
        z0 += WS_W(b[0]), z1 += WS_W(b[1]), z2 += WS_W(b[2]), z3 += WS_W(b[3]);
    }
    y[0] = ws_apply(act, slope, z0);
    y[1] = ws_apply(act, slope, z1);
    y[2] = ws_apply(act, slope, z2);
    y[3] = ws_apply(act, slope, z3);
}

/* y[i] (O) = f(z + b), z the chains of O filters over what the four windows at x[i] see, R rows of
   `run` numbers each, apart[i] from one to the next; they go on from y[i] if `more`. Four filters
   share each load of a pixel, and four windows each of a weight. Windows may be the same. */
static WS_APART void ws_conv_quad(const float *const *x, const int *apart, const float *w,
                                  const float *b, int act, float slope, int more, float *const *y,
                                  int R, int run, int O) {
    const int whole = O - O % 4; /* which the compiler sees through, where O is known */
    int o, r, k;
    for (o = 0; o < whole; o += 4, b = b ? b + 4 : b) {
        const float *w0 = w, *w1 = w0 + R * run, *w2 = w1 + R * run, *w3 = w2 + R * run;
        float *const y0 = y[0] + o, *const y1 = y[1] + o, *const y2 = y[2] + o, *const y3 = y[3] + o;
        float c0 = 0.0F, c1 = 0.0F, c2 = 0.0F, c3 = 0.0F, d0 = 0.0F, d1 = 0.0F, d2 = 0.0F, d3 = 0.0F;
        float e0 = 0.0F, e1 = 0.0F, e2 = 0.0F, e3 = 0.0F, f0 = 0.0F, f1 = 0.0F, f2 = 0.0F, f3 = 0.0F;
        if (more) {
            c0 = y0[0], c1 = y0[1], c2 = y0[2], c3 = y0[3];
            d0 = y1[0], d1 = y1[1], d2 = y1[2], d3 = y1[3];
            e0 = y2[0], e1 = y2[1], e2 = y2[2], e3 = y2[3];
            f0 = y3[0], f1 = y3[1], f2 = y3[2], f3 = y3[3];
        }
        w += 4 * R * run;
        for (r = 0; r < R; ++r) {
            const float *p = x[0] + r * apart[0], *q = x[1] + r * apart[1];
            const float *s = x[2] + r * apart[2], *t = x[3] + r * apart[3];
            for (k = run; k > 0; --k) {
                const float c = *p++, d = *q++, e = *s++, f = *t++;
                float v = WS_W(*w0++);
                c0 = WS_FMA(c, v, c0), d0 = WS_FMA(d, v, d0);
                e0 = WS_FMA(e, v, e0), f0 = WS_FMA(f, v, f0);
                v = WS_W(*w1++);
                c1 = WS_FMA(c, v, c1), d1 = WS_FMA(d, v, d1);
                e1 = WS_FMA(e, v, e1), f1 = WS_FMA(f, v, f1);
                v = WS_W(*w2++);
                c2 = WS_FMA(c, v, c2), d2 = WS_FMA(d, v, d2);
                e2 = WS_FMA(e, v, e2), f2 = WS_FMA(f, v, f2);
                v = WS_W(*w3++);
                c3 = WS_FMA(c, v, c3), d3 = WS_FMA(d, v, d3);
                e3 = WS_FMA(e, v, e3), f3 = WS_FMA(f, v, f3);
            }
        }
        ws_conv_put(y0, b, act, slope, c0, c1, c2, c3);
        ws_conv_put(y1, b, act, slope, d0, d1, d2, d3);
        ws_conv_put(y2, b, act, slope, e0, e1, e2, e3);
        ws_conv_put(y3, b, act, slope, f0, f1, f2, f3);
    }
    for (o = whole; o < O; ++o, w += R * run, b = b ? b + 1 : b) {
        float z[4];
        for (k = 0; k < 4; ++k) {
            z[k] = more ? y[k][o] : 0.0F;
            for (r = 0; r < R; ++r) {
                z[k] = ws_one_row(x[k] + r * apart[k], w + r * run, z[k], run);
            }
        }
        for (k = 0; k < 4; ++k) { /* after all are read: places may be the same, too */
            y[k][o] = ws_apply(act, slope, b ? z[k] + WS_W(*b) : z[k]);
        }
    }
}

/* y (N, OH, OW, O) = f(z + b), z the correlation of x and w, whose chains go on from y if `more`;
   work: 4 R S c numbers */
static void ws_conv_sums(const float *x, const float *w, const float *b, int stride0, int stride1,
                         int padding0, int padding1, int dilation0, int dilation1, int groups,
                         int act, float slope, int more, float *work, float *y, int C, int H, int N,
                         int O, int R, int S, int W, int c, int OH, int OW) {
    const int filters = O / groups, K = R * S * c, count = N * OH * OW;
    const float *from[4];
    float *to[4];
    int apart[4], g, p, q, top, left;
    for (g = 0; g < groups; ++g) {
        const float *image = x + g * c;
        top = -padding0;
        left = -padding1;
        for (p = 0; p < count; p += 4) {
            for (q = 0; q < 4; ++q) {
                float *const mine = work + q * K;
                if (p + q >= count) {
                    from[q] = from[q - 1];
                    apart[q] = apart[q - 1];
                    to[q] = to[q - 1];
                    continue;
                }
                from[q] = ws_conv_window(image, top, left, dilation0, dilation1, mine, C, H, R, S,
                                         W, c);
                apart[q] = from[q] == mine ? S * c : dilation0 * W * C;
                to[q] = y + (p + q) * O + g * filters;
                left += stride1;
                if (left == OW * stride1 - padding1) {
                    left = -padding1;
                    top += stride0;
                }
                if (top == OH * stride0 - padding0) {
                    top = -padding0;
                    image += H * W * C;
                }
            }
            ws_conv_quad(from, apart, w + g * filters * K, b ? b + g * filters : b, act, slope,
                         more, to, R, S * c, filters);
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
    ws_conv_sums(x, w, b, stride0, stride1, padding0, padding1, dilation0, dilation1, groups, act,
                 slope, 0, work, y, C, H, N, O, R, S, W, c, OH, OW);
}

/* ty = f'(y) (tx * w + x * tw + tb), the second product's chains going on from the first's */
static void ws_conv2d_tangent(const float *x, const float *w, const float *y, const float *tx,
                              const float *tw, const float *tb, int stride0, int stride1,
                              int padding0, int padding1, int dilation0, int dilation1, int groups,
                              int act, float slope, float *work, float *ty, int C, int H, int N,
                              int O, int R, int S, int W, int c, int OH, int OW) {
    if (tx) {
        ws_conv_sums(tx, w, NULL, stride0, stride1, padding0, padding1, dilation0, dilation1,
                     groups, 0, 0.0F, 0, work, ty, C, H, N, O, R, S, W, c, OH, OW);
    }
    if (tw) {
        ws_conv_sums(x, tw, NULL, stride0, stride1, padding0, padding1, dilation0, dilation1,
                     groups, 0, 0.0F, tx != NULL, work, ty, C, H, N, O, R, S, W, c, OH, OW);
    }
    ws_conv_pull(y, tb, act, slope, ty, N * OH * OW, O);
}
