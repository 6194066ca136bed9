// The memory that a launch may touch: its arguments, and shared memory.
#pragma once
#include <algorithm>
#include <vector>

#include "block.hpp"
#include "shadow.hpp"

namespace coh {

const int DYNAMIC_SHARED = -1, STATIC_SHARED = -2;  // in place of an argument's number

// Memory with cells of its own. Arguments that overlap have theirs in common.
struct Span {
    uintptr_t begin, end;
    int shift;  // a cell stands for a granule of 1 << shift bytes
    size_t first_cell;
};

struct Region {
    uintptr_t begin, end;
    uint64_t pitch, row;  // 0 where all of it belongs to the array
    bool constant;
    int argument;
    int span;

    bool shared() const { return argument < 0; }

    bool contains(uintptr_t at, int bytes) const
    {
        if (at < begin || at + bytes > end) return false;
        return !pitch || (at - begin) % pitch + bytes <= row;
    }

    std::string name() const
    {
        if (argument == STATIC_SHARED) return "static shared memory";
        if (argument == DYNAMIC_SHARED) return "dynamic shared memory";
        return words("argument %d%s", argument, pitch ? " (whose rows lie apart)" : "");
    }
};

class Regions {
public:
    void set(const coh_launch_record& launch, uintptr_t dynamic_shared)
    {
        regions_.clear();
        spans_.clear();
        library_ = launch.library;
        add(address(library_->zeroed), address(library_->end), STATIC_SHARED);
        if (launch.shared_bytes)
            add(dynamic_shared, dynamic_shared + launch.shared_bytes, DYNAMIC_SHARED);
        for (int i = 0; i < launch.buffer_count; ++i) add(launch.buffers[i]);
        join_spans();
        give_cells();
        last_ = &regions_[0];
    }

    // The region that holds all of these bytes, or null.
    const Region* find(uintptr_t at, int bytes)
    {
        if (last_->contains(at, bytes)) return last_;
        for (const Region& region : regions_)
            if (region.contains(at, bytes)) return last_ = &region;
        return nullptr;
    }

    // The same memory may be given twice, with and without const.
    bool may_write(uintptr_t at, int bytes) const
    {
        for (const Region& region : regions_)
            if (!region.constant && region.contains(at, bytes)) return true;
        return false;
    }

    // The region that an address outside all of them probably belongs to, or null.
    const Region* nearest(uintptr_t at) const
    {
        const Region* found = nullptr;
        uintptr_t distance = 1 << 20;
        for (const Region& region : regions_) {
            uintptr_t gap = 0;
            if (at < region.begin) gap = region.begin - at;
            if (at >= region.end) gap = at - region.end + 1;
            if (gap >= distance) continue;
            distance = gap;
            found = &region;
        }
        return found;
    }

    const Span& span(const Region& region) const { return spans_[region.span]; }
    Cell* cells(const Span& span) { return cells_.at(span.first_cell); }
    void forget() { cells_.forget(); }

    // Tables and constants of the library, and threadIdx and its kin.
    bool is_constant(uintptr_t at) const
    {
        if (at - address(&coh_now) < sizeof coh_now) return true;
        return at >= address(library_->begin) && at < address(library_->zeroed);
    }

private:
    void add(uintptr_t begin, uintptr_t end, int argument)
    {
        regions_.push_back({begin, end, 0, 0, false, argument, 0});
        spans_.push_back({aligned(begin), end, 2, 0});
    }

    void add(const coh_buffer& buffer)
    {
        const uintptr_t end = buffer.address + buffer.bytes;
        const int shift = buffer.element_size >= 4 ? 2 : buffer.element_size == 2 ? 1 : 0;
        regions_.push_back({buffer.address, end, buffer.pitch, buffer.row, buffer.is_constant != 0,
                            buffer.argument, 0});
        spans_.push_back({aligned(buffer.address), end, shift, 0});
    }

    static uintptr_t address(const void* at) { return reinterpret_cast<uintptr_t>(at); }
    static uintptr_t aligned(uintptr_t at) { return at & ~uintptr_t(3); }

    // Make one span of those that overlap, and tell each region which is its own.
    void join_spans()
    {
        std::sort(spans_.begin(), spans_.end(),
                  [](const Span& a, const Span& b) { return a.begin < b.begin; });
        std::vector<Span> joined;
        for (const Span& span : spans_) {
            if (joined.empty() || span.begin >= joined.back().end) {
                joined.push_back(span);
                continue;
            }
            joined.back().end = std::max(joined.back().end, span.end);
            joined.back().shift = std::min(joined.back().shift, span.shift);
        }
        spans_ = joined;
        for (Region& region : regions_) {
            const auto after = std::upper_bound(
                spans_.begin(), spans_.end(), region.begin,
                [](uintptr_t at, const Span& span) { return at < span.begin; });
            region.span = static_cast<int>(after - spans_.begin()) - 1;
        }
    }

    void give_cells()
    {
        size_t count = 0;
        for (Span& span : spans_) {
            span.first_cell = count;
            count += ((span.end - span.begin) >> span.shift) + 1;
        }
        cells_.reserve(count);
    }

    const coh_library* library_ = nullptr;
    std::vector<Region> regions_;
    std::vector<Span> spans_;
    Cells cells_;
    const Region* last_ = nullptr;  // the next access is often to the same one
};

}  // namespace coh
