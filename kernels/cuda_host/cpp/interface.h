// What a library of kernels, compiled through cuda_on_host.h, and the runtime that schedules their
// threads say to each other. There is one runtime for all libraries of a mode: its stacks are many.
#pragma once
#include <stddef.h>
#include <stdint.h>

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

// Where the parts of a library of kernels lie.
struct coh_library {
    const char *begin, *zeroed, *end;  // zeroed data are the static shared memory of all kernels
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
    const coh_library* library;
    const coh_buffer* buffers;
    unsigned grid[3], block[3];
    int order;  // of blocks and threads: 0 forward, 1 reverse, else a random seed
    int buffer_count;
    uint64_t shared_bytes;
};

COH_EXPORTED void coh_syncthreads(coh_site site);
COH_EXPORTED int coh_syncthreads_count(coh_site site, int predicate);
COH_EXPORTED void coh_syncwarp(unsigned mask, coh_site site);
COH_EXPORTED uint64_t coh_shuffle(unsigned mask, coh_site site, uint64_t value, int source);
COH_EXPORTED unsigned coh_ballot(unsigned mask, coh_site site, int predicate);
COH_EXPORTED void coh_product_tf32(coh_site site, float* d, const unsigned* a, const unsigned* b);
COH_EXPORTED void* coh_dynamic_shared();
COH_EXPORTED void coh_note_atomic(void* address, int bytes, void* instruction);
COH_EXPORTED void coh_stop(coh_site site, const char* what);
