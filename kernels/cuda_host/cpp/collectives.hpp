// What the lanes of a warp do together: shuffles, votes, and products of small matrices. Each lane
// brings its part; the last one to come does the work for all and lets them go on.
#pragma once
#include <math.h>

#include "block.hpp"

namespace coh {

typedef void (*Operation)(Block& block, Bits lanes, coh_site site);

// ---- coming together ----

inline void check_mask(Block& block, Bits mask, coh_site site)
{
    const Warp& warp = block.warp();
    if (!holds(mask, block.lane())) {
        say(block.reports.open("warp-mask", site), "thread %d is not in its own mask %08x",
            block.thread(), mask);
        block.break_off();
    }
    const Bits ended = mask & warp.exists & ~warp.alive;
    if (ended) {
        say(block.reports.open("warp-mask", site),
            "mask %08x of thread %d names lanes that have returned (%08x)", mask, block.thread(),
            ended);
        block.break_off();
    }
}

// The meeting that a lane with this mask comes to, a new one if it is the first.
inline Meeting& find_meeting(Warp& warp, Bits mask, coh_site site)
{
    for (int m = 0; m < warp.meetings; ++m) {
        Meeting& meeting = warp.meeting[m];
        if (meeting.mask == mask && same(meeting.site, site)) return meeting;
    }
    Meeting& meeting = warp.meeting[warp.meetings++];
    meeting = {mask, 0, site};
    return meeting;
}

// Lanes may work in groups, and one may wait for lanes that are still busy in another. But if two
// meetings wait for lanes of each other, neither will ever be complete.
inline void check_meetings(Block& block, const Meeting& mine)
{
    const Warp& warp = block.warp();
    for (int m = 0; m < warp.meetings; ++m) {
        const Meeting& other = warp.meeting[m];
        const bool both = (other.arrived & mine.mask) && (mine.arrived & other.mask);
        if (&other == &mine || !both) continue;
        const char* kind = same(mine.site, other.site) ? "warp-mask" : "warp-divergence";
        const int thread = block.thread() - block.lane() + lowest(other.arrived);
        say(block.reports.open(kind, mine.site),
            "thread %d (mask %08x) waits at line %d, thread %d (mask %08x) at line %d",
            block.thread(), mine.mask, mine.site.line, thread, other.mask, other.site.line);
        block.break_off();
    }
}

// Wait for all lanes of the mask; `operation` is done once, when the last one has come.
inline void meet(Block& block, Bits mask, coh_site site, coh_exchange* brings, Operation operation)
{
    check_mask(block, mask, site);
    Meeting& meeting = find_meeting(block.warp(), mask, site);
    Thread& self = block.thread_of_lane(block.lane());
    self.brings = brings;
    self.waits_at = site;
    meeting.arrived |= bit(block.lane());
    const Bits lanes = mask & block.warp().exists;
    if (meeting.arrived != lanes) {
        check_meetings(block, meeting);
        block.wait();
        return;
    }
    meeting = block.warp().meeting[--block.warp().meetings];
    operation(block, lanes, site);
    block.release_lanes(lanes & ~bit(block.lane()));
}

// ---- what they do ----

inline void order_memory(Block& block, Bits, coh_site) { ++block.warp().interval; }

inline void shuffle(Block& block, Bits lanes, coh_site site)
{
    uint64_t values[WARP];
    for (Bits left = lanes; left; left &= left - 1) {
        const int lane = lowest(left);
        values[lane] = block.thread_of_lane(lane).brings->value;
    }
    for (Bits left = lanes; left; left &= left - 1) {
        coh_exchange& mine = *block.thread_of_lane(lowest(left)).brings;
        if (holds(lanes, mine.source)) {
            mine.value = values[mine.source];
        } else {
            say(block.reports.open("shfl-inactive", site),
                "lane %d reads lane %d, which takes no part (mask %08x)", lowest(left),
                mine.source, lanes);
        }
    }
}

inline void vote(Block& block, Bits lanes, coh_site)
{
    Bits votes = 0;
    for (Bits left = lanes; left; left &= left - 1)
        if (block.thread_of_lane(lowest(left)).brings->value) votes |= bit(lowest(left));
    for (Bits left = lanes; left; left &= left - 1)
        block.thread_of_lane(lowest(left)).brings->value = votes;
}

// A tensor core reads the upper 19 bits of an operand.
inline float as_tf32(unsigned bits)
{
    bits &= 0xffffe000u;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// D (16, 8) += A (16, 8) B (8, 8), spread over the lanes as PTX says for mma.m16n8k8 of tf32. The
// products are exact and summed in double, then rounded once; a GPU's sums keep fewer bits.
inline void product_tf32(Block& block, Bits lanes, coh_site site)
{
    if (~lanes) {
        say(block.reports.open("warp-mask", site), "a tensor core's product needs all 32 lanes");
        block.break_off();
    }
    double left[16][8], right[8][8];
    for (int lane = 0; lane < WARP; ++lane) {
        const coh_exchange& one = *block.thread_of_lane(lane).brings;
        const int group = lane >> 2, member = lane & 3;
        left[group][member] = as_tf32(one.left[0]);
        left[group + 8][member] = as_tf32(one.left[1]);
        left[group][member + 4] = as_tf32(one.left[2]);
        left[group + 8][member + 4] = as_tf32(one.left[3]);
        right[member][group] = as_tf32(one.right[0]);
        right[member + 4][group] = as_tf32(one.right[1]);
    }
    for (int lane = 0; lane < WARP; ++lane) {
        float* sums = block.thread_of_lane(lane).brings->sums;
        for (int i = 0; i < 4; ++i) {
            const int row = (lane >> 2) + (i >> 1) * 8, column = (lane & 3) * 2 + (i & 1);
            double sum = sums[i];
            for (int k = 0; k < 8; ++k) sum += left[row][k] * right[k][column];
            sums[i] = static_cast<float>(sum);
        }
    }
}

}  // namespace coh
