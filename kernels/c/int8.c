/* int8 networks: whole numbers between the two ends (docs/int8.md). A number is scale (q - zero); sums
   are exact in int32, so that their order, and how many are taken at once, changes no bit. */

/* floor(a m 2^-n + 1/2), rounded once, within int32. 1 <= n <= 62. */
static int32_t ws_q_scaled(int32_t a, int32_t m, int n) {
    int64_t wide;
    (void)sizeof(char[(-1 >> 1) == -1 ? 1 : -1]); /* >> of a negative number must keep the sign */
    if (n > 32) { /* what the low half adds is less than 1 of the high one, and falls off with it */
        const int32_t high = (int32_t)(((int64_t)a * m) >> 32);
        return (high + ((int32_t)1 << (n - 33))) >> (n - 32);
    }
    wide = ((int64_t)a * m + ((int64_t)1 << (n - 1))) >> n;
    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* v + zero, not outside low..high */
static int8_t ws_q_clamped(int32_t v, int zero, int low, int high) {
    if (v > high - zero) {
        return (int8_t)high;
    }
    return (int8_t)(v < low - zero ? low : v + zero);
}

/* A sum as the output's int8; bend, bendn: the slope of its negative side, bend 0 for none. */
static int8_t ws_q_fit(int32_t sum, int32_t m, int n, int32_t bend, int bendn, int zero, int low,
                       int high) {
    if (bend && sum < 0) {
        sum = ws_q_scaled(sum, bend, bendn);
    }
    return ws_q_clamped(ws_q_scaled(sum, m, n), zero, low, high);
}

/* v, not outside -128..127 */
static int32_t ws_q_saturated(int32_t v) {
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t within;
    __asm__("ssat %0, #8, %1" : "=r"(within) : "r"(v));
    return within;
#else
    v = v < -128 ? -128 : v;
    return v > 127 ? 127 : v;
#endif
}

/* ws_q_fit without a slope where n is 32 + shift, shift at least 1; half: 2^(shift - 1) */
static int8_t ws_q_fit_high(int32_t sum, int32_t m, int32_t half, int shift, int zero, int low,
                            int high) {
    const int32_t v = (int32_t)(((int64_t)sum * m) >> 32);
    const int32_t q = ws_q_saturated(((v + half) >> shift) + zero); /* of 31 bits */
    if (low != -128 || high != 127) {
        return (int8_t)(q < low ? low : (q > high ? high : q));
    }
    return (int8_t)q;
}

/* y (count) = sums as the output's int8, of each output its own m and n; z, if there is one,
   likewise, whose sums lie behind those of y one by one */
static WS_APART void ws_q_fit_all(const int32_t *sum, const int32_t *m, const uint8_t *n,
                                  int32_t bend, int bendn, int zero, int low, int high, int8_t *y,
                                  int8_t *z, int count) {
    for (; count > 0; --count, ++m, ++n, ++y) {
        const int32_t factor = WS_W32(*m);
        const int shift = (int)WS_BYTE(*n) - 32;
        const int32_t half = shift > 0 ? (int32_t)1 << (shift - 1) : 0;
        if (bend || shift <= 0) {
            *y = ws_q_fit(*sum++, factor, shift + 32, bend, bendn, zero, low, high);
        } else {
            *y = ws_q_fit_high(*sum++, factor, half, shift, zero, low, high);
        }
        if (!z) {
            continue;
        }
        if (bend || shift <= 0) {
            *z++ = ws_q_fit(*sum++, factor, shift + 32, bend, bendn, zero, low, high);
        } else {
            *z++ = ws_q_fit_high(*sum++, factor, half, shift, zero, low, high);
        }
    }
}

/* four bytes, wherever they lie */
static uint32_t ws_q_word(const int8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* bytes 0 and 2 of a word as two int16 */
static uint32_t ws_q_even(uint32_t word) {
#if defined(__ARM_FEATURE_SIMD32)
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
#else
    const uint32_t low = ((word & 0xffU) ^ 0x80U) - 0x80U;
    const uint32_t high = (((word >> 16) & 0xffU) ^ 0x80U) - 0x80U;
    return (low & 0xffffU) | (high << 16);
#endif
}

/* bytes 1 and 3 of a word as two int16 */
static uint32_t ws_q_odd(uint32_t word) {
#if defined(__ARM_FEATURE_SIMD32)
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return ws_q_even(word >> 8);
#endif
}

/* sum + both products of two pairs of int16 */
static int32_t ws_q_smlad(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__ARM_FEATURE_SIMD32)
    int32_t more;
    __asm__("smlad %0, %1, %2, %3" : "=r"(more) : "r"(a), "r"(b), "r"(sum));
    return more;
#else
    const int32_t a0 = (int32_t)((a & 0xffffU) ^ 0x8000U) - 0x8000;
    const int32_t b0 = (int32_t)((b & 0xffffU) ^ 0x8000U) - 0x8000;
    const int32_t a1 = (int32_t)((a >> 16) ^ 0x8000U) - 0x8000;
    const int32_t b1 = (int32_t)((b >> 16) ^ 0x8000U) - 0x8000;
    return sum + a0 * b0 + a1 * b1;
#endif
}

/* sum[j] = b[j] + the sum over i of x_i w_ji, of eight rows of w, which share each load of x. They lie
   in blocks of four columns, (I / 4, 8 rows, 4), and then what is left of each row, so that one
   pointer finds them all. */
static WS_APART WS_IN_ORDER void ws_q_eight_rows(const int8_t *x, const int8_t *w, const int32_t *b,
                                                 int32_t *sum, int I) {
    int32_t s0 = WS_W32(b[0]), s1 = WS_W32(b[1]), s2 = WS_W32(b[2]), s3 = WS_W32(b[3]);
    int32_t s4 = WS_W32(b[4]), s5 = WS_W32(b[5]), s6 = WS_W32(b[6]), s7 = WS_W32(b[7]);
    const int left = I % 4;
    const int8_t *fours = x + (I - left);
    int i, e;
    for (; x < fours; x += 4, w += 32) {
        if (WS_SIMD32) {
            const uint32_t even = ws_q_even(ws_q_word(x)), odd = ws_q_odd(ws_q_word(x));
            uint32_t four;
            four = ws_q_word(w);
            s0 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s0));
            four = ws_q_word(w + 4);
            s1 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s1));
            four = ws_q_word(w + 8);
            s2 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s2));
            four = ws_q_word(w + 12);
            s3 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s3));
            four = ws_q_word(w + 16);
            s4 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s4));
            four = ws_q_word(w + 20);
            s5 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s5));
            four = ws_q_word(w + 24);
            s6 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s6));
            four = ws_q_word(w + 28);
            s7 = ws_q_smlad(odd, ws_q_odd(four), ws_q_smlad(even, ws_q_even(four), s7));
        } else {
            e = x[0];
            s0 += e * WS_W8(w[0]);
            s1 += e * WS_W8(w[4]);
            s2 += e * WS_W8(w[8]);
            s3 += e * WS_W8(w[12]);
            s4 += e * WS_W8(w[16]);
            s5 += e * WS_W8(w[20]);
            s6 += e * WS_W8(w[24]);
            s7 += e * WS_W8(w[28]);
            e = x[1];
            s0 += e * WS_W8(w[1]);
            s1 += e * WS_W8(w[5]);
            s2 += e * WS_W8(w[9]);
            s3 += e * WS_W8(w[13]);
            s4 += e * WS_W8(w[17]);
            s5 += e * WS_W8(w[21]);
            s6 += e * WS_W8(w[25]);
            s7 += e * WS_W8(w[29]);
            e = x[2];
            s0 += e * WS_W8(w[2]);
            s1 += e * WS_W8(w[6]);
            s2 += e * WS_W8(w[10]);
            s3 += e * WS_W8(w[14]);
            s4 += e * WS_W8(w[18]);
            s5 += e * WS_W8(w[22]);
            s6 += e * WS_W8(w[26]);
            s7 += e * WS_W8(w[30]);
            e = x[3];
            s0 += e * WS_W8(w[3]);
            s1 += e * WS_W8(w[7]);
            s2 += e * WS_W8(w[11]);
            s3 += e * WS_W8(w[15]);
            s4 += e * WS_W8(w[19]);
            s5 += e * WS_W8(w[23]);
            s6 += e * WS_W8(w[27]);
            s7 += e * WS_W8(w[31]);
        }
    }
    for (i = 0; i < left; ++i, ++w) {
        e = x[i];
        s0 += e * WS_W8(w[0]);
        s1 += e * WS_W8(w[left]);
        s2 += e * WS_W8(w[2 * left]);
        s3 += e * WS_W8(w[3 * left]);
        s4 += e * WS_W8(w[4 * left]);
        s5 += e * WS_W8(w[5 * left]);
        s6 += e * WS_W8(w[6 * left]);
        s7 += e * WS_W8(w[7 * left]);
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
    sum[4] = s4;
    sum[5] = s5;
    sum[6] = s6;
    sum[7] = s7;
}

