// Watches every access of a kernel to memory: bounds, const, races and uninitialised shared memory.
//
// g++ -fsanitize=thread puts a call before each access, as for ThreadSanitizer, and `bounds` and
// `alignment` call when they find something. Their libraries are not linked: hooks.hpp answers.
#pragma once
#include <algorithm>
#include <vector>

#include "block.hpp"
#include "shadow.hpp"

// The library's own zeroed data: the static shared memory of all its kernels.
extern "C" COH_HIDDEN char __bss_start[];
extern "C" COH_HIDDEN char _end[];
extern "C" COH_HIDDEN char __ehdr_start[];

namespace coh {

const unsigned MANY_INTERVALS = 1u << 31;  // time to count from 0 again
const int DYNAMIC_SHARED = -1, STATIC_SHARED = -2;  // in place of an argument's number

// Memory with one set of cells; arguments that overlap have theirs in common.
struct Span {
    uintptr_t begin, end;
    int shift;  // a cell stands for 1 << shift bytes
    bool shared;
    size_t first_cell;
};

// Memory that a kernel may touch.
struct Region {
    uintptr_t begin, end;
    uint64_t pitch, row;  // 0 where all of it belongs to the array
    bool constant;
    int argument;
    int span;

    bool contains(uintptr_t at, int bytes) const
    {
        if (at < begin || at + bytes > end) return false;
        return !pitch || (at - begin) % pitch + bytes <= row;
    }
};

enum Kind { READ, WRITE, ATOMIC };

class Checker {
public:
    explicit Checker(Block& block) : block_(block) {}

    void begin_launch(const coh_launch_record& launch, uintptr_t dynamic_shared)
    {
        if (block_.interval > MANY_INTERVALS) {
            cells_.forget();
            block_.interval = 0;
        }
        horizon_.launch = block_.interval + 1;
        starts_.clear();
        regions_.clear();
        spans_.clear();
        for (int i = 0; i < launch.buffer_count; ++i) add_argument(launch.buffers[i]);
        join_spans();
        add_shared(reinterpret_cast<uintptr_t>(__bss_start), reinterpret_cast<uintptr_t>(_end),
                   STATIC_SHARED);
        if (launch.shared_bytes)
            add_shared(dynamic_shared, dynamic_shared + launch.shared_bytes, DYNAMIC_SHARED);
        give_cells();
        last_ = &regions_[0];
        active_ = true;
    }

    // Before a block begins.
    void begin_block(uint3 index)
    {
        horizon_.block = block_.interval + 1;
        starts_.push_back({horizon_.block, index});
    }

    void end_launch() { active_ = false; }
    bool active() const { return active_; }

    // One access of the running thread. Its own stack holds its local variables; they and whatever
    // happens between launches are let through here, where it costs little.
    void access(uintptr_t at, int bytes, Kind kind, void* instruction)
    {
        if (at - block_.stack() >= STACK_BYTES && active_) look(at, bytes, kind, instruction);
    }

private:
    struct Name {
        char text[80];
    };

    // ---- what memory there is ----

    void add_argument(const coh_buffer& buffer)
    {
        const uintptr_t begin = buffer.address, end = begin + buffer.bytes;
        const int shift = buffer.element_size >= 4 ? 2 : buffer.element_size == 2 ? 1 : 0;
        regions_.push_back({begin, end, buffer.pitch, buffer.row, buffer.is_constant != 0,
                            buffer.argument, 0});
        spans_.push_back({begin & ~uintptr_t(3), end, shift, false, 0});
    }

