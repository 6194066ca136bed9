/* Losses and the softmax: classes are added in order. An inactive class is as if its logit were
   minus infinity. */

/* the logit of a class */
static float ws_logit(const float *logits, const uint8_t *active, int k) {
    return active[k] ? logits[k] : -ws_float(0x7f800000);
}

/* p = exp(z - peak) / total of one sample; returns total */
static float ws_softmax_row(const float *logits, const uint8_t *active, float *p, float *peak,
                            int K) {
    float most = -ws_float(0x7f800000), total = 0.0F;
    int k;
    for (k = 0; k < K; ++k) {
        const float z = ws_logit(logits, active, k);
        most = most > z ? most : z; /* this way round: of a NaN and a number the later one */
    }
    for (k = 0; k < K; ++k) {
        p[k] = ws_exp(ws_logit(logits, active, k) - most);
        total = total + p[k];
    }
    for (k = 0; k < K; ++k) {
        p[k] = p[k] / total;
    }
    *peak = most;
    return total;
}

/* p (N, K) = the softmax over the active classes */
static void ws_softmax(const float *logits, const uint8_t *active, float *p, int K, int N) {
    float peak;
    int n;
    for (n = 0; n < N; ++n) {
        ws_softmax_row(logits + n * K, active, p + n * K, &peak, K);
    }
}

/* dz = (diag p - p p^T) u: p ((u - origin) - mean), origin the u of a class above 1/2 */
static void ws_softmax_backward(const float *p, const float *u, float *dz, int K, int N) {
    int n, k;
    for (n = 0; n < N; ++n, p += K, u += K, dz += K) {
        float origin = 0.0F, mean = 0.0F;
        for (k = 0; k < K; ++k) {
            origin = p[k] > 0.5F ? u[k] : origin;
        }
        for (k = 0; k < K; ++k) {
            mean = WS_FMA(p[k], u[k] - origin, mean);
        }
        for (k = 0; k < K; ++k) {
            dz[k] = p[k] * (u[k] - origin - mean);
        }
    }
}

/* the sum of a sample's p but for class c: 1 - p_c, as accurate as the p are */
static float ws_sum_without(const float *p, int32_t c, int K) {
    float total = 0.0F;
    int k;
    for (k = 0; k < K; ++k) {
        total = k == c ? total : total + p[k];
    }
    return total;
}

/* factor (K, N, K): factor_cn = sqrt(p_nc) (e_c - p_n) */
static void ws_softmax_fisher_factor(const float *p, float *factor, int K, int N) {
    int c, n, k;
    for (c = 0; c < K; ++c) {
        for (n = 0; n < N; ++n) {
            const float *mine = p + n * K;
            float *row = factor + (c * N + n) * K;
            const float root = ws_sqrt(mine[c]);
            for (k = 0; k < K; ++k) {
                row[k] = -root * mine[k];
            }
            row[c] = mine[c] > 0.5F ? root * ws_sum_without(mine, c, K) : row[c] + root;
        }
    }
}

/* -log(1 - q) of q from 0 to 1/2, exact near 0 too (Kahan) */
static float ws_minus_log1p(float q) {
    const float rest = 1.0F - q;
    return rest == 1.0F ? q : ws_log(rest) * (q / (rest - 1.0F));
}

/* loss (N) = -log softmax of the label's class, dlogits (N, K) = p - e_label */
static void ws_softmax_cross_entropy(const float *logits, const int32_t *labels,
                                     const uint8_t *active, float *loss, float *dlogits, int K,
                                     int N) {
    int n;
    for (n = 0; n < N; ++n, logits += K, dlogits += K) {
        const int32_t label = labels[n];
        const float z = ws_logit(logits, active, (int)label);
        float peak, total, q;
        total = ws_softmax_row(logits, active, dlogits, &peak, K);
        if (dlogits[label] > 0.5F) {
            q = ws_sum_without(dlogits, label, K);
            loss[n] = ws_minus_log1p(q);
            dlogits[label] = -q;
        } else {
            loss[n] = ws_log(total) - (z - peak);
            dlogits[label] = dlogits[label] - 1.0F;
        }
    }
}

/* loss (N) = 1/2 |f - t|^2, doutputs (N, K) = f - t */
static void ws_squared_error(const float *outputs, const float *targets, float *loss,
                             float *doutputs, int K, int N) {
    int n, k;
    for (n = 0; n < N; ++n) {
        float sum = 0.0F;
        for (k = n * K; k < (n + 1) * K; ++k) {
            const float d = outputs[k] - targets[k];
            doutputs[k] = d;
            sum = WS_FMA(d, d, sum);
        }
        loss[n] = 0.5F * sum;
    }
}

/* the sum of N numbers in double: eight sums side by side, they in order, what is left of eight */
static double ws_sum_in_eights(const float *numbers, int N) {
    const int whole = N - N % 8;
    double total = 0.0, part;
    int j, n;
    for (j = 0; j < 8; ++j) {
        part = 0.0;
        for (n = j; n < whole; n += 8) {
            part = part + (double)numbers[n];
        }
        total = total + part;
    }
    for (n = whole; n < N; ++n) {
        total = total + (double)numbers[n];
    }
    return total;
}

/* mean (1) of N losses, in double */
static void ws_mean_loss(const float *loss, double *mean, int N) {
    mean[0] = ws_sum_in_eights(loss, N) / (double)N;
}
