/* int8 networks on images (H, W, C): convolutions by the patch under each output, and pools. */

static void ws_q_copy(const int8_t *from, int8_t *to, int n) {
    for (; n >= 4; n -= 4, from += 4, to += 4) {
        memcpy(to, from, 4);
    }
    for (; n > 0; --n) {
        *to++ = *from++;
    }
}

static void ws_q_fill(int zero, int8_t *to, int n) {
    for (; n > 0; --n) {
        *to++ = (int8_t)zero;
    }
}

/* patch (R, S, Q): what lies under one output, from (top, left) on, of the Q channels at x; zero
   outside of the image. */
static void ws_q_patch(const int8_t *x, int zero, int8_t *patch, int top, int left, int dilation0,
                       int dilation1, int H, int W, int C, int R, int S, int Q) {
    int r, s, from, to;
    for (r = 0; r < R; ++r, top += dilation0) {
        const int8_t *row;
        if (top < 0 || top >= H) {
            ws_q_fill(zero, patch, S * Q);
            patch += S * Q;
            continue;
        }
        row = x + top * W * C;
        if (Q == C && dilation1 == 1) { /* a row of the patch is one piece of the image's */
            from = left < 0 ? (left > -S ? -left : S) : 0;
            to = W - left < S ? (W - left > from ? W - left : from) : S;
            ws_q_fill(zero, patch, from * C);
            if (to > from) {
                ws_q_copy(row + (left + from) * C, patch + from * C, (to - from) * C);
            }
            ws_q_fill(zero, patch + to * C, (S - to) * C);
            patch += S * C;
        } else {
            for (s = 0; s < S; ++s, patch += Q) {
                const int column = left + s * dilation1;
                if (column < 0 || column >= W) {
                    ws_q_fill(zero, patch, Q);
                } else {
                    ws_q_copy(row + column * C, patch, Q);
                }
            }
        }
    }
}

/* Numbers k to k + n of one of two windows, four of each taking turns, are those from `from` on.
   Returns k + n. */
static int ws_q_spread(const int8_t *from, int8_t *to, int k, int n) {
    int8_t *here = to + k + (k & ~3);
    int count = -k & 3;
    if (n < 8) { /* too few to be counted */
        for (; n > 0; --n, ++k) {
            to[k + (k & ~3)] = *from++;
        }
        return k;
    }
    k += n;
    n -= count;
    for (; count > 0; --count) {
        *here++ = *from++;
    }
    here = to + 2 * (k - n);
    for (count = n >> 2; count > 0; --count, here += 8, from += 4) {
        memcpy(here, from, 4);
    }
    for (n &= 3; n > 0; --n) {
        *here++ = *from++;
    }
    return k;
}

/* The same, all of them `zero`. */
static int ws_q_spread_zero(int zero, int8_t *to, int k, int n) {
    for (n += k; k < n; ++k) {
        to[k + (k & ~3)] = (int8_t)zero;
    }
    return k;
}

/* What lies under one output, from (top, left) on, of the Q channels at x, zero outside of the image
   and up to a multiple of four: (R, S, Q) numbers, to one of two windows */
static void ws_q_window(const int8_t *x, int zero, int8_t *to, int top, int left, int dilation0,
                        int dilation1, int H, int W, int C, int R, int S, int Q) {
    const int together = Q == C && dilation1 == 1;
    int r, s, run, k = 0;
    if (together && top >= 0 && top + (R - 1) * dilation0 < H && left >= 0 && left + S <= W) {
        x += (top * W + left) * C;
        for (r = R; r > 0; --r, x += dilation0 * W * C) {
            k = ws_q_spread(x, to, k, S * C);
        }
        R = 0;
    }
    for (r = 0; r < R; ++r, top += dilation0) {
        const int within = top >= 0 && top < H;
        for (s = 0; s < S; s += run) {
            const int column = left + s * dilation1;
            const int inside = within && column >= 0 && column < W;
            run = inside ? W - column : (within && column < 0 ? -column : S);
            run = together ? (run < S - s ? run : S - s) : 1;
            k = inside ? ws_q_spread(x + (top * W + column) * C, to, k, run * Q)
                       : ws_q_spread_zero(zero, to, k, run * Q);
        }
    }
    ws_q_spread_zero(zero, to, k, -k & 3);
}

