// Where a thread is, its barriers, and what the lanes of a warp do together.
#pragma once
#include <string.h>

#include "interface.h"
#include "qualifiers.h"

// Constant as far as a kernel sees: the runtime changes it between threads only.
COH_EXPORTED const coh_state coh_now;
#define threadIdx (coh_now.thread)
#define blockIdx (coh_now.block)
#define blockDim (coh_now.block_size)
#define gridDim (coh_now.grid_size)
static constexpr int warpSize = 32;

// ---- barriers ----

inline int coh_threads() { return blockDim.x * blockDim.y * blockDim.z; }

// The mask of __syncwarp, which may be left out.
inline unsigned coh_mask(unsigned mask = 0xffffffffu) { return mask; }

#define __syncthreads() coh_syncthreads(COH_HERE)
#define __syncthreads_count(predicate) coh_syncthreads_count(COH_HERE, (predicate) != 0)
#define __syncthreads_or(predicate) (__syncthreads_count(predicate) != 0)
#define __syncthreads_and(predicate) (__syncthreads_count(predicate) == coh_threads())
#define __syncwarp(...) coh_syncwarp(coh_mask(__VA_ARGS__), COH_HERE)
// threads of a block run one after another, and blocks too
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)

// ---- shuffles: 4 or 8 bytes go from lane to lane ----

inline int coh_lane()
{
    const uint3 at = threadIdx, size = blockDim;
    return ((at.z * size.y + at.y) * size.x + at.x) % 32;
}

template <class T>
COH_UNWATCHED inline T coh_shuffled(unsigned mask, coh_site site, T value, int source)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = coh_shuffle(mask, site, bits, source);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
inline T coh_shuffle_from(coh_site site, unsigned mask, T value, int source, int width = 32)
{
    const int base = coh_lane() & ~(width - 1);
    return coh_shuffled(mask, site, value, base + (source & (width - 1)));
}

template <class T>
inline T coh_shuffle_up(coh_site site, unsigned mask, T value, unsigned delta, int width = 32)
{
    const int lane = coh_lane(), base = lane & ~(width - 1), source = lane - int(delta);
    return coh_shuffled(mask, site, value, source < base ? lane : source);
}

template <class T>
inline T coh_shuffle_down(coh_site site, unsigned mask, T value, unsigned delta, int width = 32)
{
    const int lane = coh_lane(), end = (lane & ~(width - 1)) + width, source = lane + int(delta);
    return coh_shuffled(mask, site, value, source >= end ? lane : source);
}

template <class T>
inline T coh_shuffle_xor(coh_site site, unsigned mask, T value, int bits, int width = 32)
{
    const int lane = coh_lane(), end = (lane & ~(width - 1)) + width, source = lane ^ bits;
    return coh_shuffled(mask, site, value, source >= end ? lane : source);
}

#define __shfl_sync(...) coh_shuffle_from(COH_HERE, __VA_ARGS__)
#define __shfl_up_sync(...) coh_shuffle_up(COH_HERE, __VA_ARGS__)
#define __shfl_down_sync(...) coh_shuffle_down(COH_HERE, __VA_ARGS__)
#define __shfl_xor_sync(...) coh_shuffle_xor(COH_HERE, __VA_ARGS__)

// ---- votes ----

#define __ballot_sync(mask, predicate) coh_ballot(mask, COH_HERE, (predicate) ? 1 : 0)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0u)
#define __all_sync(mask, predicate) (__ballot_sync(mask, !(predicate)) == 0u)

// ---- tensor cores ----

// cvt.rna.tf32.f32: the nearest number with 10 bits of mantissa, of two the one further from 0.
inline unsigned coh_to_tf32(float value)
{
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return (finite ? bits + 0x1000u : value != value ? 0x7fffffffu : bits) & 0xffffe000u;
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: d += a b, spread over the warp's lanes.
COH_UNWATCHED inline void coh_mma_tf32_at(coh_site site, float (&d)[4], const unsigned (&a)[4],
                                          const unsigned (&b)[2])
{
    coh_product_tf32(site, d, a, b);
}
#define coh_mma_tf32(d, a, b) coh_mma_tf32_at(COH_HERE, d, a, b)

// ---- stopping ----

#define __trap() coh_stop(COH_HERE, "__trap()")
#define assert(condition) \
    ((condition) ? (void)0 : coh_stop(COH_HERE, "assert(" #condition ") failed"))

// ---- launches ----

// What __launch_bounds__ promised: a GPU refuses a launch with more threads.
inline void coh_check_bounds(coh_site site, unsigned most, int = 0)
{
    if (unsigned(coh_threads()) > most)
        coh_stop(site, "more threads than __launch_bounds__ allows");
}
