// Pooling over windows of images: x (N, H, W, C) and y (N, h, w, C); cotangents may be V stacked
// ones, (V N, ...). A thread makes PACK neighbouring channels of one pixel. Backward, a pixel
// gathers from the windows that cover it, in their order: nobody adds to what another one writes.
//
// `rows` are those of all images, `places` a row's packs of channels, pixel after pixel.

// A window along one axis: output i covers the pixels from i stride - padding on, `size` of them.
struct Window {
    int size, stride, padding;

    __device__ int begin(int i) const { return i * stride - padding; }

    // The places in window i that lie in an image of `length` pixels: from here to there.
    __device__ int from(int i) const { return begin(i) < 0 ? -begin(i) : 0; }
    __device__ int to(int i, int length) const
    {
        return begin(i) + size < length ? size : length - begin(i);
    }

    // The windows that cover pixel p, the first and the last of `count`.
    __device__ int first(int p) const
    {
        const int before = p + padding - size;  // where the last window begins that misses p
        return before < 0 ? 0 : before / stride + 1;
    }
    __device__ int last(int p, int count) const
    {
        const int i = (p + padding) / stride;
        return i < count ? i : count - 1;
    }
};

template <typename T, int PACK>
__device__ Pack<T, PACK> zeros()
{
    Pack<T, PACK> pack;
    for (T& value : pack.at) value = T(0);
    return pack;
}

// y = the largest value of each window, index = where it stood, counted row by row in the window.
// Only pixels inside the image take part; of equal values the first one wins, and the first NaN
// beats all.
template <typename T, int PACK>
__global__ void __launch_bounds__(256)
max_pool_forward(int rows, int places, int H, int W, int C, int h, int w, int size_down,
                 int size_across, int stride_down, int stride_across, int padding_down,
                 int padding_across, const T* __restrict__ x, unsigned short* index, T* y)
{
    const Window down{size_down, stride_down, padding_down};
    const Window across{size_across, stride_across, padding_across};
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, h);
        const int i = image.rest, r0 = down.from(i), r1 = down.to(i, H);
        const T* top = x + ((long long)image.whole * H + down.begin(i)) * W * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int j = spot.whole, c = spot.rest * PACK;
            const int s0 = across.from(j), s1 = across.to(j, W);
            const T* corner = top + across.begin(j) * C + c;
            auto best = load<PACK>(corner + (r0 * W + s0) * C);
            Pack<unsigned short, PACK> where;
            for (auto& tap : where.at) tap = r0 * size_across + s0;
            for (int r = r0; r < r1; ++r) {
                for (int s = s0; s < s1; ++s) {
                    const auto value = load<PACK>(corner + (r * W + s) * C);
#pragma unroll
                    for (int k = 0; k < PACK; ++k) {
                        // the first is true for NaN, the second false where the best is NaN
                        if (!(value.at[k] <= best.at[k]) && best.at[k] == best.at[k]) {
                            best.at[k] = value.at[k];
                            where.at[k] = r * size_across + s;
                        }
                    }
                }
            }
            const long long at = ((long long)row * w + j) * C + c;
            store(y + at, best);
            store(index + at, where);
        }
    }
}

// dx = dy where its value came from, summed where windows overlap; else 0.
template <typename T, int PACK>
__global__ void __launch_bounds__(256)
max_pool_backward(int rows, int places, int N, int H, int W, int C, int h, int w, int size_down,
                  int size_across, int stride_down, int stride_across, int padding_down,
                  int padding_across, const unsigned short* __restrict__ index,
                  const T* __restrict__ dy, T* dx)
{
    const Window down{size_down, stride_down, padding_down};
    const Window across{size_across, stride_across, padding_across};
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, H);
        const int r = image.rest, i0 = down.first(r), i1 = down.last(r, h);
        const unsigned short* taken = index + (long long)Quotient(image.whole, N).rest * h * w * C;
        const T* given = dy + (long long)image.whole * h * w * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int s = spot.whole, c = spot.rest * PACK;
            const int j0 = across.first(s), j1 = across.last(s, w);
            auto sum = zeros<T, PACK>();
            for (int i = i0; i <= i1; ++i) {
                for (int j = j0; j <= j1; ++j) {
                    const int tap = (r - down.begin(i)) * size_across + s - across.begin(j);
                    const int at = (i * w + j) * C + c;
                    const auto from = load<PACK>(taken + at);
                    const auto d = load<PACK>(given + at);
#pragma unroll
                    for (int k = 0; k < PACK; ++k)
                        if (from.at[k] == tap) sum.at[k] += d.at[k];
                }
            }
            store(dx + ((long long)row * W + s) * C + c, sum);
        }
    }
}