/* y and z (O) = f(x w^T + b) of two windows of I numbers, a multiple of four: w (O, I), four rows at a
   time in blocks, then one by one; y and z may be the same if the windows are */
static void ws_q_two_windows(const int8_t *both, const int8_t *w, const int32_t *b,
                             const int32_t *m, const uint8_t *n, int32_t bend, int bendn, int zero,
                             int low, int high, int8_t *y, int8_t *z, int I, int O) {
    int32_t sum[16];
    int o, i, some;
    for (o = 0; o < O; o += some) {
        for (some = 0; some < 8 && O - o - some >= 4; some += 4, w += 4 * I) {
            ws_q_four_rows_of_two(both, w, b + o + some, sum + 2 * some, I);
        }
        if (!some) {
            some = 1;
            sum[0] = sum[1] = WS_W32(b[o]);
            for (i = 0; i < I; ++i, ++w) {
                const int8_t *const x = both + i + (i & ~3);
                sum[0] += x[0] * WS_W8(*w);
                sum[1] += x[4] * WS_W8(*w);
            }
        }
        ws_q_fit_all(sum, m + o, n + o, bend, bendn, zero, low, high, y + o, z + o, some);
    }
}

/* y (OH, OW, O) = f(x * w + b) as int8: w (O, I), I being R S C / groups up to a multiple of four,
   padding (top, left); xzero is the input's zero point. patch: 2 I numbers. */
static void ws_q_conv2d(const int8_t *x, const int8_t *w, const int32_t *b, const int32_t *m,
                        const uint8_t *n, int32_t bend, int bendn, int xzero, int zero, int low,
                        int high, int8_t *patch, int8_t *y, int stride0, int stride1, int padding0,
                        int padding1, int dilation0, int dilation1, int groups, int H, int W, int C,
                        int R, int S, int OH, int OW, int O) {
    const int Q = C / groups, each = O / groups, count = OH * OW, I = (R * S * Q + 3) & ~3;
    int p, q, g, top, left;
    for (g = 0; g < groups; ++g) {
        top = -padding0;
        left = -padding1;
        for (p = 0; p < count; p += 2) {
            for (q = p; q < p + 2; ++q) {
                ws_q_window(x + g * Q, xzero, patch + 4 * (q - p), top, left, dilation0, dilation1,
                            H, W, C, R, S, Q);
                if (q + 1 < count) { /* else the last one is both */
                    left += stride1;
                    if (left == OW * stride1 - padding1) {
                        left = -padding1;
                        top += stride0;
                    }
                }
            }
            q = p + 1 < count ? p + 1 : p;
            ws_q_two_windows(patch, w, b, m, n, bend, bendn, zero, low, high, y + p * O, y + q * O,
                             I, each);
        }
        w += each * I, b += each, m += each, n += each, y += each;
    }
}

/* The same where every channel has one filter of its own: w (R, S, C). patch: R S C numbers. */
static void ws_q_depthwise(const int8_t *x, const int8_t *w, const int32_t *b, const int32_t *m,
                           const uint8_t *n, int32_t bend, int bendn, int xzero, int zero, int low,
                           int high, int8_t *patch, int8_t *y, int stride0, int stride1,
                           int padding0, int padding1, int dilation0, int dilation1, int H, int W,
                           int C, int R, int S, int OH, int OW) {
    const int8_t *p, *q;
    int32_t sum[4];
    int i, j, c, k, at, four;
    for (i = 0; i < OH; ++i) {
        for (j = 0; j < OW; ++j, y += C) {
            ws_q_patch(x, xzero, patch, i * stride0 - padding0, j * stride1 - padding1, dilation0,
                       dilation1, H, W, C, R, S, C);
            for (c = 0; c < C; c += four) {
                four = C - c < 4 ? 1 : 4;
                p = patch + c;
                q = w + c;
                if (four == 4) {
                    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
                    for (at = 0; at < R * S * C; at += C) {
                        s0 += p[at] * WS_W8(q[at]);
                        s1 += p[at + 1] * WS_W8(q[at + 1]);
                        s2 += p[at + 2] * WS_W8(q[at + 2]);
                        s3 += p[at + 3] * WS_W8(q[at + 3]);
                    }
                    sum[0] = s0;
                    sum[1] = s1;
                    sum[2] = s2;
                    sum[3] = s3;
                } else {
                    sum[0] = 0;
                    for (at = 0; at < R * S * C; at += C) {
                        sum[0] += p[at] * WS_W8(q[at]);
                    }
                }
                for (k = c; k < c + four; ++k) {
                    y[k] = ws_q_fit(sum[k - c] + WS_W32(b[k]), WS_W32(m[k]), WS_BYTE(n[k]), bend,
                                    bendn, zero, low, high);
                }
            }
        }
    }
}

