/* exp, tanh, log and the square root by formulas of fma, +, -, *, / and the bits of numbers, as
   every backend has them (kernels/series.py holds the same numbers): no C library is asked. */

static WS_UNUSED float ws_float(int32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static WS_UNUSED int32_t ws_bits(float number) {
    int32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* The magnitude: its sign bit is taken off, which also NaN has. */
static float ws_abs(float x) {
    return ws_float(ws_bits(x) & 0x7fffffff);
}

/* e^r - 1, and n, of x = n ln 2 + r: adding 1.5 2^23 rounds to a whole number, which then stands in
   the lowest bits. */
static float ws_reduce(float x, int32_t *n) {
    const float magic = 12582912.0F;
    float t, r, p;
    x = x < -104.0F ? -104.0F : x; /* this way round NaN stays NaN */
    x = x > 89.0F ? 89.0F : x;
    t = WS_FMA(x, 1.44269504088896341F, magic);
    *n = ws_bits(t) - ws_bits(magic);
    t = t - magic;
    r = WS_FMA(-t, -2.12194440e-4F, WS_FMA(-t, 0.693359375F, x));
    p = 1.9875691500e-4F;
    p = WS_FMA(p, r, 1.3981999507e-3F);
    p = WS_FMA(p, r, 8.3334519073e-3F);
    p = WS_FMA(p, r, 4.1665795894e-2F);
    p = WS_FMA(p, r, 1.6666665459e-1F);
    p = WS_FMA(p, r, 5.0000001201e-1F);
    return WS_FMA(p * r, r, r);
}

static float ws_power_of_two(int32_t n) {
    return ws_float((int32_t)((uint32_t)(n + 127) << 23));
}

/* n / 2 towards minus infinity; shifting a negative number is the compiler's choice. */
static int32_t ws_half(int32_t n) {
    return (n - (n < 0)) / 2;
}

static float ws_exp(float x) {
    int32_t n, half;
    const float p = ws_reduce(x, &n);
    half = ws_half(n);
    return (p + 1.0F) * ws_power_of_two(half) * ws_power_of_two(n - half);
}

/* tanh x = -m / (m + 2) with m = e^(-2 x) - 1 for x >= 0, and odd. */
static float ws_tanh(float x) {
    int32_t n, half;
    const float p = ws_reduce(-2.0F * ws_abs(x), &n);
    float scale, m;
    half = ws_half(n);
    scale = ws_power_of_two(half) * ws_power_of_two(n - half);
    m = WS_FMA(scale, p, scale - 1.0F);
    m = ws_abs(m / (m + 2.0F));
    return ws_float(ws_bits(m) | (ws_bits(x) & INT32_MIN));
}

/* ln x of positive, normal x: e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1). NaN gives NaN. */
static float ws_log(float x) {
    int32_t e, bits = ws_bits(x);
    float m, s, square, p;
    e = bits - ws_bits(0.70710678118654752F);
    e = (e - (e < 0 ? 0x7fffff : 0)) / 0x800000; /* towards minus infinity */
    m = ws_float(bits - e * 0x800000);
    s = (m - 1.0F) / (m + 1.0F);
    square = s * s;
    p = 0.0F;
    p = WS_FMA(p, square, 1.0F / 11.0F);
    p = WS_FMA(p, square, 1.0F / 9.0F);
    p = WS_FMA(p, square, 1.0F / 7.0F);
    p = WS_FMA(p, square, 1.0F / 5.0F);
    p = WS_FMA(p, square, 1.0F / 3.0F);
    m = WS_FMA((float)e, 0.69314718055994531F, WS_FMA((s + s) * square, p, s + s));
    return x == x ? m : x;
}

/* The square root, rounded once: by the instruction where there is one, else digit by digit. */
static float ws_sqrt(float x) {
#if defined(__SSE__) && defined(__GNUC__)
    float root;
    __asm__("sqrtss %1, %0" : "=x"(root) : "x"(x));
    return root;
#elif defined(__aarch64__) && defined(__GNUC__)
    float root;
    __asm__("fsqrt %s0, %s1" : "=w"(root) : "w"(x));
    return root;
#elif defined(__ARM_FP) && (__ARM_FP & 4) && defined(__VFP_FP__) && !defined(__SOFTFP__)
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
#elif defined(__riscv_f) && defined(__GNUC__)
    float root;
    __asm__("fsqrt.s %0, %1" : "=f"(root) : "f"(x));
    return root;
#else
    uint32_t m = (uint32_t)ws_bits(x), root = 0, rest = 0, bit;
    int32_t e = (int32_t)(m >> 23);
    if (x == 0.0F || x != x || m == 0x7f800000U) {
        return x;
    }
    if (m >> 31) {
        return ws_float(0x7fc00000); /* NaN */
    }
    m &= 0x7fffffU;
    if (e == 0) {
        for (e = 1; !(m >> 23); --e) {
            m <<= 1;
        }
    } else {
        m |= 0x800000U;
    }
    e -= 127;
    if (e & 1) {
        m <<= 1;
        --e;
    }
    m <<= 1; /* of value m 2^-24, the root's bits come one by one, 25 of them */
    for (bit = 0x1000000U; bit; bit >>= 1) {
        if (rest + bit <= m) {
            rest += bit + bit;
            m -= rest - bit;
            root += bit;
        }
        m <<= 1;
    }
    root = (root + 1) >> 1; /* never halfway: a root of 25 bits has a square of 50 */
    return ws_float((int32_t)root + (int32_t)((uint32_t)(e / 2 + 126) << 23));
#endif
}
