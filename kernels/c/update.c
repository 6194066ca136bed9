/* The optimizers' steps, fused: gradient, penalty, moments, step and path integral in one pass.
   omega (with anchor), path and gain may be NULL. */

/* grad + lam omega (theta - anchor) of parameter p */
static float ws_penalised(const float *theta, const float *grad, const float *omega,
                          const float *anchor, float lam, int p) {
    return omega ? WS_FMA(lam * omega[p], theta[p] - anchor[p], grad[p]) : grad[p];
}

/* parameter p moves by d, times its gain; its path by -grad d */
static void ws_move(float *theta, const float *grad, float d, float *path, const float *gain,
                    int p) {
    if (gain) {
        d = d * gain[p];
    }
    if (path) {
        path[p] = WS_FMA(-grad[p], d, path[p]);
    }
    theta[p] = theta[p] + d;
}

/* d = -lr g */
static void ws_sgd_update(float *theta, const float *grad, float lr, const float *omega,
                          const float *anchor, float lam, float *path, const float *gain, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        const float g = ws_penalised(theta, grad, omega, anchor, lam, p);
        ws_move(theta, grad, -lr * g, path, gain, p);
    }
}

/* velocity = fma(momentum, velocity, g), d = -lr velocity */
static void ws_momentum_update(float *theta, const float *grad, float *velocity, float lr,
                               float momentum, const float *omega, const float *anchor, float lam,
                               float *path, const float *gain, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        const float g = ws_penalised(theta, grad, omega, anchor, lam, p);
        velocity[p] = WS_FMA(momentum, velocity[p], g);
        ws_move(theta, grad, -lr * velocity[p], path, gain, p);
    }
}

/* base^times by squaring */
static double ws_power(double base, uint32_t times) {
    double result = 1.0;
    for (; times; times >>= 1) {
        if (times & 1) {
            result = result * base;
        }
        base = base * base;
    }
    return result;
}

/* the square root of a positive, normal double, rounded once; of no C library */
static double ws_root(double x) {
    uint64_t m, root = 0, rest = 0, bit;
    int32_t e;
    if (sizeof x != sizeof m) {
        return (double)ws_sqrt((float)x); /* AVR: a double is a float */
    }
    memcpy(&m, &x, sizeof x);
    e = (int32_t)(m >> 52) - 1023;
    m = (m & 0xfffffffffffffULL) | 0x10000000000000ULL;
    if (e & 1) {
        m <<= 1;
        --e;
    }
    m <<= 1; /* the root's bits come one by one, 54 of them: see ws_sqrt */
    for (bit = 0x20000000000000ULL; bit; bit >>= 1) {
        if (rest + bit <= m) {
            rest += bit + bit;
            m -= rest - bit;
            root += bit;
        }
        m <<= 1;
    }
    m = ((root + 1) >> 1) + ((uint64_t)(e / 2 + 1022) << 52);
    memcpy(&x, &m, sizeof x);
    return x;
}

/* m = fma(beta1, m, (1 - beta1) g), v = fma(beta2, v, ((1 - beta2) g) g),
   d = (-size m) / fma(sqrt v, root, eps), size = lr / (1 - beta1^step),
   root = 1 / sqrt(1 - beta2^step); what follows from several numbers is worked out in double */
static void ws_adam_update(float *theta, const float *grad, float *m, float *v, double lr,
                           double beta1, double beta2, float eps, uint32_t step,
                           const float *omega, const float *anchor, float lam, float *path,
                           const float *gain, int P) {
    const float size = (float)(lr / (1.0 - ws_power(beta1, step)));
    const float root = (float)(1.0 / ws_root(1.0 - ws_power(beta2, step)));
    const float b1 = (float)beta1, b2 = (float)beta2;
    const float fresh1 = (float)(1.0 - beta1), fresh2 = (float)(1.0 - beta2);
    int p;
    for (p = 0; p < P; ++p) {
        const float g = ws_penalised(theta, grad, omega, anchor, lam, p);
        m[p] = WS_FMA(b1, m[p], fresh1 * g);
        v[p] = WS_FMA(b2, v[p], fresh2 * g * g);
        ws_move(theta, grad, -size * m[p] / WS_FMA(ws_sqrt(v[p]), root, eps), path, gain, p);
    }
}

/* square = fma(alpha, square, ((1 - alpha) g) g), d = (-lr g) / (sqrt square + eps) */
static void ws_rmsprop_update(float *theta, const float *grad, float *square, float lr,
                              double alpha, float eps, const float *omega, const float *anchor,
                              float lam, float *path, const float *gain, int P) {
    const float keep = (float)alpha, fresh = (float)(1.0 - alpha);
    int p;
    for (p = 0; p < P; ++p) {
        const float g = ws_penalised(theta, grad, omega, anchor, lam, p);
        square[p] = WS_FMA(keep, square[p], fresh * g * g);
        ws_move(theta, grad, -lr * g / (ws_sqrt(square[p]) + eps), path, gain, p);
    }
}

/* square = fma(rho, square, ((1 - rho) g) g), u = (g sqrt(moved + eps)) / sqrt(square + eps),
   moved = fma(rho, moved, ((1 - rho) u) u), d = -lr u */
static void ws_adadelta_update(float *theta, const float *grad, float *square, float *moved,
                               float lr, double rho, float eps, const float *omega,
                               const float *anchor, float lam, float *path, const float *gain,
                               int P) {
    const float keep = (float)rho, fresh = (float)(1.0 - rho);
    int p;
    for (p = 0; p < P; ++p) {
        const float g = ws_penalised(theta, grad, omega, anchor, lam, p);
        float u;
        square[p] = WS_FMA(keep, square[p], fresh * g * g);
        u = g * ws_sqrt(moved[p] + eps) / ws_sqrt(square[p] + eps);
        moved[p] = WS_FMA(keep, moved[p], fresh * u * u);
        ws_move(theta, grad, -lr * u, path, gain, p);
    }
}

/* grad = fma(lam omega, theta - anchor, grad) */
static void ws_penalty_gradient(const float *theta, const float *omega, const float *anchor,
                                float lam, float *grad, int P) {
    int p;
    for (p = 0; p < P; ++p) {
        grad[p] = ws_penalised(theta, grad, omega, anchor, lam, p);
    }
}
