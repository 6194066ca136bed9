/* The weight gradient of 3 x 3 convolutions with stride 1 by Winograd's way: products over tiles of
   6 x 6 pixels with cotangents of 4 x 4 outputs, for blocks of 4 channels and 4 filters. */

/* A y: four, `apart`, to six, `step` apart. Both may be the same. */
static WS_APART void ws_winograd_of_output(const float *y, int apart, float *t, int step) {
    const float y0 = y[0], y1 = y[apart], y2 = y[2 * apart], y3 = y[3 * apart];
    const float p = y0 + y2, q = y1 + y3, r = WS_FMA(4.0F, y2, y0), s = WS_FMA(4.0F, y3, y1);
    t[0] = y0;
    t[step] = p + q;
    t[2 * step] = p - q;
    t[3 * step] = WS_FMA(2.0F, s, r);
    t[4 * step] = WS_FMA(-2.0F, s, r);
    t[5 * step] = y3;
}

/* G' u: six, `apart`, to three */
static WS_APART void ws_winograd_to_filter(const float *u, int apart, float *t, int step) {
    const float u0 = u[0], u1 = u[apart], u2 = u[2 * apart], u3 = u[3 * apart], u4 = u[4 * apart];
    const float u5 = u[5 * apart], p = u1 + u2, q = u2 - u1, r = u3 + u4, s = u3 - u4;
    t[0] = WS_FMA(0.25F, u0, WS_FMA(-1.0F / 6.0F, p, 1.0F / 24.0F * r));
    t[step] = WS_FMA(1.0F / 6.0F, q, 1.0F / 12.0F * s);
    t[2 * step] = WS_FMA(1.0F / 6.0F, r - p, u5);
}

/* m (36), 4 apart: a tile's cotangents of one filter, rows x columns of which there are, at all
   frequencies */
static void ws_winograd_output(const float *dz, int rows, int columns, int width, int filters,
                               float *m) {
    float t[36];
    int i, j;
    for (i = 0; i < 4; ++i) {
        for (j = 0; j < 4; ++j) {
            t[6 * i + j] = i < rows && j < columns ? dz[(i * width + j) * filters] : 0.0F;
        }
    }
    for (i = 0; i < 4; ++i) {
        ws_winograd_of_output(t + i, 6, t + i, 6);
    }
    for (i = 0; i < 6; ++i) {
        ws_winograd_of_output(t + 6 * i, 1, m + 24 * i, 4);
    }
}

/* sums (36, 4, 4): up to four channels from x on and filters from dz on, over tiles begin to end;
   scratch: 576 numbers, v and u of two tiles */
static void ws_winograd_tiles(const float *x, const float *dz, int padding0, int padding1,
                              int begin, int end, int channels, int some, float *scratch,
                              float *sums, int C, int H, int O, int W, int OH, int OW) {
    const int wide = (OW + 3) / 4, count = (OH + 3) / 4 * wide;
    int tile, i;
    memset(scratch, 0, 576 * sizeof(float)); /* what is beyond the channels and filters */
    memset(sums, 0, 576 * sizeof(float));
    for (tile = begin; tile < end; ++tile) {
        const int n = tile / count, row = tile % count / wide * 4, column = tile % wide * 4;
        const int second = (tile - begin) & 1;
        float *v = scratch + second * 144, *m = v + 288;
        for (i = 0; i < channels; ++i) {
            ws_winograd_input(x + n * H * W * C + i, row - padding0, column - padding1, H, W, C,
                              v + i);
        }
        for (i = 0; i < some; ++i) {
            ws_winograd_output(dz + ((n * OH + row) * OW + column) * O + i, OH - row, OW - column,
                               OW, O, m + i);
        }
        if (second || tile + 1 == end) {
            ws_winograd_products(scratch, scratch + 288, 1, second + 1, sums);
        }
    }
}

