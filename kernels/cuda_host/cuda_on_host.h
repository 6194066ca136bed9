// cuda_on_host.h - lets g++ compile restricted CUDA C++ kernels (.cu) for running on the CPU.
// Included before the .cu source; the scheduler lives in coh_runtime.cpp (same shared library).
#pragma once
#include <math.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static            /* blocks run one after another: one copy is enough */
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#ifndef __restrict__
#define __restrict__ __restrict
#endif
#define CUDA_ON_HOST 1

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) double2 { double x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

// ---- what the runtime (uninstrumented translation unit) provides --------------------------------
struct coh_state { uint3 tid, bid; dim3 bdim, gdim; };
extern "C" {
extern __attribute__((visibility("hidden"))) coh_state* coh_cur;  // heap object; its fields change per switch
void  coh_syncthreads(const char* file, int line, int pred, int* out /* [0]=and [1]=or [2]=count */);
void  coh_syncwarp(unsigned mask, const char* file, int line);
// exchange: every lane of mask publishes <=16 bytes and reads lane src's (or its own if out of range)
unsigned coh_shfl(unsigned mask, void* val, int size, int kind, int arg, int width, const char* file, int line);
unsigned coh_ballot(unsigned mask, int pred, const char* file, int line);
void* coh_dynamic_shared();
void  coh_atomic(void* p, int size, void* pc);                   // checker: an atomic read-modify-write
void  coh_trap(const char* what, const char* file, int line);
}
#define threadIdx (coh_cur->tid)
#define blockIdx  (coh_cur->bid)
#define blockDim  (coh_cur->bdim)
#define gridDim   (coh_cur->gdim)
static constexpr int warpSize = 32;

#define __syncthreads()          coh_syncthreads(__FILE__, __LINE__, 0, nullptr)
#define __syncwarp(...)          coh_syncwarp(coh_mask_(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_sync(m, ...)      coh_shfl_(m, 0, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_up_sync(m, ...)   coh_shfl_(m, 1, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_down_sync(m, ...) coh_shfl_(m, 2, __FILE__, __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(m, ...)  coh_shfl_(m, 3, __FILE__, __LINE__, __VA_ARGS__)
#define __ballot_sync(m, p)      coh_ballot(m, (p) ? 1 : 0, __FILE__, __LINE__)
#define __any_sync(m, p)         (__ballot_sync(m, p) != 0u)
#define __all_sync(m, p)         (__ballot_sync(m, !(p)) == 0u)
#define __syncthreads_or(p)      coh_st_(p, 1, __FILE__, __LINE__)
#define __syncthreads_and(p)     coh_st_(p, 0, __FILE__, __LINE__)
#define __syncthreads_count(p)   coh_st_(p, 2, __FILE__, __LINE__)
#define __threadfence()          ((void)0)
#define __threadfence_block()    ((void)0)
#define __trap()                 coh_trap("__trap()", __FILE__, __LINE__)
#define assert(c)                ((c) ? (void)0 : coh_trap("assert(" #c ")", __FILE__, __LINE__))
#define COH_NOSAN __attribute__((no_sanitize("thread")))

inline unsigned coh_mask_(unsigned m = 0xffffffffu) { return m; }
inline int coh_st_(int p, int i, const char* f, int l) { int o[3]; coh_syncthreads(f, l, p ? 1 : 0, o); return o[i]; }
template <class T> COH_NOSAN inline T coh_shfl_(unsigned m, int kind, const char* f, int l, T v, int arg, int width = 32) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable<T>::value, "shfl type");
    coh_shfl(m, &v, sizeof(T), kind, arg, width, f, l);
    return v;
}
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, T v) { *p = v; }

// ---- atomics: one OS thread runs everything and fibers switch only at barriers -------------------
#ifdef COH_CHECK
#define COH_AT_ COH_NOSAN __attribute__((noinline))
#define COH_AT_NOTE_(p) coh_atomic((void*)(p), sizeof(*(p)), __builtin_return_address(0));
#else
#define COH_AT_ inline
#define COH_AT_NOTE_(p)
#endif
template <class T> struct coh_id_ { typedef T type; };
#define COH_ATOMIC(name, expr) \
    template <class T> COH_AT_ T name(T* p, typename coh_id_<T>::type v) { \
        COH_AT_NOTE_(p) T o = *p; *p = (T)(expr); return o; }
