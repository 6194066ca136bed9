// Sets of lanes or of warps as bits, and the choice of the next one to run.
#pragma once
#include <stdint.h>

namespace coh {

typedef uint32_t Bits;
const int WARP = 32;

inline Bits bit(int i) { return Bits(1) << i; }
inline bool holds(Bits set, int i) { return set >> i & 1; }
inline int lowest(Bits set) { return __builtin_ctz(set); }
inline int highest(Bits set) { return 31 - __builtin_clz(set); }
inline Bits first(int count) { return count >= 32 ? ~Bits(0) : bit(count) - 1; }

// The order in which threads and blocks run. Any order is allowed by CUDA, so results that depend
// on it are wrong.
class Order {
public:
    void set(int order)
    {
        order_ = order;
        state_ = order * 0x9E3779B97F4A7C15ull + 1;
    }

    bool reverse() const { return order_ == 1; }
    bool random() const { return order_ > 1; }

    // A member of the set, which has some: the next one round the circle, or any.
    int next(Bits set, int after)
    {
        if (random()) {
            const int turn = draw(32);
            const Bits turned = turn ? set >> turn | set << (32 - turn) : set;
            return (lowest(turned) + turn) & 31;
        }
        if (reverse()) {
            const Bits below = set & first(after);
            return highest(below ? below : set);
        }
        const Bits above = set & ~first(after + 1);
        return lowest(above ? above : set);
    }

    // A number below `limit`.
    uint64_t draw(uint64_t limit)
    {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return (state_ >> 11) % limit;
    }

private:
    int order_ = 0;
    uint64_t state_ = 1;
};

}  // namespace coh
