// The words that CUDA adds to C++.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static  // blocks run one after another, so one copy is enough
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)
#ifndef __restrict__
#define __restrict__ __restrict
#endif

// Code that the checker does not watch.
#define COH_UNWATCHED __attribute__((no_sanitize("thread")))
#define COH_HERE (coh_site{__FILE__, __LINE__})
