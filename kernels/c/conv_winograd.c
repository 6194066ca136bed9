/* 3 x 3 convolutions with stride 1 by Winograd's F(4x4, 3x3): 4 x 4 outputs from 6 x 6 pixels by 36
   products. Transforms go along the rows first and then along the columns, in place in 6 x 6 numbers.
   A block of 4 tiles and 4 filters is summed channel by channel, so that scratch is bounded. */

/* B' d: six to six, `step` apart */
static void ws_winograd_of_input(float *t, int step) {
    const float d0 = t[0], d1 = t[step], d2 = t[2 * step], d3 = t[3 * step], d4 = t[4 * step];
    const float d5 = t[5 * step], p = WS_FMA(-4.0F, d2, d4), q = WS_FMA(-4.0F, d1, d3);
    const float r = d4 - d2, s = d3 - d1;
    t[0] = WS_FMA(4.0F, d0, WS_FMA(-5.0F, d2, d4));
    t[step] = p + q;
    t[2 * step] = p - q;
    t[3 * step] = WS_FMA(2.0F, s, r);
    t[4 * step] = WS_FMA(-2.0F, s, r);
    t[5 * step] = WS_FMA(4.0F, d1, WS_FMA(-5.0F, d3, d5));
}

/* G g: three to six */
static void ws_winograd_of_filter(float *t, int step) {
    const float g0 = t[0], g1 = t[step], g2 = t[2 * step];
    const float p = -1.0F / 6.0F * (g0 + g2), q = 1.0F / 6.0F * g1;
    const float r = WS_FMA(1.0F / 24.0F, g0, 1.0F / 6.0F * g2), s = 1.0F / 12.0F * g1;
    t[0] = 0.25F * g0;
    t[step] = p - q;
    t[2 * step] = p + q;
    t[3 * step] = r + s;
    t[4 * step] = r - s;
    t[5 * step] = g2;
}

/* A' m: six to four */
static void ws_winograd_to_output(float *t, int step) {
    const float m0 = t[0], m1 = t[step], m2 = t[2 * step], m3 = t[3 * step], m4 = t[4 * step];
    const float p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4;
    t[0] = m0 + p + r;
    t[step] = WS_FMA(2.0F, s, q);
    t[2 * step] = WS_FMA(4.0F, r, p);
    t[3 * step] = WS_FMA(8.0F, s, q) + t[5 * step];
}

/* t (6, 6) = the pixels of one channel, from (top, left) of an image, which may lie outside */
static void ws_winograd_pixels(const float *x, int top, int left, int height, int width, int depth,
                               float *t) {
    int i, j;
    for (i = top; i < top + 6; ++i) {
        for (j = left; j < left + 6; ++j) {
            const int inside = i >= 0 && i < height && j >= 0 && j < width;
            *t++ = inside ? x[(i * width + j) * depth] : 0.0F;
        }
    }
}

/* v (36), `apart`: a tile's pixels at all frequencies */
static void ws_winograd_input(const float *x, int top, int left, int height, int width, int depth,
                              float *v, int apart) {
    float t[36];
    int i;
    ws_winograd_pixels(x, top, left, height, width, depth, t);
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_input(t + i, 6);
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_input(t + 6 * i, 1);
    }
    for (i = 0; i < 36; ++i) {
        v[i * apart] = t[i];
    }
}

/* u (36), `apart`: nine taps, `step` from one to the next, at all frequencies */
static void ws_winograd_filter(const float *w, int step, float *u, int apart) {
    float t[36];
    int i;
    for (i = 0; i < 9; ++i) {
        t[i / 3 * 6 + i % 3] = WS_W(w[i * step]);
    }
    for (i = 0; i < 3; ++i) {
        ws_winograd_of_filter(t + i, 6);
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_filter(t + 6 * i, 1);
    }
    for (i = 0; i < 36; ++i) {
        u[i * apart] = t[i];
    }
}

/* m (36, 4, 4) goes on: at each frequency the products of four v with four u (36, 4) */
static void ws_winograd_products(const float *v, const float *u, float *m) {
    int k, i;
    for (k = 0; k < 36; ++k) {
        const float u0 = u[0], u1 = u[1], u2 = u[2], u3 = u[3];
        for (i = 0; i < 4; ++i) {
            const float e = *v++;
            m[0] = WS_FMA(e, u0, m[0]);
            m[1] = WS_FMA(e, u1, m[1]);
            m[2] = WS_FMA(e, u2, m[2]);
            m[3] = WS_FMA(e, u3, m[3]);
            m += 4;
        }
        u += 4;
    }
}

/* The larger one; NaN if one is. */
static float ws_winograd_larger(float a, float b) {
    return a != a || a > b ? a : b;
}

/* The largest magnitude; NaN if one is. */
static float ws_winograd_largest(const float *x, int count) {
    float most = 0.0F;
    int i;
    for (i = 0; i < count; ++i) {
        most = ws_winograd_larger(ws_abs(x[i]), most);
    }
    return most;
}