/* y (OH, OW, C) = the largest of each window; what lies outside of the image never is. */
static void ws_q_max_pool(const int8_t *x, int8_t *y, int size0, int size1, int stride0, int stride1,
                          int padding0, int padding1, int H, int W, int C, int OH, int OW) {
    int i, j, c, r, s;
    for (i = 0; i < OH; ++i) {
        const int top = i * stride0 - padding0;
        const int r0 = top < 0 ? 0 : top, r1 = top + size0 < H ? top + size0 : H;
        for (j = 0; j < OW; ++j, y += C) {
            const int left = j * stride1 - padding1;
            const int s0 = left < 0 ? 0 : left, s1 = left + size1 < W ? left + size1 : W;
            ws_q_fill(-128, y, C);
            for (r = r0; r < r1; ++r) {
                const int8_t *pixel = x + (r * W + s0) * C;
                for (s = s0; s < s1; ++s) {
                    int8_t *best = y;
                    for (c = C; c > 0; --c, ++best) {
                        const int8_t found = *pixel++;
                        if (found > *best) {
                            *best = found;
                        }
                    }
                }
            }
        }
    }
}

/* y (OH, OW, C) = the mean of each rectangle, rows (OH, 2) and columns (OW, 2), first and last
   (excluded): sums are scaled by m 2^-n, of each output its own where step is 1. */
static void ws_q_average_pool(const int8_t *x, const uint16_t *rows, const uint16_t *columns,
                              const int32_t *m, const uint8_t *n, int step, int xzero, int zero,
                              int8_t *y, int W, int C, int OH, int OW) {
    int i, j, c, r, s, at = 0;
    for (i = 0; i < OH; ++i) {
        const int r0 = (int)WS_W16(rows[2 * i]), r1 = (int)WS_W16(rows[2 * i + 1]);
        for (j = 0; j < OW; ++j, y += C, at += step) {
            const int s0 = (int)WS_W16(columns[2 * j]), s1 = (int)WS_W16(columns[2 * j + 1]);
            for (c = 0; c < C; ++c) {
                int32_t sum = 0;
                for (r = r0; r < r1; ++r) {
                    for (s = s0; s < s1; ++s) {
                        sum += x[(r * W + s) * C + c] - xzero;
                    }
                }
                y[c] = ws_q_clamped(ws_q_scaled(sum, WS_W32(m[at]), WS_BYTE(n[at])), zero, -128, 127);
            }
        }
    }
}

/* y = f(a + b) as int8: each less its zero point, times its own factor, and together 2^-n. */
static void ws_q_add(const int8_t *a, const int8_t *b, int32_t am, int32_t bm, int n, int azero,
                     int bzero, int32_t bend, int bendn, int zero, int low, int high, int8_t *y,
                     int O) {
    int i;
    for (i = 0; i < O; ++i) {
        int32_t sum = (a[i] - azero) * am + (b[i] - bzero) * bm;
        if (bend && sum < 0) {
            sum = ws_q_scaled(sum, bend, bendn);
        }
        sum = (sum + ((int32_t)1 << (n - 1))) >> n;
        y[i] = ws_q_clamped(sum, zero, low, high);
    }
}

/* y = table[x + 128] */
static void ws_q_table(const int8_t *x, const int8_t *table, int8_t *y, int O) {
    int i;
    for (i = 0; i < O; ++i) {
        y[i] = WS_W8(table[x[i] + 128]);
    }
}
