// Mathematics and bits. <math.h> brings exp(float) and exp(double) beside expf, as NVRTC does.
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qualifiers.h"

extern "C" int printf(const char* format, ...);

// ---- the same bits as another type ----

template <class To, class From>
inline To coh_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the sizes must agree");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline float __int_as_float(int bits) { return coh_as<float>(bits); }
inline float __uint_as_float(unsigned bits) { return coh_as<float>(bits); }
inline int __float_as_int(float x) { return coh_as<int>(x); }
inline unsigned __float_as_uint(float x) { return coh_as<unsigned>(x); }
inline double __longlong_as_double(long long bits) { return coh_as<double>(bits); }
inline long long __double_as_longlong(double x) { return coh_as<long long>(x); }

// ---- loads and stores with a word to the cache ----

template <class T> inline T __ldg(const T* at) { return *at; }
template <class T> inline T __ldca(const T* at) { return *at; }
template <class T> inline T __ldcg(const T* at) { return *at; }
template <class T> inline T __ldcs(const T* at) { return *at; }
template <class T> inline T __ldlu(const T* at) { return *at; }
template <class T> inline T __ldcv(const T* at) { return *at; }
template <class T> inline void __stcg(T* at, T value) { *at = value; }
template <class T> inline void __stcs(T* at, T value) { *at = value; }
template <class T> inline void __stwb(T* at, T value) { *at = value; }
template <class T> inline void __stwt(T* at, T value) { *at = value; }

// ---- the smaller and the larger, for the pairs of types that CUDA has ----

#define COH_MIN_MAX(result, left, right)                                                   \
    inline result min(left a, right b)                                                     \
    {                                                                                      \
        return static_cast<result>(a) < static_cast<result>(b) ? static_cast<result>(a)    \
                                                               : static_cast<result>(b);   \
    }                                                                                      \
    inline result max(left a, right b)                                                     \
    {                                                                                      \
        return static_cast<result>(a) > static_cast<result>(b) ? static_cast<result>(a)    \
                                                               : static_cast<result>(b);   \
    }

COH_MIN_MAX(int, int, int)
COH_MIN_MAX(unsigned, unsigned, unsigned)
COH_MIN_MAX(unsigned, int, unsigned)
COH_MIN_MAX(unsigned, unsigned, int)
COH_MIN_MAX(long, long, long)
COH_MIN_MAX(unsigned long, unsigned long, unsigned long)
COH_MIN_MAX(unsigned long, long, unsigned long)
COH_MIN_MAX(unsigned long, unsigned long, long)
COH_MIN_MAX(long long, long long, long long)
COH_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
COH_MIN_MAX(unsigned long long, long long, unsigned long long)
COH_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef COH_MIN_MAX

// of numbers, NaN is never the answer
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(double(a), b); }
inline double max(float a, double b) { return fmax(double(a), b); }
inline double min(double a, float b) { return fmin(a, double(b)); }
inline double max(double a, float b) { return fmax(a, double(b)); }

// ---- functions that CUDA adds, and its quick ones, which are exact here ----

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// ---- arithmetic that is rounded once and never fused with its neighbours ----

template <class T>
inline T coh_rounded(T x)
{
    asm volatile("" : "+m"(x));
    return x;
}

inline float __fadd_rn(float a, float b) { return coh_rounded(a + b); }
inline float __fsub_rn(float a, float b) { return coh_rounded(a - b); }
inline float __fmul_rn(float a, float b) { return coh_rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return coh_rounded(a / b); }
inline float __frcp_rn(float x) { return coh_rounded(1.0f / x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return coh_rounded(a + b); }
inline double __dsub_rn(double a, double b) { return coh_rounded(a - b); }
inline double __dmul_rn(double a, double b) { return coh_rounded(a * b); }
inline double __ddiv_rn(double a, double b) { return coh_rounded(a / b); }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// ---- numbers of one type as another ----

inline int __float2int_rn(float x) { return int(nearbyintf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline int __float2int_ru(float x) { return int(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return unsigned(nearbyintf(x)); }
inline unsigned __float2uint_rz(float x) { return unsigned(x); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }

// ---- bits ----

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }

inline unsigned __brev(unsigned x)
{
    unsigned reversed = 0;
    for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1u) << (31 - i);
    return reversed;
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return unsigned((unsigned long long)a * b >> 32);
}

inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
