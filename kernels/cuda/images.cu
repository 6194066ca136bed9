// Moving pictures and picking samples.

// y[n, i, j] = x[n, i + down[n], j + across[n]], mirrored where flip[n]; what lies outside x is
// `outside` (C,). A thread moves PACK neighbouring channels of a pixel; `rows` are those of all
// images, `places` a row's packs of channels, pixel after pixel.
template <typename T, int PACK>
__global__ void __launch_bounds__(256)
shift_flip(int rows, int places, int H, int W, int C, const T* __restrict__ x,
           const long long* __restrict__ down, const long long* __restrict__ across,
           const bool* __restrict__ flip, const T* __restrict__ outside, T* y)
{
    for (int row = row_index(); row < rows; row += row_count()) {
        const Quotient image(row, H);
        const int n = image.whole;
        const long long r = image.rest + down[n], left = across[n];
        const bool mirrored = flip[n], within = r >= 0 && r < H;
        const T* line = x + (n * (long long)H + r) * W * C;
        for (int place = place_index(); place < places; place += place_count()) {
            const Quotient spot(place, C / PACK);
            const int j = spot.whole, c = spot.rest * PACK;
            const long long s = (mirrored ? W - 1 - j : j) + left;
            Pack<T, PACK> pixel;
            if (within && s >= 0 && s < W) {
                pixel = load<PACK>(line + s * C + c);
            } else {
#pragma unroll
                for (int k = 0; k < PACK; ++k) pixel.at[k] = outside[c + k];
            }
            store(y + ((long long)row * W + j) * C + c, pixel);
        }
    }
}

// out[i] = x[rows[i]], where a row is `places` units of SIZE words: 16 bytes, or what fits. A row
// that x (M rows) does not have gives bits that are all set: NaN, or -1.
template <typename Word, int SIZE>
__global__ void __launch_bounds__(256)
gather_rows(int count, int places, long long M, const Pack<Word, SIZE>* __restrict__ x,
            const long long* __restrict__ rows, Pack<Word, SIZE>* out)
{
    for (int i = row_index(); i < count; i += row_count()) {
        const long long from = rows[i];
        const bool there = from >= 0 && from < M;
        for (int place = place_index(); place < places; place += place_count()) {
            Pack<Word, SIZE> unit;
            for (Word& word : unit.at) word = ~Word(0);
            if (there) unit = x[from * places + place];
            out[(long long)i * places + place] = unit;
        }
    }
}
