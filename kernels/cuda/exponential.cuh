// exp, tanh and log by the formulas of kernels/cpu/exponential.py, operation for operation: a
// library's own give other bits on another machine, and these the cpu's. The numbers are those of
// kernels/series.py; launch.py hands them over as the macros SERIES_*.

// sum_k c_k x^k by Horner's rule, the highest power first.
template <typename T, int TERMS>
__device__ __forceinline__ T horner(const T (&numbers)[TERMS], T x)
{
    T sum = numbers[0];
#pragma unroll
    for (int i = 1; i < TERMS; ++i) sum = fma(sum, x, numbers[i]);
    return sum;
}

template <typename T>
struct Float;

template <>
struct Float<float> {
    typedef int Whole;  // as many bits
    enum { DIGITS = SERIES_float_digits, BIAS = SERIES_float_bias };
    static constexpr float HIGH = SERIES_float_high, LOW = SERIES_float_low;
    static constexpr float MAGIC = SERIES_float_magic;
    static constexpr float LEAST = SERIES_float_least, MOST = SERIES_float_most;

    __device__ static int bits(float x) { return __float_as_int(x); }
    __device__ static float from(int bits) { return __int_as_float(bits); }
    __device__ static float polynomial(float r)
    {
        constexpr float numbers[] = {SERIES_float_polynomial};
        return horner(numbers, r);
    }
    __device__ static float logarithm(float square)
    {
        constexpr float numbers[] = {SERIES_float_logarithm};
        return horner(numbers, square);
    }
};

template <>
struct Float<double> {
    typedef long long Whole;
    enum { DIGITS = SERIES_double_digits, BIAS = SERIES_double_bias };
    static constexpr double HIGH = SERIES_double_high, LOW = SERIES_double_low;
    static constexpr double MAGIC = SERIES_double_magic;
    static constexpr double LEAST = SERIES_double_least, MOST = SERIES_double_most;

    __device__ static long long bits(double x) { return __double_as_longlong(x); }
    __device__ static double from(long long bits) { return __longlong_as_double(bits); }
    __device__ static double polynomial(double r)
    {
        constexpr double numbers[] = {SERIES_double_polynomial};
        return horner(numbers, r);
    }
    __device__ static double logarithm(double square)
    {
        constexpr double numbers[] = {SERIES_double_logarithm};
        return horner(numbers, square);
    }
};

// x = n ln 2 + r: exp(r) - 1, and 2^n in two factors, for 2^n itself may be no normal number.
template <typename T>
struct Reduced {
    typedef typename Float<T>::Whole Whole;
    T rest, half, other;

    __device__ __forceinline__ explicit Reduced(T x)
    {
        x = x < Float<T>::LEAST ? Float<T>::LEAST : x;  // this way round, NaN stays NaN
        x = x > Float<T>::MOST ? Float<T>::MOST : x;
        const T t = fma(x, T(SERIES_LOG2E), T(Float<T>::MAGIC)), n = t - Float<T>::MAGIC;
        const T r = fma(-n, T(Float<T>::LOW), fma(-n, T(Float<T>::HIGH), x));
        rest = fma(Float<T>::polynomial(r) * r, r, r);
        const Whole whole = Float<T>::bits(t) - Float<T>::bits(Float<T>::MAGIC);
        half = power_of_two(whole >> 1);
        other = power_of_two(whole - (whole >> 1));
    }

    __device__ __forceinline__ static T power_of_two(Whole n)
    {
        return Float<T>::from((unsigned long long)(n + Float<T>::BIAS) << Float<T>::DIGITS);
    }
};

template <typename T>
__device__ __forceinline__ T exponential(T x)
{
    const Reduced<T> e(x);
    return (e.rest + T(1)) * e.half * e.other;
}

// tanh x = -m / (m + 2) with m = exp(-2 |x|) - 1, and odd.
template <typename T>
__device__ __forceinline__ T hyperbolic_tangent(T x)
{
    const Reduced<T> e(T(-2) * fabs(x));
    const T scale = e.half * e.other, m = fma(scale, e.rest, scale - T(1));
    return copysign(m / (m + T(2)), x);
}

// ln x of a positive, normal x = m 2^e, sqrt(1/2) <= m < sqrt(2): e ln 2 + 2 atanh(s),
// s = (m - 1) / (m + 1). NaN gives NaN.
template <typename T>
__device__ __forceinline__ T logarithm(T x)
{
    typedef typename Float<T>::Whole Whole;
    const Whole bits = Float<T>::bits(x);
    const Whole e = (bits - Float<T>::bits(T(SERIES_MIDDLE))) >> Float<T>::DIGITS;
    const T m = Float<T>::from(bits - (Whole)((unsigned long long)e << Float<T>::DIGITS));
    const T s = (m - T(1)) / (m + T(1)), square = s * s;
    const T twice = s + s, p = Float<T>::logarithm(square);
    return x == x ? fma(T(e), T(SERIES_LN2), fma(twice * square, p, twice)) : x;
}