// ty = tx where the value came from.
template <typename T, int PACK>
__global__ void __launch_bounds__(256)
max_pool_tangent(int rows, int places, int H, int W, int C, int h, int w, int size_down,
                 int size_across, int stride_down, int stride_across, int padding_down,
                 int padding_across, const unsigned short* __restrict__ index,
                 const T* __restrict__ tx, T* ty)
{
    const Window down{size_down, stride_down, padding_down};
    const Window across{size_across, stride_across, padding_across};
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, h);
        const T* top = tx + ((long long)image.whole * H + down.begin(image.rest)) * W * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int j = spot.whole, c = spot.rest * PACK;
            const T* corner = top + across.begin(j) * C + c;
            const long long at = ((long long)row * w + j) * C + c;
            const auto from = load<PACK>(index + at);
            Pack<T, PACK> moved;
#pragma unroll
            for (int k = 0; k < PACK; ++k) {
                const Quotient tap(from.at[k], size_across);
                moved.at[k] = corner[(tap.whole * W + tap.rest) * C + k];
            }
            store(ty + at, moved);
        }
    }
}

// One of `down` or `across`: the pixels from `first` to `end`, which is not included, and how many
// of them the sum is divided by.
struct Stretch {
    long long first, end, count;

    __device__ bool covers(int pixel) const { return int(first) <= pixel && pixel < int(end); }
};

// y[i, j] = the sum over down[i] and across[j], divided by the product of their counts.
template <typename T, int PACK>
__global__ void __launch_bounds__(256, 4)
average_pool_forward(int rows, int places, int H, int W, int C, int h, int w,
                     const Stretch* __restrict__ down, const Stretch* __restrict__ across,
                     const T* __restrict__ x, T* y)
{
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, h);
        const Stretch tall = down[image.rest];
        const int top = tall.first, bottom = tall.end;
        const T* pixels = x + (long long)image.whole * H * W * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int j = spot.whole, c = spot.rest * PACK;
            const Stretch wide = across[j];
            const int left = wide.first, right = wide.end;
            auto sum = zeros<T, PACK>();
            for (int r = top; r < bottom; ++r) {
#pragma unroll 4
                for (int s = left; s < right; ++s) {
                    const auto value = load<PACK>(pixels + (r * W + s) * C + c);
#pragma unroll
                    for (int k = 0; k < PACK; ++k) sum.at[k] += value.at[k];
                }
            }
            const T share = T(1) / T(int(tall.count) * int(wide.count));
            for (T& value : sum.at) value *= share;
            store(y + ((long long)row * w + j) * C + c, sum);
        }
    }
}

// The first and the last window that cover a pixel, first > last where none does. Windows may
// overlap and come in any order, so there may be some in between that do not.
struct Cover {
    int first, last;

    __device__ Cover(int pixel, const Stretch* windows, int count) : first(count), last(-1)
    {
        for (int i = 0; i < count; ++i) {
            if (windows[i].covers(pixel)) {
                last = i;
                if (first == count) first = i;
            }
        }
    }
};

// dx = each dy shared out evenly over its window. A block first notes which windows cover each of
// the W columns; a thread looks for those of a row when it comes to one.
template <typename T, int PACK>
__global__ void __launch_bounds__(256, 4)
average_pool_backward(int rows, int places, int H, int W, int C, int h, int w,
                      const Stretch* __restrict__ down, const Stretch* __restrict__ across,
                      const T* __restrict__ dy, T* dx)
{
    extern __shared__ int covers[];  // (2, W): the first and the last window of each column
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    for (int s = thread; s < W; s += blockDim.x * blockDim.y) {
        const Cover columns(s, across, w);
        covers[s] = columns.first;
        covers[W + s] = columns.last;
    }
    __syncthreads();
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, H);
        const int r = image.rest;
        const Cover cover(r, down, h);
        const T* given = dy + (long long)image.whole * h * w * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int s = spot.whole, c = spot.rest * PACK;
            auto sum = zeros<T, PACK>();
            for (int i = cover.first; i <= cover.last; ++i) {
                const Stretch tall = down[i];
                for (int j = covers[s]; j <= covers[W + s]; ++j) {
                    const Stretch wide = across[j];
                    if (!tall.covers(r) || !wide.covers(s)) continue;
                    const auto d = load<PACK>(given + (i * w + j) * C + c);
                    const T share = T(1) / T(int(tall.count) * int(wide.count));
#pragma unroll
                    for (int k = 0; k < PACK; ++k) sum.at[k] = fma(share, d.at[k], sum.at[k]);
                }
            }
            store(dx + ((long long)row * W + s) * C + c, sum);
        }
    }
}