/* The outputs of a tile, a bit each, that are summed directly: all if one of its pixels is NaN, infinite
   or so large that the transforms might overflow, else those that see nothing as large as 1/64 of the
   tile's largest magnitude. */
static unsigned ws_winograd_odd(const float *x, int top, int left, int height, int width, int depth) {
    float seen[36], t[36], most = 0.0F;
    unsigned found = 0;
    int i, j, k;
    for (i = 0; i < 36; ++i) {
        seen[i] = 0.0F;
    }
    for (k = 0; k < depth; ++k) {
        ws_winograd_pixels(x + k, top, left, height, width, depth, t);
        for (i = 0; i < 36; ++i) {
            seen[i] = ws_winograd_larger(ws_abs(t[i]), seen[i]);
        }
    }
    for (i = 0; i < 36; ++i) {
        most = ws_winograd_larger(seen[i], most);
    }
    for (i = 0; i < 16; ++i) {
        float here = 0.0F;
        for (j = 0; j < 9; ++j) {
            here = ws_winograd_larger(seen[(i / 4 + j / 3) * 6 + i % 4 + j % 3], here);
        }
        if (!(most < 1152921504606846976.0F) || here < most * 0.015625F) {
            found |= 1U << i;
        }
    }
    return found;
}

/* One output directly: the chain over nine taps, `step` from one to the next, and over `depth` channels,
   `across` from one to the next. */
static float ws_winograd_direct(const float *x, int top, int left, int height, int width, int depth,
                                const float *w, int step, int across) {
    float z = 0.0F;
    int i, k;
    for (i = 0; i < 9; ++i) {
        const int row = top + i / 3, column = left + i % 3;
        const int inside = row >= 0 && row < height && column >= 0 && column < width;
        for (k = 0; k < depth; ++k) {
            const float e = inside ? x[(row * width + column) * depth + k] : 0.0F;
            z = WS_FMA(e, WS_W(w[i * step + k * across]), z);
        }
    }
    return z;
}

/* m (36, 4, 4): all frequencies of up to four tiles from `first` on and up to four filters from w on,
   whose nine taps are `step` apart, channels `across`, filters `along`; scratch: 288 numbers */
static void ws_winograd_block(const float *x, const float *w, int step, int across, int along, int top,
                              int left, int first, int tiles, int filters, float *scratch, float *m,
                              int height, int width, int depth, int rows, int columns) {
    const int wide = (columns + 3) / 4, count = (rows + 3) / 4 * wide;
    float *v = scratch, *u = scratch + 144;
    int i, k;
    memset(scratch, 0, 288 * sizeof(float)); /* what is beyond the tiles and filters that there are */
    memset(m, 0, 576 * sizeof(float));
    for (k = 0; k < depth; ++k) {
        for (i = 0; i < tiles; ++i) {
            const int tile = first + i;
            ws_winograd_input(x + tile / count * height * width * depth + k,
                              top + tile % count / wide * 4, left + tile % wide * 4, height, width,
                              depth, v + i, 4);
        }
        for (i = 0; i < filters; ++i) {
            ws_winograd_filter(w + i * along + k * across, step, u + i, 4);
        }
        ws_winograd_products(v, u, m);
    }
}

/* The outputs y of a tile and a filter from its frequencies m, 16 apart, but for those in `odd`; y is
   that of its first output, of so many rows and columns that there are */
static void ws_winograd_put(const float *m, unsigned odd, int add, float *y, int rows, int columns,
                            int width, int filters) {
    float t[36];
    int i, j;
    for (i = 0; i < 36; ++i) {
        t[i] = m[16 * i];
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_to_output(t + i, 6);
    }
    for (i = 0; i < 4; ++i) {
        ws_winograd_to_output(t + 6 * i, 1);
    }
    for (i = 0; i < 4 && i < rows; ++i) {
        for (j = 0; j < 4 && j < columns; ++j) {
            if (!(odd >> (4 * i + j) & 1U)) {
                float *here = y + (i * width + j) * filters;
                *here = add ? t[6 * i + j] + *here : t[6 * i + j];
            }
        }
    }
}

/* The outputs y of a tile that are in `odd`, directly; x: its image, (top, left) its first pixel */
static void ws_winograd_put_odd(const float *x, const float *w, int step, int across, int along, int top,
                                int left, unsigned odd, int add, float *y, int height, int width,
                                int depth, int rows, int columns, int row, int filters) {
    int i, j, o;
    for (i = 0; i < 4 && i < rows; ++i) {
        for (j = 0; j < 4 && j < columns; ++j) {
            if (odd >> (4 * i + j) & 1U) {
                float *here = y + (i * row + j) * filters;
                for (o = 0; o < filters; ++o) {
                    const float z = ws_winograd_direct(x, top + i, left + j, height, width, depth,
                                                       w + o * along, step, across);
                    here[o] = add ? z + here[o] : z;
                }
            }
        }
    }
}

