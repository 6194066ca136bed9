// What the two sides of a library say to each other: the kernels, compiled through cuda_on_host.h,
// and the runtime, which schedules their threads. The checker sees the accesses of the first only.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define COH_HIDDEN __attribute__((visibility("hidden")))
#define COH_EXPORTED extern "C" __attribute__((visibility("default")))

struct uint3 {
    unsigned x, y, z;
};

// Where the running thread is.
struct coh_state {
    uint3 thread, block, block_size, grid_size;
};

// A place in a kernel's source.
struct coh_site {
    const char* file;
    int line;
};

// What one lane brings to a shuffle, a vote or a product of its warp, and what it takes away.
struct coh_exchange {
    uint64_t value;
    int source;           // a shuffle: the lane whose value is wanted
    float* sums;          // a product: this lane's pieces of D, A and B
    const unsigned* left;
    const unsigned* right;
};

// One parameter of a kernel, as `Parameter` in kernel.py reads it.
struct coh_parameter {
    int size, is_pointer, is_constant, element_size;
    char element_kind;  // f, i, u, b as in NumPy; s: a structure such as float4
};

// One array argument of a launch, for the checker.
struct coh_buffer {
    uintptr_t address;
    uint64_t bytes;       // from the first element to the end of the last
    uint64_t pitch, row;  // bytes from a row to the next, and of a row; 0 if rows lie side by side
    int is_constant, element_size, argument, unused;
};

// One launch, as `LaunchRecord` in kernel.py writes it.
struct coh_launch_record {
    void (*call)(void** arguments);
    void** arguments;
    const coh_buffer* buffers;
    unsigned grid[3], block[3];
    int order;  // of blocks and threads: 0 forward, 1 reverse, else a random seed
    int buffer_count;
    uint64_t shared_bytes;
};

extern "C" {
COH_HIDDEN void coh_syncthreads(coh_site site);
COH_HIDDEN int coh_syncthreads_count(coh_site site, int predicate);
COH_HIDDEN void coh_syncwarp(unsigned mask, coh_site site);
COH_HIDDEN uint64_t coh_shuffle(unsigned mask, coh_site site, uint64_t value, int source);
COH_HIDDEN unsigned coh_ballot(unsigned mask, coh_site site, int predicate);
COH_HIDDEN void coh_product_tf32(coh_site site, float* d, const unsigned* a, const unsigned* b);
COH_HIDDEN void* coh_dynamic_shared();
COH_HIDDEN void coh_note_atomic(void* address, int bytes, void* instruction);
COH_HIDDEN void coh_stop(coh_site site, const char* what);
}
