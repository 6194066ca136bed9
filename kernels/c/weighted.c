/* Losses of samples that do not weigh alike: a weight a class, and a label that is ignored. */

/* weight = that of each label's class, 0 of those ignored; known = the labels, 0 for ignored ones */
static void ws_label_weights(const int32_t *labels, const float *weights, int ignored,
                             int32_t *known, float *weight, double *total, int K, int N) {
    int n;
    for (n = 0; n < N; ++n) {
        const int32_t label = labels[n];
        known[n] = label == ignored ? 0 : label;
        weight[n] = label == ignored ? 0.0F : label >= 0 && label < K ? weights[label] : 1.0F;
    }
    total[0] = ws_sum_in_eights(weight, N);
}

/* loss and dlogits times weight; 0 of a weight of 0, whatever they were */
static void ws_weigh_losses(const float *weight, float *loss, float *dlogits, int K, int N) {
    int n, k;
    for (n = 0; n < N; ++n) {
        loss[n] = weight[n] == 0.0F ? 0.0F : weight[n] * loss[n];
        for (k = 0; k < K; ++k) {
            dlogits[n * K + k] = weight[n] == 0.0F ? 0.0F : weight[n] * dlogits[n * K + k];
        }
    }
}

/* mean = the sum of the losses over total, or 0 */
static void ws_weighted_mean(const float *loss, const double *total, double *mean, int N) {
    mean[0] = total[0] > 0.0 || total[0] < 0.0 ? ws_sum_in_eights(loss, N) / total[0] : 0.0;
}

/* y = x times 1 / divisor, or times 0 */
static void ws_divide(const float *x, const double *divisor, float *y, int N, int O) {
    const float share = (float)(divisor[0] > 0.0 || divisor[0] < 0.0 ? 1.0 / divisor[0] : 0.0);
    int i;
    for (i = 0; i < N * O; ++i) {
        y[i] = x[i] * share;
    }
}
