/* A memory of fixed size that holds a uniform choice of all samples seen (Vitter's reservoir). */

/* a number in 0..limit-1 that follows from `count` alone: a counter, mixed */
static uint32_t ws_random(uint32_t seed, uint32_t count, uint32_t limit) {
    uint32_t h = (seed ^ 0x9e3779b9U) + count * 0x85ebca6bU;
    h ^= h >> 16;
    h *= 0x7feb352dU;
    h ^= h >> 15;
    h *= 0x846ca68bU;
    h ^= h >> 16;
    return (uint32_t)(((uint64_t)h * limit) >> 32);
}

/* a row for sample number `seen` (from 0) of a memory of `size`: -1 where it is not kept */
static int32_t ws_reservoir(uint32_t seed, uint32_t seen, int32_t size) {
    uint32_t row;
    if (seen < (uint32_t)size) {
        return (int32_t)seen;
    }
    row = ws_random(seed, seen, seen + 1);
    return row < (uint32_t)size ? (int32_t)row : -1;
}

/* q = x / scale, rounded to the nearest (half away from 0), with the zero point, as bytes */
static void ws_to_bytes(const float *x, float inverse, int32_t zero, uint8_t *q, int I) {
    int i;
    for (i = 0; i < I; ++i) {
        float scaled = x[i] * inverse;
        int32_t whole;
        scaled = scaled > 512.0F ? 512.0F : scaled;
        scaled = scaled < -512.0F ? -512.0F : scaled;
        whole = (int32_t)(scaled + (scaled < 0.0F ? -0.5F : 0.5F)) + zero;
        q[i] = (uint8_t)(whole < 0 ? 0 : whole > 255 ? 255 : whole);
    }
}

/* x = scale (q - zero) */
static void ws_from_bytes(const uint8_t *q, float scale, int32_t zero, float *x, int I) {
    int i;
    for (i = 0; i < I; ++i) {
        x[i] = scale * (float)((int32_t)q[i] - zero);
    }
}
