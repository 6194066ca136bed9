// One block of threads: who runs, who waits for what, and who goes on next.
//
// A thread runs until it must wait. It starts on the stack of a thread that has ended, if there is
// one, so threads that never wait cost no switch of stacks.
#pragma once
#include <vector>

#include "fibers.hpp"
#include "interface.h"
#include "lanes.hpp"
#include "reports.hpp"

COH_EXPORTED coh_state coh_now;

namespace coh {

const int MOST_THREADS = 1024;

struct Thread {
    Fiber* fiber;          // null before it starts and after it ends
    uint3 index;
    coh_site waits_at;
    coh_exchange* brings;  // to a collective of its warp
};

inline bool same(const coh_site& a, const coh_site& b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

// Lanes that have come to a collective operation of theirs, and wait for the rest of the mask.
struct Meeting {
    Bits mask, arrived;
    coh_site site;
};

struct Warp {
    Bits exists;      // a block's last warp may be short
    Bits alive;       // not ended
    Bits fresh;       // not started
    Bits ready;       // started, and free to go on
    Bits at_barrier;  // waiting at the block's barrier
    unsigned interval;  // how many __syncwarp it has been through
    int meetings;
    Meeting meeting[WARP];
};

class Block {
public:
    Reports reports;
    Order order;
    unsigned interval = 0;  // counts what barriers separate, through all blocks and launches

    explicit Block(void (*body)()) : fibers_(body) {}

    // ---- the launch ----

    void begin_launch(const coh_launch_record& launch)
    {
        launch_ = &launch;
        reports.clear();
        order.set(launch.order);
        coh_now.grid_size = {launch.grid[0], launch.grid[1], launch.grid[2]};
        lay_out({launch.block[0], launch.block[1], launch.block[2]});
        broken_ = false;
    }

    // Run all threads of the block at `index` to their end. False if it had to be broken off.
    bool run(uint3 index)
    {
        coh_now.block = index;
        for (int w = 0; w < warp_count_; ++w) start(warps_[w]);
        pending_ = first(warp_count_);
        alive_ = thread_count_;
        arrived_ = 0;
        ++interval;
        warp_now_ = order.next(pending_, before_first());
        lane_now_ = before_first();
        choose();
        go_to(fiber_of_chosen());
        if (broken_) forget();
        return !broken_;
    }

    // What a fiber does all its life: run threads one after another.
    void work()
    {
        for (;;) {
            launch_->call(launch_->arguments);
            end_thread();
            if (choose() && !threads_[now_].fiber) {
                threads_[now_].fiber = fiber_now_;
                continue;
            }
            if (!chosen_ && alive_) stuck();
            fibers_.give_back(fiber_now_);
            go_to(chosen_ ? threads_[now_].fiber : &fibers_.main);
        }
    }

    // ---- barriers of the block ----

    // Wait for all threads; gives how many of them said `predicate`.
    int meet_block(coh_site site, int predicate)
    {
        check_block_barrier(site);
        if (!arrived_) {
            barrier_site_ = site;
            barrier_thread_ = now_;
            said_ = 0;
        }
        said_ += predicate;
        threads_[now_].waits_at = site;
        if (++arrived_ < alive_) {
            warps_[warp_now_].at_barrier |= bit(lane_now_);
            wait();
        } else {
            arrived_ = 0;
            answer_ = said_;
            ++interval;
            for (int w = 0; w < warp_count_; ++w) release(w, warps_[w].at_barrier);
        }
        return answer_;
    }

    // ---- who is running ----

    int thread_count() const { return thread_count_; }
    int thread() const { return now_; }
    int lane() const { return lane_now_; }
    Warp& warp() { return warps_[warp_now_]; }
    Thread& thread_of_lane(int lane) { return threads_[warp_now_ * WARP + lane]; }
    uintptr_t stack() const { return fiber_now_->stack; }

    // The running thread waits until it is released.
    void wait()
    {
        if (!choose()) stuck();
        go_to(fiber_of_chosen());
    }

    // Let lanes of a warp go on that waited at a barrier or a collective.
    void release(int warp, Bits lanes)
    {
        if (!lanes) return;
        warps_[warp].ready |= lanes;
        warps_[warp].at_barrier &= ~lanes;
        pending_ |= bit(warp);
    }

    void release_lanes(Bits lanes) { release(warp_now_, lanes); }

    // Give up the launch: the reports say why.
    void break_off()
    {
        broken_ = true;
        go_to(&fibers_.main);
        __builtin_unreachable();
    }

private:
    // Number the threads, x fastest, and cut them into warps.
    void lay_out(uint3 size)
    {
        if (laid_out_ && !memcmp(&coh_now.block_size, &size, sizeof size)) return;
        laid_out_ = true;
        coh_now.block_size = size;
        thread_count_ = size.x * size.y * size.z;
        warp_count_ = (thread_count_ + WARP - 1) / WARP;
        int t = 0;
        for (unsigned z = 0; z < size.z; ++z)
            for (unsigned y = 0; y < size.y; ++y)
                for (unsigned x = 0; x < size.x; ++x) threads_[t++] = {nullptr, {x, y, z}, {}, {}};
        for (int w = 0; w < warp_count_; ++w) warps_[w].exists = first(thread_count_ - w * WARP);
    }

    static void start(Warp& warp)
    {
        warp.alive = warp.fresh = warp.exists;
        warp.ready = warp.at_barrier = 0;
        warp.interval = 0;
        warp.meetings = 0;
    }

    // The place on the circle of lanes or warps after which the first one comes.
    int before_first() const { return order.reverse() ? 0 : WARP - 1; }

    // The threads of a launch that was broken off will never end.
    void forget()
    {
        for (int t = 0; t < thread_count_; ++t) threads_[t].fiber = nullptr;
        fibers_.start_over();
    }

    // Make another thread the running one, of the same warp if one can run. False if none can.
    bool choose()
    {
        chosen_ = pending_ != 0;
        if (!chosen_) return false;
        if (!holds(pending_, warp_now_) || (order.random() && order.draw(4) == 0)) {
            warp_now_ = order.next(pending_, warp_now_);
            lane_now_ = before_first();
        }
        Warp& warp = warps_[warp_now_];
        lane_now_ = order.next(warp.fresh | warp.ready, lane_now_);
        warp.fresh &= ~bit(lane_now_);
        warp.ready &= ~bit(lane_now_);
        if (!(warp.fresh | warp.ready)) pending_ &= ~bit(warp_now_);
        now_ = warp_now_ * WARP + lane_now_;
        coh_now.thread = threads_[now_].index;
        return true;
    }

    Fiber* fiber_of_chosen()
    {
        Thread& thread = threads_[now_];
        if (!thread.fiber) thread.fiber = fibers_.take();
        return thread.fiber;
    }

    void go_to(Fiber* next)
    {
        Fiber* last = fiber_now_;
        if (next == last) return;
        fiber_now_ = next;
        coh_switch(&last->stack_pointer, next->stack_pointer);
    }

    void end_thread()
    {
        threads_[now_].fiber = nullptr;
        --alive_;
        Warp& warp = warps_[warp_now_];
        warp.alive &= ~bit(lane_now_);
        if (arrived_) missing_at_barrier(now_);
        for (int m = 0; m < warp.meetings; ++m) {
            const Meeting& meeting = warp.meeting[m];
            if (holds(meeting.mask, lane_now_)) missing_at_meeting(meeting);
        }
    }

    // ---- what can go wrong ----

    static std::string here() { return named("block", coh_now.block); }

    void check_block_barrier(coh_site site)
    {
        if (alive_ < thread_count_) {
            say(reports.open("barrier-divergence", site),
                "%s: thread %d waits at __syncthreads, %d thread(s) have returned",
                here().c_str(), now_, thread_count_ - alive_);
            break_off();
        }
        if (arrived_ && !same(barrier_site_, site)) {
            say(reports.open("barrier-divergence", site),
                "%s: thread %d waits at __syncthreads of line %d, thread %d at that "
                "of line %d", here().c_str(), now_, site.line,
                barrier_thread_, barrier_site_.line);
            break_off();
        }
    }

    void missing_at_barrier(int thread)
    {
        say(reports.open("barrier-divergence", barrier_site_),
            "%s: thread %d returned while thread %d waits at __syncthreads",
            here().c_str(), thread, barrier_thread_);
        break_off();
    }

    void missing_at_meeting(const Meeting& meeting)
    {
        const int other = warp_now_ * WARP + lowest(meeting.arrived);
        say(reports.open("warp-mask", meeting.site),
            "thread %d returned although thread %d waits for it: mask %08x names it", now_, other,
            meeting.mask);
        break_off();
    }

    // No thread can go on, and some have not ended.
    void stuck()
    {
        int at_barrier = 0, waiting = 0, one = 0;
        for (int w = 0; w < warp_count_; ++w) {
            const Warp& warp = warps_[w];
            at_barrier += __builtin_popcount(warp.at_barrier);
            waiting += __builtin_popcount(warp.alive & ~warp.at_barrier);
            if (warp.alive) one = w * WARP + lowest(warp.alive);
        }
        say(reports.open("deadlock", threads_[one].waits_at),
            "%s: %d thread(s) wait at __syncthreads, %d for lanes of their warp, %d "
            "have ended", here().c_str(), at_barrier, waiting,
            thread_count_ - alive_);
        break_off();
    }

    Fibers fibers_;
    Fiber* fiber_now_ = &fibers_.main;
    const coh_launch_record* launch_ = nullptr;
    bool laid_out_ = false, broken_ = false, chosen_ = false;
    int thread_count_ = 0, warp_count_ = 0;
    int now_ = 0, warp_now_ = 0, lane_now_ = 0;
    int alive_ = 0, arrived_ = 0, said_ = 0, answer_ = 0;
    Bits pending_ = 0;  // warps with a thread that can run
    coh_site barrier_site_ = {nullptr, 0};
    int barrier_thread_ = 0;
    Warp warps_[MOST_THREADS / WARP];
    Thread threads_[MOST_THREADS];
};

}  // namespace coh