COH_ATOMIC(atomicAdd, o + v)
COH_ATOMIC(atomicSub, o - v)
COH_ATOMIC(atomicMax, o > v ? o : v)
COH_ATOMIC(atomicMin, o < v ? o : v)
COH_ATOMIC(atomicExch, v)
COH_ATOMIC(atomicOr, o | v)
COH_ATOMIC(atomicAnd, o & v)
COH_ATOMIC(atomicXor, o ^ v)
template <class T> COH_AT_ T atomicCAS(T* p, typename coh_id_<T>::type c, typename coh_id_<T>::type v) {
    COH_AT_NOTE_(p) T o = *p; if (o == c) *p = v; return o; }

// ---- math ------------------------------------------------------------------------------------
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline double __longlong_as_double(long long u) { double f; memcpy(&f, &u, 8); return f; }
inline long long __double_as_longlong(double f) { long long u; memcpy(&u, &f, 8); return u; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)(((unsigned __int128)a * b) >> 64); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return x < 0.f ? 0.f : (x > 1.f ? 1.f : x); }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __int_as_float(int u) { float f; memcpy(&f, &u, 4); return f; }
inline int __float_as_int(float f) { int u; memcpy(&u, &f, 4); return u; }
inline int __float2int_rn(float f) { return (int)nearbyintf(f); }
inline int __float2int_rd(float f) { return (int)floorf(f); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
template <class T> inline typename std::enable_if<std::is_arithmetic<T>::value, T>::type min(T a, T b) { return b < a ? b : a; }
template <class T> inline typename std::enable_if<std::is_arithmetic<T>::value, T>::type max(T a, T b) { return a < b ? b : a; }

// ---- glue used by the generated wrapper --------------------------------------------------------
// COH_EXPORT(i, name<targs>) makes coh_sig_i (argument descriptions) and coh_call_i.
struct coh_parameter { int size, is_pointer, is_constant, element_size; char element_kind; };
template <class T> constexpr char coh_ek() {
    return std::is_floating_point<T>::value ? 'f' : std::is_same<T, bool>::value ? 'b' :
           std::is_integral<T>::value ? (std::is_signed<T>::value ? 'i' : 'u') : 's'; }
template <class T> struct coh_desc { static coh_parameter get() { return {(int)sizeof(T), 0, 1, (int)sizeof(T), coh_ek<T>()}; } };
template <class T> struct coh_desc<T*> { static coh_parameter get() {
    typedef typename std::remove_cv<T>::type U;
    return {8, 1, std::is_const<T>::value, (int)sizeof(U), coh_ek<U>()}; } };
template <class T> struct coh_desc<T* __restrict> : coh_desc<T*> {};
template <std::size_t... I> struct coh_seq {};
template <std::size_t N, std::size_t... I> struct coh_mk : coh_mk<N - 1, N - 1, I...> {};
template <std::size_t... I> struct coh_mk<0, I...> { typedef coh_seq<I...> type; };
template <class... A> int coh_sig_(void (*)(A...), coh_parameter* out) {
    coh_parameter a[] = {coh_desc<A>::get()..., {}};
    if (out) for (std::size_t i = 0; i < sizeof...(A); ++i) out[i] = a[i];
    return (int)sizeof...(A); }
template <class... A, std::size_t... I> COH_NOSAN inline void coh_invoke_(void (*k)(A...), void** a, coh_seq<I...>) {
    k(*(typename std::remove_cv<A>::type*)a[I]...); }
template <class... A> COH_NOSAN inline void coh_invoke(void (*k)(A...), void** a) {
    coh_invoke_(k, a, typename coh_mk<sizeof...(A)>::type()); }
#define COH_EXPORT(i, ...) \
    extern "C" __attribute__((visibility("default"))) int coh_signature_##i(coh_parameter* out) { return coh_sig_(&__VA_ARGS__, out); } \
    extern "C" __attribute__((visibility("default"))) COH_NOSAN void coh_call_##i(void** a) { coh_invoke(&__VA_ARGS__, a); }
