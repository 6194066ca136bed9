// Contexts of superposed models, and complex numbers laid out for real products: what these mean is
// in reference/context.py. `rows` are samples, `places` features of one.

// y = x c, feature by feature; y may be x.
template <typename T>
__global__ void __launch_bounds__(256)
context_multiply(int rows, int places, const T* x, const T* __restrict__ c, T* y)
{
    for (int row = row_index(); row < rows; row += row_count())
        for (int i = place_index(); i < places; i += place_count()) {
            const long long at = (long long)row * places + i;
            y[at] = x[at] * c[i];
        }
}

// dc = beta dc + the sum over rows of x dy.
template <typename T>
__global__ void __launch_bounds__(1024)
context_gradient(int rows, int places, const T* __restrict__ x, const T* __restrict__ dy, T beta,
                 T* dc)
{
    const auto term = [=](int row, int i) {
        const long long at = (long long)row * places + i;
        return Pack<T, 2>{x[at], dy[at]};
    };
    sum_down<Pack<T, 2>>(rows, places, beta, dc, term, Times());
}

// z (N, made, 2 I) of c x, x (N, given, I); c (2, I) may be null.
template <typename T>
__global__ void __launch_bounds__(256)
complex_expand(int rows, int places, int given, int made, const T* __restrict__ x,
               const T* __restrict__ c, T* z)
{
    for (int row = row_index(); row < rows; row += row_count())
        for (int i = place_index(); i < places; i += place_count()) {
            const T* from = x + (long long)row * given * places + i;
            T re = from[0], im = given == 2 ? from[places] : T(0);
            if (c) {
                const T a = re, b = im, cosine = c[i], sine = c[places + i];
                re = fma(a, cosine, -(b * sine));
                im = fma(a, sine, b * cosine);
            }
            T* to = z + (long long)row * made * 2 * places + i;
            to[0] = re;
            to[places] = -im;
            if (made == 2) {
                to[2 * places] = im;
                to[3 * places] = re;
            }
        }
}

// The transpose: dx (N, given, I) of dz (N, made, 2 I).
template <typename T>
__global__ void __launch_bounds__(256)
complex_contract(int rows, int places, int given, int made, const T* __restrict__ dz,
                 const T* __restrict__ c, T* dx)
{
    for (int row = row_index(); row < rows; row += row_count())
        for (int i = place_index(); i < places; i += place_count()) {
            const T* from = dz + (long long)row * made * 2 * places + i;
            T re = from[0], im = -from[places];
            if (made == 2) {
                re += from[3 * places];
                im += from[2 * places];
            }
            if (c) {
                const T a = re, b = im, cosine = c[i], sine = c[places + i];
                re = fma(a, cosine, b * sine);
                im = fma(b, cosine, -(a * sine));
            }
            T* to = dx + (long long)row * given * places + i;
            to[0] = re;
            if (given == 2) to[places] = im;
        }
}
