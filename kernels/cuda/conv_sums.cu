// A convolution's sums that are no products.

// dw = beta dw + the sums of all groups in `work`, one after the other, and db likewise.
template <typename T>
__global__ void conv2d_gather(long long count, int groups, int taps, int O,
                              const T* __restrict__ work, T beta, T* dw, T* db)
{
    for (long long at = thread_index(); at < count; at += thread_count()) {
        const int tap = at / O, o = at % O;
        T* to = tap < taps ? dw + (long long)o * taps + tap : db + o;
        T sum = kept(beta, to);
#pragma unroll 4
        for (int group = 0; group < groups; ++group) sum += work[group * count + at];
        *to = sum;
    }
}

// out (groups, size): |a| summed over each group's samples of a (N, size). blockIdx.y: the group.
template <typename T>
__global__ void conv2d_fold(long long size, int N, const T* __restrict__ a, T* out)
{
    const int share = (N + gridDim.y - 1) / gridDim.y;
    const int begin = blockIdx.y * share, end = min(begin + share, N);
    for (long long at = thread_index(); at < size; at += thread_count()) {
        T sum = T(0);
        for (int n = begin; n < end; ++n) sum += fabs(a[n * size + at]);
        out[blockIdx.y * size + at] = sum;
    }
}

// From the folded samples of x and of y: dw += |w| sum of what each tap sees, db += sum of y.
// A block has 32 channels of a tap's row and column, or, the last ones, 32 filters of db.
template <typename T>
__global__ void __launch_bounds__(1024)
conv2d_signal(GEOMETRY, int x_groups, int y_groups, const T* __restrict__ x,
              const T* __restrict__ y, const T* __restrict__ w, T* dw, T* db)
{
    __shared__ T shares[32][33];
    const int chunks = (C + 31) / 32, weight_blocks = R * S * chunks;
    const bool bias = blockIdx.x >= weight_blocks;
    const int chunk = bias ? blockIdx.x - weight_blocks : blockIdx.x % chunks;
    const int pixel = blockIdx.x / chunks, r = pixel / S, s = pixel % S;
    const int c = chunk * 32 + threadIdx.x;
    T share = T(0);
    if (c < (bias ? O : C))
        for (int p = threadIdx.y; p < rows * columns; p += blockDim.y) {
            if (bias) {
                for (int g = 0; g < y_groups; ++g)
                    share += y[((long long)g * rows * columns + p) * O + c];
            } else {
                const int i = p / columns * down - top + r * tap_down;
                const int j = p % columns * across - left + s * tap_across;
                if (unsigned(i) < unsigned(H) && unsigned(j) < unsigned(W))
                    for (int g = 0; g < x_groups; ++g)
                        share += x[(((long long)g * H + i) * W + j) * C + c];
            }
        }
    shares[threadIdx.y][threadIdx.x] = share;
    __syncthreads();
    T total = T(0);
    for (int i = 0; i < blockDim.y; ++i) total += shares[i][threadIdx.x];
    if (bias) {
        if (c < O && threadIdx.y == 0) db[c] += total;
    } else if (c < C) {
        const int each = C / groups, filters = O / groups, first = c / each * filters;
        for (int o = first + threadIdx.y; o < first + filters; o += blockDim.y) {
            const long long at = ((long long)o * R * S + pixel) * each + c % each;
            dw[at] = fma(fabs(w[at]), total, dw[at]);
        }
    }
}
