// The checker's memory of memory: who last wrote and who last read each few bytes, and which
// accesses nothing keeps apart.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lanes.hpp"

namespace coh {

// When an access happened. Barriers of a block cut its run into intervals, numbered through all
// blocks and launches, so old entries need no clearing: their numbers are too small. Within an
// interval, __syncwarp cuts what one warp does.
struct Moment {
    unsigned interval, warp_interval;
    uint16_t thread;

    int warp() const { return thread / WARP; }
};

// The readers that an entry stands for.
enum Readers : uint8_t { ONE_LANE, LANES_OF_WARP, SEVERAL_WARPS, SEVERAL_BLOCKS };

struct Access {
    Moment when;
    uint8_t bytes;  // which bytes of the granule
    bool atomic;
    Readers readers;
};

struct alignas(32) Cell {  // so that none lies across two lines of the processor's cache
    Access write, read;
    uint8_t initialised;  // bytes that were written since `write.when`'s block began
};

// What the present access is compared with: which intervals are those of this launch and block.
struct Horizon {
    unsigned launch, block;  // their first intervals

    // Whether an entry is of before: of another launch, or in shared memory of another block.
    bool forgets(const Access& old, bool shared) const
    {
        return old.when.interval < (shared ? block : launch);
    }

    // Whether nothing keeps two accesses of this launch in order.
    bool unordered(const Moment& old, const Moment& now) const
    {
        if (old.interval < block) return true;
        if (old.interval != now.interval || old.thread == now.thread) return false;
        return old.warp() != now.warp() || old.warp_interval == now.warp_interval;
    }

    // The same for an entry that stands for several readers.
    bool unordered(const Access& old, const Moment& now) const
    {
        if (old.readers == SEVERAL_BLOCKS || old.when.interval < block) return true;
        if (old.when.interval != now.interval) return false;
        if (old.readers == SEVERAL_WARPS || old.when.warp() != now.warp()) return true;
        if (old.when.warp_interval != now.warp_interval) return false;
        return old.readers == LANES_OF_WARP || old.when.thread != now.thread;
    }

    // Whom the entry stands for once `now` has read too.
    Readers joined(const Access& old, const Moment& now, bool shared) const
    {
        if (forgets(old, shared)) return ONE_LANE;
        if (old.readers == SEVERAL_BLOCKS || old.when.interval < block) return SEVERAL_BLOCKS;
        if (old.when.interval != now.interval) return ONE_LANE;
        if (old.when.thread == now.thread || old.readers == SEVERAL_WARPS) return old.readers;
        if (old.when.warp() != now.warp()) return SEVERAL_WARPS;
        return old.when.warp_interval == now.warp_interval ? LANES_OF_WARP : ONE_LANE;
    }
};

// Memory that starts as zeros and costs nothing until it is touched.
class Cells {
public:
    Cell* at(size_t place) { return cells_ + place; }

    void forget()
    {
        if (cells_) munmap(cells_, count_ * sizeof(Cell));
        cells_ = nullptr;
        count_ = 0;
    }

    void reserve(size_t count)
    {
        if (count <= count_) return;
        forget();
        count_ = count + count / 2;
        void* memory = mmap(nullptr, count_ * sizeof(Cell), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        cells_ = static_cast<Cell*>(memory);
    }

private:
    Cell* cells_ = nullptr;
    size_t count_ = 0;
};

}  // namespace coh