/* total (36, 4, 4): the sums of groups of tiles, one by one; scratch: 1152 numbers */
static void ws_winograd_groups(const float *x, const float *dz, int padding0, int padding1,
                               int channels, int some, float *scratch, float *total, int C, int H,
                               int N, int O, int W, int OH, int OW) {
    const int32_t tiles = (int32_t)N * ((OH + 3) / 4) * ((OW + 3) / 4);
    int32_t cuts = tiles < 481 ? (tiles + 31) / 32 : 16, cut;
    float *sums = scratch + 576;
    int i;
    if ((int32_t)C * O > 4096) {
        cuts = 1;
    }
    for (cut = 0; cut < cuts; ++cut) {
        ws_winograd_tiles(x, dz, padding0, padding1, (int)(cut * tiles / cuts),
                          (int)((cut + 1) * tiles / cuts), channels, some, scratch, sums, C, H, O,
                          W, OH, OW);
        for (i = 0; i < 576; ++i) {
            total[i] = cut ? total[i] + sums[i] : sums[i];
        }
    }
}

/* found (3, 3), 6 numbers a row: a weight's gradient from its frequencies, 16 apart. Returns
   whether it is finite: all frequencies go to its four corners. */
static int ws_winograd_taps(const float *total, float *found) {
    float corners;
    int i;
    for (i = 0; i < 6; ++i) {
        ws_winograd_to_filter(total + 16 * i, 96, found + i, 6);
    }
    for (i = 0; i < 3; ++i) {
        ws_winograd_to_filter(found + 6 * i, 1, found + 6 * i, 1);
    }
    corners = 0.0F * found[0] + 0.0F * found[2] + 0.0F * found[12] + 0.0F * found[14];
    return corners == 0.0F;
}

/* dw (O, 3, 3, C) = beta dw + the gradient, if `write`. Returns whether all of it is finite. */
static int ws_winograd_weights(const float *x, const float *dz, int padding0, int padding1,
                               int write, float beta, float *work, float *dw, int C, int H, int N,
                               int O, int W, int OH, int OW) {
    float *total = work + 1152, found[36];
    int e, o, i, k, finite = 1;
    for (e = 0; e < C; e += 4) {
        const int channels = C - e < 4 ? C - e : 4;
        for (o = 0; o < O; o += 4) {
            const int some = O - o < 4 ? O - o : 4;
            ws_winograd_groups(x + e, dz + o, padding0, padding1, channels, some, work, total, C, H,
                               N, O, W, OH, OW);
            for (i = 0; i < channels * some; ++i) {
                float *d = dw + (o + i / channels) * 9 * C + e + i % channels;
                finite &= ws_winograd_taps(total + i % channels * 4 + i / channels, found);
                for (k = 0; k < 9 && write; ++k) {
                    const float old = beta != 0.0F ? d[k * C] * beta : 0.0F;
                    d[k * C] = old + found[k / 3 * 6 + k % 3];
                }
            }
        }
    }
    return finite;
}

/* Whether all magnitudes are below `bound`; NaN is not. */
static int ws_winograd_below(const float *x, int count, float bound) {
    int i;
    for (i = 0; i < count; ++i) {
        if (!(ws_abs(x[i]) < bound)) {
            return 0;
        }
    }
    return 1;
}

/* dw = beta dw + the sum of dz x by Winograd's way, or, if that is not finite, directly; db
   likewise one sum over all places. Where large numbers make that doubtful, it is looked at before
   dw is touched. */
static void ws_conv2d_weight_grad_winograd(const float *x, const float *dz, int stride0,
                                           int stride1, int padding0, int padding1, int dilation0,
                                           int dilation1, int groups, float beta, float *work,
                                           float *dw, float *db, int C, int H, int N, int O, int R,
                                           int S, int W, int c, int OH, int OW) {
    const float large = 1099511627776.0F; /* 2^40: below, sums of 2^24 tiles are finite */
    const int sure =
        ws_winograd_below(x, N * H * W * C, large) && ws_winograd_below(dz, N * OH * OW * O, large);
    int o, p;
    for (o = 0; db && o < O; ++o) {
        float sum = beta != 0.0F ? db[o] * beta : 0.0F;
        for (p = 0; p < N * OH * OW; ++p) {
            sum += dz[p * O + o];
        }
        db[o] = sum;
    }
    if (sure ||
        ws_winograd_weights(x, dz, padding0, padding1, 0, beta, work, dw, C, H, N, O, W, OH, OW)) {
        ws_winograd_weights(x, dz, padding0, padding1, 1, beta, work, dw, C, H, N, O, W, OH, OW);
    } else {
        ws_conv_gradient(x, dz, stride0, stride1, padding0, padding1, dilation0, dilation1, groups,
                         0, beta, dw, C, H, N, O, R, S, 1, W, c, OH, OW);
    }
}
