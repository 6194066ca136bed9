// The runtime of all libraries of kernels: runs a launch block by block.
#include "block.hpp"
#include "collectives.hpp"
#ifdef COH_CHECK
#include "hooks.hpp"
#endif

coh_state coh_now;

namespace coh {

void work();

// Made when the runtime is loaded and kept: the stacks are used again and again.
Block& block = *new Block(work);

void work() { block.work(); }

#ifdef COH_CHECK
Checker& checker = *new Checker(block);
#endif

// Dynamic shared memory, of the exact size that the launch asked for.
class DynamicShared {
public:
    void* memory() { return memory_; }

    void reserve(size_t bytes)
    {
        size_ = bytes;
        if (bytes <= room_) return;
        free(memory_);
        room_ = bytes;
        if (posix_memalign(&memory_, 256, bytes)) abort();
    }

    // A GPU's shared memory is not zeroed; every byte 0xFF makes floating-point numbers NaN.
    void spoil() { memset(memory_, 0xff, size_); }

private:
    void* memory_ = nullptr;
    size_t size_ = 0, room_ = 0;
};

DynamicShared dynamic_shared;

// The numbers of a grid's blocks in the order in which they run.
class BlockNumbers {
public:
    BlockNumbers(Order& order, uint64_t count) : reverse_(order.reverse()), count_(count)
    {
        if (!order.random()) return;
        shuffled_.resize(count);
        for (uint64_t i = 0; i < count; ++i) {
            const uint64_t place = order.draw(i + 1);
            shuffled_[i] = shuffled_[place];
            shuffled_[place] = i;
        }
    }

    uint64_t operator[](uint64_t i) const
    {
        if (!shuffled_.empty()) return shuffled_[i];
        return reverse_ ? count_ - 1 - i : i;
    }

private:
    bool reverse_;
    uint64_t count_;
    std::vector<uint64_t> shuffled_;
};

void run_blocks(const coh_launch_record& launch)
{
    const uint64_t x = launch.grid[0], y = launch.grid[1];
    const uint64_t count = x * y * launch.grid[2];
    const BlockNumbers numbers(block.order, count);
    for (uint64_t i = 0; i < count; ++i) {
        const uint64_t n = numbers[i];
        const uint3 index = {unsigned(n % x), unsigned(n / x % y), unsigned(n / x / y)};
        if (launch.shared_bytes) dynamic_shared.spoil();
#ifdef COH_CHECK
        checker.begin_block(index);
#endif
        if (!block.run(index) || block.reports.full()) return;
    }
}

}  // namespace coh

// Run a kernel; gives the number of reports.
COH_EXPORTED int coh_launch(const coh_launch_record* launch)
{
    coh::block.begin_launch(*launch);
    coh::dynamic_shared.reserve(launch->shared_bytes);
#ifdef COH_CHECK
    const uintptr_t shared = reinterpret_cast<uintptr_t>(coh::dynamic_shared.memory());
    coh::checker.begin_launch(*launch, shared);
#endif
    coh::run_blocks(*launch);
#ifdef COH_CHECK
    coh::checker.end_launch();
#endif
    return coh::block.reports.count();
}

COH_EXPORTED const coh::Report* coh_reports() { return coh::block.reports.all(); }

// ---- what kernels call ------------------------------------------------------------------------

void coh_syncthreads(coh_site site) { coh::block.meet_block(site, 0); }

int coh_syncthreads_count(coh_site site, int predicate)
{
    return coh::block.meet_block(site, predicate);
}

void coh_syncwarp(unsigned mask, coh_site site)
{
    coh::meet(coh::block, mask, site, nullptr, coh::order_memory);
}

uint64_t coh_shuffle(unsigned mask, coh_site site, uint64_t value, int source)
{
    coh_exchange mine = {value, source, nullptr, nullptr, nullptr};
    coh::meet(coh::block, mask, site, &mine, coh::shuffle);
    return mine.value;
}

unsigned coh_ballot(unsigned mask, coh_site site, int predicate)
{
    coh_exchange mine = {uint64_t(predicate), 0, nullptr, nullptr, nullptr};
    coh::meet(coh::block, mask, site, &mine, coh::vote);
    return static_cast<unsigned>(mine.value);
}

void coh_product_tf32(coh_site site, float* d, const unsigned* a, const unsigned* b)
{
    coh_exchange mine = {0, 0, d, a, b};
    coh::meet(coh::block, 0xffffffffu, site, &mine, coh::product_tf32);
}

void* coh_dynamic_shared() { return coh::dynamic_shared.memory(); }

void coh_note_atomic(void* address, int bytes, void* instruction)
{
#ifdef COH_CHECK
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);
    coh::checker.access(at, bytes, coh::ATOMIC, instruction);
#else
    (void)address, (void)bytes, (void)instruction;
#endif
}

void coh_stop(coh_site site, const char* what)
{
    coh::say(coh::block.reports.open("trap", site), "%s: %s in thread %d",
             coh::named("block", coh_now.block).c_str(), what, coh::block.thread());
    coh::block.break_off();
}
