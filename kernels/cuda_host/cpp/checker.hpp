// Watches every access of a kernel to memory: bounds, const, races and uninitialised shared memory.
//
// g++ -fsanitize=thread puts a call before each access, as for ThreadSanitizer, and `bounds` and
// `alignment` call when they find something. Their libraries are not linked: hooks.hpp answers.
#pragma once
#include "block.hpp"
#include "regions.hpp"

namespace coh {

const unsigned MANY_INTERVALS = 1u << 31;  // time to count from 0 again

enum Kind { READ, WRITE, ATOMIC };

// One access of the running thread.
struct Event {
    uintptr_t at;
    int bytes;
    Kind kind;
    void* instruction;
};

class Checker {
public:
    explicit Checker(Block& block) : block_(block) {}

    void begin_launch(const coh_launch_record& launch, uintptr_t dynamic_shared)
    {
        if (block_.interval > MANY_INTERVALS) {
            regions_.forget();
            block_.interval = 0;
        }
        horizon_.launch = block_.interval + 1;
        starts_.clear();
        regions_.set(launch, dynamic_shared);
        active_ = true;
    }

    // Before the block at `index` runs.
    void begin_block(uint3 index)
    {
        horizon_.block = block_.interval + 1;
        starts_.push_back({horizon_.block, index});
    }

    void end_launch() { active_ = false; }
    bool active() const { return active_; }

    // The running thread's own stack holds its local variables; they, and whatever happens between
    // launches, are let through here, where it costs little.
    void access(uintptr_t at, int bytes, Kind kind, void* instruction)
    {
        if (at - block_.stack() >= STACK_BYTES && active_) look({at, bytes, kind, instruction});
    }

private:
    void look(const Event& event)
    {
        const Region* region = regions_.find(event.at, event.bytes);
        if (!region) {
            const bool reads = event.kind == READ;
            if (!reads || !regions_.is_constant(event.at)) out_of_bounds(event);
            return;
        }
        if (event.kind != READ && region->constant && !regions_.may_write(event.at, event.bytes))
            writes_const(*region, event);
        const Span& span = regions_.span(*region);
        Cell* cells = regions_.cells(span);
        const uintptr_t begin = event.at - span.begin, end = begin + event.bytes;
        const int granule = 1 << span.shift;
        if (event.bytes == granule && begin % granule == 0) {  // as nearly always
            touch(cells[begin >> span.shift], first(granule), *region, event);
            return;
        }
        for (uintptr_t place = begin >> span.shift; place << span.shift < end; ++place) {
            const uintptr_t here = place << span.shift;
            const int low = begin > here ? begin - here : 0;
            const int high = end - here < uintptr_t(granule) ? end - here : granule;
            touch(cells[place], first(high) & ~first(low), *region, event);
        }
    }

    Moment now() const
    {
        return {block_.interval, block_.warp().interval, static_cast<uint16_t>(block_.thread())};
    }

    // The bytes `mask` of one granule.
    void touch(Cell& cell, uint8_t mask, const Region& region, const Event& event)
    {
        const Moment now = this->now();
        const bool shared = region.shared(), atomic = event.kind == ATOMIC;
        if (concerns(cell.write, mask, shared, atomic) && horizon_.unordered(cell.write.when, now))
            race(cell.write, "wrote", region, event);
        if (event.kind != READ && concerns(cell.read, mask, shared, atomic)
            && horizon_.unordered(cell.read, now))
            race(cell.read, "read", region, event);
        if (event.kind != WRITE && shared && !initialised(cell, mask))
            uninitialised(region, event);
        if (event.kind != READ) note_write(cell, mask, now, atomic);
        if (event.kind != WRITE) note_read(cell, mask, now, atomic, shared);
    }

    // Whether an earlier access is of this launch (or block) and to the same bytes; atomic
    // operations do not disturb each other.
    bool concerns(const Access& old, uint8_t mask, bool shared, bool atomic) const
    {
        return !horizon_.forgets(old, shared) && (old.bytes & mask) && !(old.atomic && atomic);
    }

    bool initialised(const Cell& cell, uint8_t mask) const
    {
        return cell.write.when.interval >= horizon_.block && !(mask & ~cell.initialised);
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

    // ---- what is said ----

    static const char* does(const Event& event) { return event.kind == READ ? "reads" : "writes"; }

    static std::string self()
    {
        return named("thread", coh_now.thread) + " of " + named("block", coh_now.block);
    }

    // The place of an access; for static shared memory reports.py puts in the variable's name.
    static std::string place(const Region& region, const Event& event, Report* report)
    {
        if (region.argument == STATIC_SHARED) {
            report->variable = event.at;
            return region.name();
        }
        const unsigned long byte = event.at - region.begin;
        return words("byte %lu of %s", byte, region.name().c_str());
    }

    // The block that was running in an interval of this launch.
    uint3 block_of(unsigned interval) const
    {
        const auto after = std::upper_bound(
            starts_.begin(), starts_.end(), interval,
            [](unsigned sought, const Start& start) { return sought < start.interval; });
        return (after - 1)->block;
    }

    std::string who(const Access& other) const
    {
        const std::string block = named("block", block_of(other.when.interval));
        if (other.readers == SEVERAL_BLOCKS) return "several blocks";
        if (other.readers != ONE_LANE) return "other threads of " + block;
        return words("thread %u of %s", other.when.thread, block.c_str());
    }

    void race(const Access& other, const char* did, const Region& region, const Event& event)
    {
        Report* report = block_.reports.open("race", event.instruction);
        if (!report) return;
        const bool elsewhere = other.when.interval < horizon_.block;
        say(report, "%s %s %s, which %s %s: %s", self().c_str(), does(event),
            place(region, event, report).c_str(), who(other).c_str(), did,
            elsewhere ? "blocks have no order" : "no barrier lies between");
    }

    void uninitialised(const Region& region, const Event& event)
    {
        Report* report = block_.reports.open("uninitialised", event.instruction);
        if (!report) return;
        say(report, "%s reads %s, which this block has not written", self().c_str(),
            place(region, event, report).c_str());
    }

    void writes_const(const Region& region, const Event& event)
    {
        Report* report = block_.reports.open("write-to-const", event.instruction);
        if (!report) return;
        say(report, "%s writes %s, which is const", self().c_str(),
            place(region, event, report).c_str());
    }

    void out_of_bounds(const Event& event)
    {
        const Region* region = regions_.nearest(event.at);
        Report* report = block_.reports.open("out-of-bounds", event.instruction);
        if (!region) {
            say(report, "%s %s %d bytes at an address that is in no argument", self().c_str(),
                does(event), event.bytes);
        } else {
            const long byte = static_cast<long>(event.at - region->begin);
            const unsigned long size = region->end - region->begin;
            say(report, "%s %s %d bytes at byte %ld of %s, which has %lu", self().c_str(),
                does(event), event.bytes, byte, region->name().c_str(), size);
        }
        block_.break_off();
    }

    struct Start {
        unsigned interval;
        uint3 block;
    };

    Block& block_;
    Regions regions_;
    Horizon horizon_ = {0, 0};
    std::vector<Start> starts_;  // of the launch's blocks, in the order in which they ran
    bool active_ = false;
};

}  // namespace coh