    void add_shared(uintptr_t begin, uintptr_t end, int argument)
    {
        const int span = static_cast<int>(spans_.size());
        regions_.push_back({begin, end, 0, 0, false, argument, span});
        spans_.push_back({begin & ~uintptr_t(3), end, 2, true, 0});
    }

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
            auto after = std::upper_bound(
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

    const Region* find(uintptr_t at, int bytes)
    {
        if (last_->contains(at, bytes)) return last_;
        for (const Region& region : regions_)
            if (region.contains(at, bytes)) return last_ = &region;
        return nullptr;
    }

    // Another argument without const may be the same memory.
    bool may_write(uintptr_t at, int bytes) const
    {
        for (const Region& region : regions_)
            if (!region.constant && region.contains(at, bytes)) return true;
        return false;
    }

    // Tables and constants of the library, and its functions' addresses.
    static bool is_constant(uintptr_t at)
    {
        return at >= reinterpret_cast<uintptr_t>(__ehdr_start)
            && at < reinterpret_cast<uintptr_t>(__bss_start);
    }

    // ---- one access ----

    void look(uintptr_t at, int bytes, Kind kind, void* instruction)
    {
        const Region* region = find(at, bytes);
        if (!region) {
            if (kind != READ || !is_constant(at)) out_of_bounds(at, bytes, kind, instruction);
            return;
        }
        if (kind != READ && region->constant && !may_write(at, bytes)) {
            say(block_.reports.open("write-to-const", instruction), "%s writes to argument %d",
                self().text, region->argument);
        }
        const Span& span = spans_[region->span];
        Cell* cells = cells_.at(span.first_cell);
        const uintptr_t begin = at - span.begin, end = begin + bytes;
        const int granule = 1 << span.shift;
        if (bytes == granule && begin % granule == 0) {
            touch(cells[begin >> span.shift], first(granule), kind, *region, at, instruction);
            return;
        }
        for (uintptr_t place = begin >> span.shift; place << span.shift < end; ++place) {
            const uintptr_t here = place << span.shift;
            const int low = begin > here ? begin - here : 0;
            const int high = end - here < uintptr_t(granule) ? end - here : granule;
            touch(cells[place], first(high) & ~first(low), kind, *region, at, instruction);
        }
    }

    Moment now() const
    {
        return {block_.interval, block_.warp().interval, static_cast<uint16_t>(block_.thread())};
    }

    void touch(Cell& cell, uint8_t mask, Kind kind, const Region& region, uintptr_t at,
               void* instruction)
    {
        const bool shared = region.argument < 0, atomic = kind == ATOMIC;
        const Moment now = this->now();
        const Access& old_write = cell.write;
        const Access& old_read = cell.read;
        const bool after_write = !horizon_.forgets(old_write, shared)
            && (old_write.bytes & mask) && !(old_write.atomic && atomic);
        if (after_write && horizon_.unordered(old_write.when, now))
            race(kind == READ ? "reads" : "writes", "wrote", old_write, region, at, instruction);
        if (kind != READ) {
            const bool after_read = !horizon_.forgets(old_read, shared)
                && (old_read.bytes & mask) && !(old_read.atomic && atomic);
            if (after_read && horizon_.unordered(old_read, now))
                race("writes", "read", old_read, region, at, instruction);
        }
        if (shared && kind != WRITE) check_initialised(cell, mask, region, at, instruction);
        if (kind != READ) note_write(cell, mask, now, atomic);
        if (kind != WRITE) note_read(cell, mask, now, atomic, shared);
    }

    void note_write(Cell& cell, uint8_t mask, const Moment& now, bool atomic)
    {
        const bool first = cell.write.when.interval < horizon_.block;
        cell.initialised = first ? mask : cell.initialised | mask;
        cell.write = {now, mask, atomic, ONE_LANE};
    }

    void note_read(Cell& cell, uint8_t mask, const Moment& now, bool atomic, bool shared)
    {
        const Readers readers = horizon_.joined(cell.read, now, shared);
        const bool alone = readers == ONE_LANE;
        const uint8_t bytes = alone ? mask : cell.read.bytes | mask;
        cell.read = {now, bytes, alone ? atomic : cell.read.atomic && atomic, readers};
    }

    void check_initialised(Cell& cell, uint8_t mask, const Region& region, uintptr_t at,
                           void* instruction)
    {
        const bool written = cell.write.when.interval >= horizon_.block;
        if (written && !(mask & ~cell.initialised)) return;
        Report* report = block_.reports.open("uninitialised", instruction);
        say(report, "%s reads %s, which this block has not written", self().text,
            name(region, at).text);
        if (report && region.argument == STATIC_SHARED) report->variable = at;
    }

    // ---- what is said about it ----

    Name self() const
    {
        Name name;
        const uint3 block = coh_now.block, thread = coh_now.thread;
        snprintf(name.text, sizeof name.text, "thread (%u,%u,%u) of block (%u,%u,%u)", thread.x,
                 thread.y, thread.z, block.x, block.y, block.z);
        return name;
    }

    static Name name(const Region& region, uintptr_t at)
    {
        Name name;
        const unsigned long byte = at - region.begin;
        if (region.argument == STATIC_SHARED)
            snprintf(name.text, sizeof name.text, "static shared memory");
        else if (region.argument == DYNAMIC_SHARED)
            snprintf(name.text, sizeof name.text, "byte %lu of dynamic shared memory", byte);
        else
            snprintf(name.text, sizeof name.text, "byte %lu of argument %d", byte, region.argument);
        return name;
    }

    // The block that was running in an interval of this launch.
    uint3 block_of(unsigned interval) const
    {
        auto after = std::upper_bound(
            starts_.begin(), starts_.end(), interval,
            [](unsigned sought, const Start& start) { return sought < start.interval; });
        return (after - 1)->block;
    }

    void race(const char* does, const char* did, const Access& other, const Region& region,
              uintptr_t at, void* instruction)
    {
        Report* report = block_.reports.open("race", instruction);
        if (!report) return;
        const uint3 block = block_of(other.when.interval);
        const bool elsewhere = other.when.interval < horizon_.block;
        say(report, "%s %s %s, which thread %u of block (%u,%u,%u)%s %s: %s", self().text, does,
            name(region, at).text, other.when.thread, block.x, block.y, block.z,
            other.readers == ONE_LANE ? "" : " and others", did,
            elsewhere ? "blocks have no order" : "no barrier lies between");
        if (region.argument == STATIC_SHARED) report->variable = at;
    }

    void out_of_bounds(uintptr_t at, int bytes, Kind kind, void* instruction)
    {
        const Region* nearest = nullptr;
        uintptr_t distance = 1 << 20;
        for (const Region& region : regions_) {
            const uintptr_t gap = at < region.begin ? region.begin - at
                : at >= region.end ? at - region.end + 1 : 0;
            if (gap < distance) {
                distance = gap;
                nearest = &region;
            }
        }
        Report* report = block_.reports.open("out-of-bounds", instruction);
        const char* does = kind == READ ? "reads" : "writes";
        if (!nearest) {
            say(report, "%s %s %d bytes at an address in no argument", self().text, does, bytes);
        } else {
            const uint64_t size = nearest->end - nearest->begin;
            const long byte = static_cast<long>(at - nearest->begin);
            say(report, "%s %s %d bytes at byte %ld of %s, which has %lu", self().text, does, bytes,
                byte, memory(*nearest).text, static_cast<unsigned long>(size));
        }
        block_.break_off();
    }

    static Name memory(const Region& region)
    {
        Name name;
        if (region.argument == STATIC_SHARED)
            snprintf(name.text, sizeof name.text, "static shared memory");
        else if (region.argument == DYNAMIC_SHARED)
            snprintf(name.text, sizeof name.text, "dynamic shared memory");
        else
            snprintf(name.text, sizeof name.text, "argument %d%s", region.argument,
                     region.pitch ? " (rows apart)" : "");
        return name;
    }

    struct Start {
        unsigned interval;
        uint3 block;
    };

    Block& block_;
    Horizon horizon_ = {0, 0};
    std::vector<Start> starts_;  // of the launch's blocks, in the order in which they ran
    std::vector<Region> regions_;
    std::vector<Span> spans_;
    Cells cells_;
    const Region* last_ = nullptr;
    bool active_ = false;
};

}  // namespace coh