/* y (N, rows, columns, filters), or what is added to it: the correlation of images x (N, height, width,
   depth) from (top, left) on with filters whose taps, channels and selves are `step`, `across` and
   `along` apart; scratch: 864 numbers */
static void ws_winograd_correlate(const float *x, const float *w, int large, int step, int across,
                                  int along, int top, int left, int add, float *scratch, float *y,
                                  int N, int height, int width, int depth, int rows, int columns,
                                  int filters) {
    const int wide = (columns + 3) / 4, count = (rows + 3) / 4 * wide, image = height * width * depth;
    unsigned odd[4] = {0xffffU, 0xffffU, 0xffffU, 0xffffU};
    int first, i, o, f;
    for (first = 0; first < N * count; first += 4) {
        const int tiles = N * count - first < 4 ? N * count - first : 4;
        for (i = 0; i < tiles && !large; ++i) {
            odd[i] = ws_winograd_odd(x + (first + i) / count * image,
                                     top + (first + i) % count / wide * 4,
                                     left + (first + i) % wide * 4, height, width, depth);
        }
        for (o = 0; o < filters; o += 4) {
            const int some = filters - o < 4 ? filters - o : 4;
            ws_winograd_block(x, w + o * along, step, across, along, top, left, first, tiles, some,
                              scratch, scratch + 288, height, width, depth, rows, columns);
            for (i = 0; i < tiles; ++i) {
                const int n = (first + i) / count, row = (first + i) % count / wide * 4;
                const int column = (first + i) % wide * 4;
                for (f = 0; f < some; ++f) {
                    ws_winograd_put(scratch + 288 + 4 * i + f, odd[i], add,
                                    y + ((n * rows + row) * columns + column) * filters + o + f,
                                    rows - row, columns - column, columns, filters);
                }
            }
        }
        for (i = 0; i < tiles; ++i) {
            const int n = (first + i) / count, row = (first + i) % count / wide * 4;
            const int column = (first + i) % wide * 4;
            ws_winograd_put_odd(x + n * image, w, step, across, along, top + row, left + column, odd[i],
                                add, y + ((n * rows + row) * columns + column) * filters, height,
                                width, depth, rows - row, columns - column, columns, filters);
        }
    }
}

/* Whether a weight is NaN, infinite or so large that the transforms might overflow. */
static int ws_winograd_large(const float *w, int count) {
    int i, found = 0;
    for (i = 0; i < count; ++i) {
        found |= !(ws_abs(WS_W(w[i])) < 1073741824.0F);
    }
    return found;
}

/* y (N, OH, OW, O) = f(x * w + b) by Winograd's way */
static void ws_conv2d_forward_winograd(const float *x, const float *w, const float *b, int stride0,
                                       int stride1, int padding0, int padding1, int dilation0,
                                       int dilation1, int groups, int act, float slope, float *work,
                                       float *y, int C, int H, int N, int O, int R, int S, int W,
                                       int c, int OH, int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    ws_winograd_correlate(x, w, ws_winograd_large(w, O * R * S * C), C, 1, R * S * C, -padding0,
                          -padding1, 0, work, y, N, H, W, C, OH, OW, O);
    ws_conv_activate(b, act, slope, y, N * OH * OW, O);
}

/* ty = f'(y) (tx * w + x * tw + tb) by Winograd's way: two sums, the second plus the first */
static void ws_conv2d_tangent_winograd(const float *x, const float *w, const float *y, const float *tx,
                                       const float *tw, const float *tb, int stride0, int stride1,
                                       int padding0, int padding1, int dilation0, int dilation1,
                                       int groups, int act, float slope, float *work, float *ty, int C,
                                       int H, int N, int O, int R, int S, int W, int c, int OH,
                                       int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    if (tx) {
        ws_winograd_correlate(tx, w, ws_winograd_large(w, O * R * S * C), C, 1, R * S * C, -padding0,
                              -padding1, 0, work, ty, N, H, W, C, OH, OW, O);
    }
    if (tw) {
        ws_winograd_correlate(x, tw, ws_winograd_large(tw, O * R * S * C), C, 1, R * S * C, -padding0,
                              -padding1, tx != NULL, work, ty, N, H, W, C, OH, OW, O);
    }
    ws_conv_pull(y, tb, act, slope, ty, N * OH * OW, O);
}

/* dx (N, H, W, C), overwritten, by Winograd's way: the correlation of dz with the taps turned round */
static void ws_conv2d_input_grad_winograd(const float *dz, const float *w, int stride0, int stride1,
                                          int padding0, int padding1, int dilation0, int dilation1,
                                          int groups, float *work, float *dx, int C, int H, int N,
                                          int O, int R, int S, int W, int c, int OH, int OW) {
    (void)stride0, (void)stride1, (void)dilation0, (void)dilation1, (void)groups, (void)c;
    ws_winograd_correlate(dz, w + (R * S - 1) * C, ws_winograd_large(w, O * R * S * C), -C, R * S * C, 1,
                          padding0 - R + 1, padding1 - S + 1, 0, work, dx, N, OH, OW, O, H, W, C);
}
