/* Batch normalisation of the channels of x (N, T, C). Sums over rows are made channel by channel in
   64 parts of the rows, cut by their number alone, and added up in order. */

/* where part `part` of 64 begins */
static int ws_part(int part, int rows) {
    return (int)((int32_t)part * rows / 64);
}

/* sums[0] = the sum over `rows` rows of d = f'(y) t, sums[1] = the chain of d (x - mean), each from
   +0, of the channel that x, y, t point to; y may be NULL, then d is t */
static void ws_norm_rows(const float *x, float mean, const float *y, const float *t, int act,
                         float slope, int rows, int C, float *sums) {
    float plain = 0.0F, product = 0.0F;
    int r;
    for (r = 0; r < rows * C; r += C) {
        const float d = y ? ws_pull(act, slope, y[r], t[r]) : t[r];
        plain = plain + d;
        product = WS_FMA(d, x[r] - mean, product);
    }
    sums[0] = plain;
    sums[1] = product;
}

/* the same of all rows, by parts */
static void ws_norm_sums(const float *x, float mean, const float *y, const float *t, int act,
                         float slope, int rows, int C, float *sums) {
    float some[2];
    int part;
    sums[0] = 0.0F;
    sums[1] = 0.0F;
    for (part = 0; part < 64; ++part) {
        const int lo = ws_part(part, rows), more = ws_part(part + 1, rows) - lo, at = lo * C;
        ws_norm_rows(x + at, mean, y ? y + at : y, t + at, act, slope, more, C, some);
        sums[0] = sums[0] + some[0];
        sums[1] = sums[1] + some[1];
    }
}

/* mean and biased var (C) of each channel: each part sums differences to its first row and their
   squares; parts are merged in double (Chan et al.) */
static void ws_norm_statistics(const float *x, float *sums, float *mean, float *var, int C, int N,
                               int T) {
    int c, part, r;
    (void)sums;
    for (c = 0; c < C; ++c) {
        double count = 0.0, middle = 0.0, square = 0.0;
        for (part = 0; part < 64; ++part) {
            const int lo = ws_part(part, N * T), hi = ws_part(part + 1, N * T);
            const double more = (double)(hi - lo);
            const float first = x[(lo < N * T ? lo : 0) * C + c];
            float plain = 0.0F, squares = 0.0F;
            double s, away;
            for (r = lo; r < hi; ++r) {
                const float d = x[r * C + c] - first;
                plain = plain + d;
                squares = WS_FMA(d, d, squares);
            }
            if (hi > lo) {
                s = (double)plain;
                away = (double)first + s / more - middle;
                square += (double)squares - s * s / more +
                          away * away * count * more / (count + more);
                middle += away * more / (count + more);
                count += more;
            }
        }
        mean[c] = (float)middle;
        var[c] = (float)(square / count);
    }
}

/* inverse = 1 / sqrt(var + eps); running statistics, where there are, move towards mean and var */
static void ws_norm_moments(const float *var, const float *mean, float eps, double momentum,
                            uint32_t count, float *running_mean, float *running_var,
                            float *inverse, int C) {
    int c;
    for (c = 0; c < C; ++c) {
        inverse[c] = 1.0F / ws_sqrt(var[c] + eps);
        if (running_mean) {
            const float keep = (float)(1.0 - momentum), share = (float)momentum;
            const float unbiased = (float)(momentum * (double)count / ((double)count - 1.0));
            running_mean[c] = running_mean[c] * keep + share * mean[c];
            running_var[c] = running_var[c] * keep + unbiased * var[c];
        }
    }
}

/* y = f(fma(x - mean, inverse gamma, shift)) */
static void ws_norm_forward(const float *x, const float *mean, const float *inverse,
                            const float *gamma, const float *shift, int act, float slope, float *y,
                            int C, int N, int T) {
    int c, r;
    for (c = 0; c < C; ++c) {
        const float a = gamma ? inverse[c] * WS_W(gamma[c]) : inverse[c];
        const float b = gamma ? WS_W(shift[c]) : 0.0F, m = mean[c];
        for (r = c; r < N * T * C; r += C) {
            y[r] = ws_apply(act, slope, WS_FMA(x[r] - m, a, b));
        }
    }
}

/* f = -a inverse^2 (share sums[1]) and k = share sums[0], share = 1 / rows: how a batch's own
   statistics move along t */
static float ws_norm_moved(float a, float inverse, const float *sums, int rows, float *k) {
    const float share = 1.0F / (float)rows;
    *k = share * sums[0];
    return 0.0F - a * inverse * inverse * (share * sums[1]);
}

/* dgamma = beta dgamma + (sum dz (x - mean)) inverse, dshift = beta dshift + sum dz, dz = f'(y) dy;
   dx = fma(a, dz - k, (x - mean) f), a = inverse gamma; V cotangents stacked */