/* The same of four rows. */
static WS_APART void ws_q_four_rows(const int8_t *x, const int8_t *w, const int32_t *b, int32_t *sum,
                                    int I) {
    int32_t s0 = WS_W32(b[0]), s1 = WS_W32(b[1]), s2 = WS_W32(b[2]), s3 = WS_W32(b[3]);
    const int left = I % 4;
    const int8_t *fours = x + (I - left);
    int i, e;
    for (; x < fours; x += 4, w += 16) {
        if (WS_SIMD32) {
            const uint32_t even = ws_q_even(ws_q_word(x)), odd = ws_q_odd(ws_q_word(x));
            s0 = ws_q_smlad(even, ws_q_even(ws_q_word(w)), s0);
            s1 = ws_q_smlad(even, ws_q_even(ws_q_word(w + 4)), s1);
            s2 = ws_q_smlad(even, ws_q_even(ws_q_word(w + 8)), s2);
            s3 = ws_q_smlad(even, ws_q_even(ws_q_word(w + 12)), s3);
            s0 = ws_q_smlad(odd, ws_q_odd(ws_q_word(w)), s0);
            s1 = ws_q_smlad(odd, ws_q_odd(ws_q_word(w + 4)), s1);
            s2 = ws_q_smlad(odd, ws_q_odd(ws_q_word(w + 8)), s2);
            s3 = ws_q_smlad(odd, ws_q_odd(ws_q_word(w + 12)), s3);
        } else {
            e = x[0];
            s0 += e * WS_W8(w[0]);
            s1 += e * WS_W8(w[4]);
            s2 += e * WS_W8(w[8]);
            s3 += e * WS_W8(w[12]);
            e = x[1];
            s0 += e * WS_W8(w[1]);
            s1 += e * WS_W8(w[5]);
            s2 += e * WS_W8(w[9]);
            s3 += e * WS_W8(w[13]);
            e = x[2];
            s0 += e * WS_W8(w[2]);
            s1 += e * WS_W8(w[6]);
            s2 += e * WS_W8(w[10]);
            s3 += e * WS_W8(w[14]);
            e = x[3];
            s0 += e * WS_W8(w[3]);
            s1 += e * WS_W8(w[7]);
            s2 += e * WS_W8(w[11]);
            s3 += e * WS_W8(w[15]);
        }
    }
    for (i = 0; i < left; ++i, ++w) {
        e = x[i];
        s0 += e * WS_W8(w[0]);
        s1 += e * WS_W8(w[left]);
        s2 += e * WS_W8(w[2 * left]);
        s3 += e * WS_W8(w[3 * left]);
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

/* sum[2 j] and sum[2 j + 1] = b[j] + the sums over i of x_i w_ji and z_i w_ji: four rows share each
   load of x and z, and these each of a weight. Numbers go by fours: those of x and of z take turns
   at `both`, those of the rows at w (I / 4, 4 rows, 4), so that one pointer finds them all. I is a
   multiple of 4. */
static WS_APART WS_IN_ORDER void ws_q_four_rows_of_two(const int8_t *both, const int8_t *w,
                                                       const int32_t *b, int32_t *sum, int I) {
    int32_t s0 = WS_W32(b[0]), s1 = WS_W32(b[1]), s2 = WS_W32(b[2]), s3 = WS_W32(b[3]);
    int32_t t0 = s0, t1 = s1, t2 = s2, t3 = s3;
    const int8_t *const end = w + 4 * I;
    int e, f, g;
    for (; w < end; both += 8, w += 16) {
        if (WS_SIMD32) {
            const uint32_t x = ws_q_even(ws_q_word(both)), z = ws_q_even(ws_q_word(both + 4));
            const uint32_t x1 = ws_q_odd(ws_q_word(both)), z1 = ws_q_odd(ws_q_word(both + 4));
            uint32_t four = ws_q_word(w);
            s0 = ws_q_smlad(x1, ws_q_odd(four), ws_q_smlad(x, ws_q_even(four), s0));
            t0 = ws_q_smlad(z1, ws_q_odd(four), ws_q_smlad(z, ws_q_even(four), t0));
            four = ws_q_word(w + 4);
            s1 = ws_q_smlad(x1, ws_q_odd(four), ws_q_smlad(x, ws_q_even(four), s1));
            t1 = ws_q_smlad(z1, ws_q_odd(four), ws_q_smlad(z, ws_q_even(four), t1));
            four = ws_q_word(w + 8);
            s2 = ws_q_smlad(x1, ws_q_odd(four), ws_q_smlad(x, ws_q_even(four), s2));
            t2 = ws_q_smlad(z1, ws_q_odd(four), ws_q_smlad(z, ws_q_even(four), t2));
            four = ws_q_word(w + 12);
            s3 = ws_q_smlad(x1, ws_q_odd(four), ws_q_smlad(x, ws_q_even(four), s3));
            t3 = ws_q_smlad(z1, ws_q_odd(four), ws_q_smlad(z, ws_q_even(four), t3));
        } else {
            e = both[0], f = both[4];
            g = WS_W8(w[0]), s0 += e * g, t0 += f * g;
            g = WS_W8(w[4]), s1 += e * g, t1 += f * g;
            g = WS_W8(w[8]), s2 += e * g, t2 += f * g;
            g = WS_W8(w[12]), s3 += e * g, t3 += f * g;
            e = both[1], f = both[5];
            g = WS_W8(w[1]), s0 += e * g, t0 += f * g;
            g = WS_W8(w[5]), s1 += e * g, t1 += f * g;
            g = WS_W8(w[9]), s2 += e * g, t2 += f * g;
            g = WS_W8(w[13]), s3 += e * g, t3 += f * g;
            e = both[2], f = both[6];
            g = WS_W8(w[2]), s0 += e * g, t0 += f * g;
            g = WS_W8(w[6]), s1 += e * g, t1 += f * g;
            g = WS_W8(w[10]), s2 += e * g, t2 += f * g;
            g = WS_W8(w[14]), s3 += e * g, t3 += f * g;
            e = both[3], f = both[7];
            g = WS_W8(w[3]), s0 += e * g, t0 += f * g;
            g = WS_W8(w[7]), s1 += e * g, t1 += f * g;
            g = WS_W8(w[11]), s2 += e * g, t2 += f * g;
            g = WS_W8(w[15]), s3 += e * g, t3 += f * g;
        }
    }
    sum[0] = s0, sum[1] = t0, sum[2] = s1, sum[3] = t1;
    sum[4] = s2, sum[5] = t2, sum[6] = s3, sum[7] = t3;
}

/* b + the sum over i of x_i w_i */
static int32_t ws_q_one_row(const int8_t *x, const int8_t *w, int32_t b, int I) {
    int i;
    for (i = 0; i < I; ++i) {
        b += x[i] * WS_W8(w[i]);
    }
    return b;
}

/* y (O) = f(x w^T + b) as int8: w (O, I), rows by eights as above, then four, then one by one; the
   input's zero point is in b; sums are scaled by m 2^-n, of each output its own. */
static void ws_q_dense(const int8_t *x, const int8_t *w, const int32_t *b, const int32_t *m,
                       const uint8_t *n, int32_t bend, int bendn, int zero, int low, int high,
                       int8_t *y, int I, int O) {
    int32_t sum[8];
    int o, rows;
    for (o = 0; o < O; o += rows, w += rows * I) {
        rows = O - o < 8 ? (O - o < 4 ? 1 : 4) : 8;
        if (rows == 8) {
            ws_q_eight_rows(x, w, b + o, sum, I);
        } else if (rows == 4) {
            ws_q_four_rows(x, w, b + o, sum, I);
        } else {
            sum[0] = ws_q_one_row(x, w, WS_W32(b[o]), I);
        }
        ws_q_fit_all(sum, m + o, n + o, bend, bendn, zero, low, high, y + o, NULL, rows);
    }
}

/* floor(t + 1/2) by the bits of t, at least -256 and at most 256; NaN is -256. */
static int ws_q_rounded(float t) {
    const int32_t bits = ws_bits(t), size = bits & 0x7fffffff, negative = bits < 0;
    const int below = 150 - (int)(size >> 23); /* bits of the fraction */
    int32_t whole = (size & 0x7fffff) | 0x800000;
    if (size > 0x7f800000) {
        return -256;
    }
    if (below > 24) {
        return 0;
    }
    if (below < 16) {
        return negative ? -256 : 256;
    }
    whole = (whole + ((int32_t)1 << (below - 1)) - negative) >> below;
    return (int)(negative ? -whole : whole);
}

/* q = zero + floor(x / scale + 1/2), clamped; inverse is 1 / scale. */
static void ws_q_quantise(const float *x, float inverse, int zero, int8_t *q, int O) {
    int i;
    for (i = 0; i < O; ++i) {
        q[i] = ws_q_clamped(ws_q_rounded(x[i] * inverse), zero, -128, 127);
    }
}

/* y = scale (q - zero) */
static void ws_q_dequantise(const int8_t *q, float scale, int zero, float *y, int O) {
    int i;
    for (i = 0; i < O; ++i) {
        y[i] = scale * (float)(q[i] - zero);
    }
}
