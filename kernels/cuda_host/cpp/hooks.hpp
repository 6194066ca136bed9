// The functions that g++ calls in a kernel compiled with -fsanitize=thread,bounds-strict,alignment.
// They stand for those of libtsan and libubsan, which are not linked.
#pragma once
#include "checker.hpp"

namespace coh {

extern Block& block;
extern Checker& checker;

// As g++ lays them out.
struct SourceLocation {
    const char* file;
    unsigned line, column;
};

struct TypeMismatch {
    SourceLocation location;
    void* type;
    unsigned char log_alignment, kind;
};

inline void report_at(const SourceLocation& location, const char* kind, const std::string& what)
{
    const coh_site site = {location.file, static_cast<int>(location.line)};
    say(block.reports.open(kind, site), "%s of %s %s", named("thread", coh_now.thread).c_str(),
        named("block", coh_now.block).c_str(), what.c_str());
}

}  // namespace coh

#define COH_HOOK(name, bytes, kind)                                                 \
    COH_EXPORTED void name(void* at)                                       \
    {                                                                               \
        void* caller = __builtin_return_address(0);                                 \
        coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, kind, caller);  \
    }
#define COH_HOOKS(bytes)                                        \
    COH_HOOK(__tsan_read##bytes, bytes, coh::READ)              \
    COH_HOOK(__tsan_write##bytes, bytes, coh::WRITE)            \
    COH_HOOK(__tsan_unaligned_read##bytes, bytes, coh::READ)    \
    COH_HOOK(__tsan_unaligned_write##bytes, bytes, coh::WRITE)  \
    COH_HOOK(__tsan_volatile_read##bytes, bytes, coh::READ)     \
    COH_HOOK(__tsan_volatile_write##bytes, bytes, coh::WRITE)

COH_HOOKS(1)
COH_HOOKS(2)
COH_HOOKS(4)
COH_HOOKS(8)
COH_HOOKS(16)

COH_EXPORTED void __tsan_read_range(void* at, unsigned long bytes)
{
    void* caller = __builtin_return_address(0);
    coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, coh::READ, caller);
}

COH_EXPORTED void __tsan_write_range(void* at, unsigned long bytes)
{
    void* caller = __builtin_return_address(0);
    coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, coh::WRITE, caller);
}

COH_EXPORTED void __tsan_func_entry(void*) {}
COH_EXPORTED void __tsan_func_exit() {}
COH_EXPORTED void __tsan_init() {}

COH_EXPORTED void __ubsan_handle_out_of_bounds(coh::SourceLocation* location, unsigned long index)
{
    coh::report_at(*location, "array-bounds",
                   coh::words("uses index %ld of an array of fixed size", long(index)));
    coh::block.break_off();
}

COH_EXPORTED void __ubsan_handle_type_mismatch_v1(coh::TypeMismatch* data, unsigned long pointer)
{
    if (!coh::checker.active()) return;
    coh::report_at(data->location, "misaligned",
                   coh::words("uses the pointer %#lx, which is no multiple of %d bytes", pointer,
                              1 << data->log_alignment));
    coh::block.break_off();
}