static void ws_norm_backward(const float *x, const float *mean, const float *inverse,
                             const float *gamma, const float *y, const float *dy, int act,
                             float slope, int batch, float beta, float *sums, float *dgamma,
                             float *dshift, float *dx, int C, int N, int T, int V) {
    int c, r, v;
    if (act == 2 && slope == 0.0F) {
        act = 1; /* a unit that is off passes no infinity: 0 times it would be NaN */
    }
    for (c = 0; c < C; ++c) {
        const float a = gamma ? inverse[c] * gamma[c] : inverse[c], m = mean[c];
        float k = 0.0F, f = 0.0F;
        if (dgamma || batch) {
            ws_norm_sums(x + c, m, y + c, dy + c, act, slope, N * T, C, sums);
        }
        if (dgamma) {
            const float g = sums[1] * inverse[c], h = sums[0];
            dgamma[c] = g + (beta == 0.0F ? 0.0F : beta * dgamma[c]);
            dshift[c] = h + (beta == 0.0F ? 0.0F : beta * dshift[c]);
        }
        if (batch) {
            f = ws_norm_moved(a, inverse[c], sums, N * T, &k);
        }
        for (v = 0; v < V * N * T * C; v += N * T * C) {
            for (r = c; r < N * T * C; r += C) {
                const float dz = ws_pull(act, slope, y[r], dy[v + r]);
                dx[v + r] = WS_FMA(a, dz - k, WS_FMA(x[r] - m, f, 0.0F));
            }
        }
    }
}

/* ty = f'(y) fma(a, tx - k, fma(x - mean, f, tshift)), f = fma(inverse, tgamma, f above) */
static void ws_norm_tangent(const float *x, const float *mean, const float *inverse,
                            const float *gamma, const float *y, const float *tx,
                            const float *tgamma, const float *tshift, int act, float slope,
                            int batch, float *sums, float *ty, int C, int N, int T) {
    int c, r;
    for (c = 0; c < C; ++c) {
        const float a = gamma ? inverse[c] * gamma[c] : inverse[c], m = mean[c];
        float k = 0.0F, f = 0.0F, h = 0.0F;
        if (batch && tx) {
            ws_norm_sums(x + c, m, NULL, tx + c, 0, 0.0F, N * T, C, sums);
            f = ws_norm_moved(a, inverse[c], sums, N * T, &k);
        }
        if (tgamma) {
            f = WS_FMA(inverse[c], tgamma[c], f);
            h = tshift[c];
        }
        for (r = c; r < N * T * C; r += C) {
            const float still = WS_FMA(x[r] - m, f, h);
            const float moved = tx ? WS_FMA(a, tx[r] - k, still) : still;
            ty[r] = ws_pull(act, slope, y[r], moved);
        }
    }
}

/* dgamma, dshift (N, C) of each sample, statistics constant */
static void ws_norm_sample_grads(const float *x, const float *mean, const float *inverse,
                                 const float *dz, float *dgamma, float *dshift, int C, int N,
                                 int T) {
    float sums[2];
    int n, c;
    for (n = 0; n < N; ++n) {
        for (c = 0; c < C; ++c) {
            const int at = n * T * C + c;
            ws_norm_rows(x + at, mean[c], NULL, dz + at, 0, 0.0F, T, C, sums);
            dgamma[n * C + c] = sums[1] * inverse[c];
            dshift[n * C + c] = sums[0];
        }
    }
}

/* dgamma, dshift (C) += sum over v, n of |a sample's own|^power; samples in min(N, 32) groups, each
   added up from +0, sample by sample, cotangent by cotangent */
static void ws_norm_accumulate(const float *x, const float *mean, const float *inverse,
                               const float *dz, int power, float *sums, float *dgamma,
                               float *dshift, int C, int N, int T, int V) {
    const int groups = N < 32 ? N : 32;
    int c, group, n, v;
    for (c = 0; c < C; ++c) {
        for (group = 0; group < groups; ++group) {
            const int hi = (int)((int32_t)(group + 1) * N / groups);
            float g = 0.0F, s = 0.0F;
            for (n = (int)((int32_t)group * N / groups); n < hi; ++n) {
                for (v = 0; v < V; ++v) {
                    const float *mine = dz + (v * N + n) * T * C + c;
                    ws_norm_rows(x + n * T * C + c, mean[c], NULL, mine, 0, 0.0F, T, C, sums);
                    g = ws_raised(power, sums[1] * inverse[c], g);
                    s = ws_raised(power, sums[0], s);
                }
            }
            dgamma[c] = dgamma[c] + g;
            dshift[c] = dshift[c] + s;
        }
    }
}

/* dgamma (C) += |gamma| sum |x - mean| inverse, dshift (C) += sum |y|, by parts */
static void ws_norm_signal(const float *x, const float *mean, const float *inverse,
                           const float *gamma, const float *y, float *sums, float *dgamma,
                           float *dshift, int C, int N, int T) {
    int c, part, r;
    (void)sums;
    for (c = 0; c < C; ++c) {
        const float a = ws_abs(gamma[c]) * inverse[c];
        for (part = 0; part < 64; ++part) {
            const int hi = ws_part(part + 1, N * T);
            float traffic = 0.0F, response = 0.0F;
            for (r = ws_part(part, N * T); r < hi; ++r) {
                traffic = traffic + ws_abs(x[r * C + c] - mean[c]);
                response = response + ws_abs(y[r * C + c]);
            }
            dshift[c] = dshift[c] + response;
            dgamma[c] = WS_FMA(a, traffic, dgamma[c]);
        }
    }
}
