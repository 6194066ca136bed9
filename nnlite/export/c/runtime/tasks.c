/* What a method does between tasks: importances, owners of weights. Arithmetic as in methods/. */

/* the mean of N losses, added up in order */
static float ws_mean(const float *loss, int N) {
    float sum = 0.0F;
    int n;
    for (n = 0; n < N; ++n) {
        sum += loss[n];
    }
    return sum / (float)N;
}

/* the sum of N weighted losses over the sum of their weights, or 0 */
static float ws_mean_of_weighted(const float *loss, const double *total, int N) {
    return total[0] > 0.0 ? ws_mean(loss, N) * (float)N / (float)total[0] : 0.0F;
}

/* omega += total / samples, or = of the first task; the anchor is theta */
static void ws_add_importance(const float *theta, const float *total, uint32_t samples, int first,
                              float *omega, float *anchor, int P) {
    const float count = (float)samples;
    int p;
    for (p = 0; p < P; ++p) {
        const float mean = total[p] / count;
        omega[p] = first ? mean : omega[p] + mean;
        anchor[p] = theta[p];
    }
}

/* Synaptic Intelligence: omega += path / (moved^2 + xi), at least 0; anchor = theta, path = 0 */
static void ws_add_path(const float *theta, float xi, int first, float *path, float *omega,
                        float *anchor, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        const float moved = theta[p] - anchor[p];
        const float square = moved * moved;
        const float mine = path[p] / (square + xi);
        const float sum = first ? mine : omega[p] + mine;
        omega[p] = sum < 0.0F ? 0.0F : sum;
        anchor[p] = theta[p];
        path[p] = 0.0F;
    }
}

/* how many free weights of a layer (P of them) have a magnitude of at most `most`, as its bits */
static int32_t ws_free_below(const float *theta, const uint8_t *owner, int32_t most, int P) {
    int32_t count = 0;
    int p;
    for (p = 0; p < P; ++p) {
        count += owner[p] == 0 && (ws_bits(theta[p]) & 0x7fffffff) <= most;
    }
    return count;
}

/* PackNet, of one layer's weights: of the free ones the share `prune` with the smallest magnitudes,
   of equal ones the first, becomes 0 and stays free; the others are task's own. The magnitude that
   divides them is found bit by bit: bits of positive floats are in the order of their values. */
static void ws_share_out(float *theta, uint8_t *owner, double prune, uint8_t task, int P) {
    const int32_t all = ws_free_below(theta, owner, 0x7fffffff, P);
    const double wanted = prune * (double)all;
    int32_t lost = (int32_t)(wanted + 0.5), most = 0, bit, below;
    int p;
    if ((double)lost - wanted == 0.5 && (lost & 1)) {
        --lost; /* half way: to the even number, as the engine rounds */
    }
    for (bit = 0x40000000; bit; bit /= 2) {
        if (ws_free_below(theta, owner, most + bit - 1, P) < lost) {
            most += bit;
        }
    }
    below = most > 0 ? ws_free_below(theta, owner, most - 1, P) : 0;
    lost -= below; /* so many of those that are equal to `most` */
    for (p = 0; p < P; ++p) {
        const int32_t size = ws_bits(theta[p]) & 0x7fffffff;
        if (owner[p] == 0 && (size < most || (size == most && lost > 0))) {
            lost -= size == most;
            theta[p] *= 0.0F; /* with its sign, as the engine multiplies by a mask */
        } else if (owner[p] == 0) {
            owner[p] = task;
        }
    }
}

/* gain = 1 where a weight may move, 0 where not: those that `task` owns */
static void ws_let_move(const uint8_t *owner, uint8_t task, float *gain, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        gain[p] = owner[p] == task ? 1.0F : 0.0F;
    }
}

/* known = theta without the weights that tasks after number `task` (from 1) own */
static void ws_known(const float *theta, const uint8_t *owner, int task, float *known, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        known[p] = owner[p] > 0 && owner[p] <= task ? theta[p] : theta[p] * 0.0F;
    }
}

/* signs of a binary context: +1 where the bit is set, -1 where not */
static void ws_signs(const uint8_t *bits, float *context, int I) {
    int i;
    for (i = 0; i < I; ++i) {
        context[i] = (WS_BYTE(bits[i / 8]) >> (i % 8)) & 1 ? 1.0F : -1.0F;
    }
}
