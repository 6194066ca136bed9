/* Losses of samples that do not weigh alike: a weight a class, and a label that is ignored. */

/* weight (N) = weights (K) of each label, 0 of those that are `ignored`, which are 0 in known; 1 of
   one that names no class. total (1) = their sum, in double. */
static void ws_label_weights(const int32_t *labels, const float *weights, int ignored,
                             int32_t *known, float *weight, double *total, int K, int N) {
    int n;
    for (n = 0; n < N; ++n) {
        const int32_t label = labels[n];
        const int counts = label != ignored;
        known[n] = counts ? label : 0;
        weight[n] = !counts ? 0.0F : label >= 0 && label < K ? weights[label] : 1.0F;
    }
    total[0] = ws_sum_in_eights(weight, N);
}

/* loss (N) and dlogits (N, K) times weight (N); 0 of a weight of 0, whatever they were */
static void ws_weigh_losses(const float *weight, float *loss, float *dlogits, int K, int N) {
    int n, k;
    for (n = 0; n < N; ++n) {
        const float w = weight[n];
        loss[n] = w == 0.0F ? 0.0F : w * loss[n];
        for (k = n * K; k < (n + 1) * K; ++k) {
            dlogits[k] = w == 0.0F ? 0.0F : w * dlogits[k];
        }
    }
}

/* mean (1) = the sum of N losses over total (1), in double; 0 over 0 */
static void ws_weighted_mean(const float *loss, const double *total, double *mean, int N) {
    mean[0] = total[0] != 0.0 ? ws_sum_in_eights(loss, N) / total[0] : 0.0;
}
