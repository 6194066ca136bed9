// Convolutions as matrix products whose left factor is read out of images: nothing is unrolled in
// memory. Images are NHWC, x (N, H, W, C), filters (O, R, S, C), y and dz (N, rows, columns, O).
//
// A `position` is a sample's row and column of y, numbered from 0 to N rows columns. A `tap` is a
// filter's row, column and channel, numbered as the filters lie in memory. At (position, tap) lies
// the number that this position sees there: of the image, or 0 outside. One reader, `Windows`, says
// so; a product over taps (forward) takes positions as its rows, one over positions (the weights'
// gradient) takes taps. So every product has the long axis as m and filters or channels as n.

// Division by a number that is the same for the whole launch, as a multiplication. For a < 2^31 and
// 2^s < d <= 2^(s + 1), a / d is a ceil(2^(32 + s) / d) / 2^(32 + s), rounded down; conv.py sends
// that `magic` number, and 0 for d = 1.
struct Divisor {
    int by;
    unsigned magic;
    int shift;

    __device__ Divisor(int d, unsigned number)
        : by(d), magic(number), shift(d > 1 ? 31 - __clz(d - 1) : 0) {}

    // One made here, without a long division: right as long as a d < 2^32.
    __device__ explicit Divisor(int d) : by(d), magic(d > 1 ? 0xffffffffu / d + 1 : 0), shift(0) {}

    __device__ int divide(int a) const
    {
        return magic ? int(__umulhi(unsigned(a), magic) >> shift) : a;
    }
};

// What every kernel is told of the sizes, GEOMETRY, is a macro of conv.py.
#define WINDOWS(images)                                                                            \
    {images, H, W, C, N * rows * columns, R * S * C, down, across, top, left, tap_down, tap_across, \
     {C, by_C}, {S, by_S}, {rows, by_rows}, {columns, by_columns}}

enum { OUTSIDE = -(1 << 30) };  // a row that lies in no image, whatever a tap adds to it

// Offsets within an image are int, from image to image long long.
template <typename T>
struct Windows {
    const T* images;
    int H, W, C, positions, taps, down, across, top, left, tap_down, tap_across;
    Divisor by_C, by_S, by_rows, by_columns;

    struct Position {
        const T* corner;  // of the window; it may lie outside of the image
        int i, j;         // the corner's row and column
    };
    struct Tap {
        int offset, i, j;  // from the corner
    };

    __device__ Position position(int p) const
    {
        if (p >= positions) return {images, OUTSIDE, 0};
        const int line = by_columns.divide(p), n = by_rows.divide(line);
        const int i = (line - n * by_rows.by) * down - top;
        const int j = (p - line * by_columns.by) * across - left;
        return {images + (long long)n * (H * W * C) + (i * W + j) * C, i, j};
    }

    __device__ Tap tap(int k) const
    {
        const int pixel = by_C.divide(k), r = by_S.divide(pixel);
        const int c = k - pixel * C, s = pixel - r * by_S.by;
        const int i = r * tap_down, j = s * tap_across;
        return {(i * W + j) * C + c, i, j};
    }

    // `to` stays where the tap falls outside of the image.
    template <int PIECE>
    __device__ void look(T (&to)[PIECE], const Position& at, const Tap& tap, bool wanted) const
    {
        const int i = at.i + tap.i, j = at.j + tap.j;
        const bool inside = unsigned(i) < unsigned(H) && unsigned(j) < unsigned(W);
        load_if(to, wanted && inside, at.corner + tap.offset);
    }
};

// Pieces run along channels, so their number must be a multiple of PIECE.
template <class P>
struct ByPosition : Windows<typename P::Real> {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = true;
    static constexpr int PIECE = P::PIECE;
    typedef typename Windows<T>::Position Row;
    typedef typename Windows<T>::Tap Step;

    __device__ Row row(int p) const { return this->position(p); }
    __device__ Step step(int k) const { return this->tap(k); }
    __device__ void read(T (&to)[PIECE], const Row& row, const Step& at, bool inside) const
    {
        fill(to, T(0));
        this->look(to, row, at, inside);
    }
};

// The tap after the last one sees a 1 everywhere: it is the bias's, whose gradient is so one more
// row of the product.
template <class P>
struct ByTap : Windows<typename P::Real> {
    typedef typename P::Real T;
    static constexpr bool ALONG_K = false;
    static constexpr int PIECE = P::PIECE;
    struct Row {
        typename Windows<T>::Tap tap;
        T outside;
    };
    typedef typename Windows<T>::Position Step;

    __device__ Row row(int k) const
    {
        if (k < this->taps) return {this->tap(k), T(0)};
        return {{0, OUTSIDE, 0}, k == this->taps ? T(1) : T(0)};
    }
    __device__ Step step(int p) const { return this->position(p); }
    __device__ void read(T (&to)[PIECE], const Row& row, const Step& at, bool inside) const
    {
        fill(to, T(0));
        to[0] = row.outside;
        this->look(to, at, row.tap, inside);
    }
};

// The samples that a block sums, of N: the blocks along z share them out.
struct Group {
    int begin, end;
    __device__ explicit Group(int N)
        : begin(int(blockIdx.z * (long long)N / gridDim.z)),
          end(int((blockIdx.z + 1) * (long long)N / gridDim.z)) {}
};

// Write a tile of (tap, filter) sums: into `work`, where blockIdx.z has its group, filters side by
// side; or, where work is null, into dw = beta dw + sums, and db likewise if there is one.
template <class P, typename T>
__device__ void deliver(P& product, int m0, int n0, int taps, int O, T beta, T* work, T* dw, T* db)
{
    const int all = taps + (db ? 1 : 0);
    if (work) {
        T* mine = work + (long long)blockIdx.z * all * O;
        product.each(m0, n0, all, O, [=](int tap, int o, T g) { mine[tap * O + o] = g; });
    } else {
        product.each(m0, n0, all, O, [=](int tap, int o, T g) {
            T* to = tap < taps ? dw + (long long)o * taps + tap : db + o;
            *to = kept(beta, to) + g;
        });
    }
}
