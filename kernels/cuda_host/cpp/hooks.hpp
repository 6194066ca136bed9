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

inline void report_and_stop(const char* kind, const SourceLocation& location, const char* format,
                            unsigned long value)
{
    Report* report = block.reports.open(kind, coh_site{location.file, (int)location.line});
    char found[120];
    snprintf(found, sizeof found, format, value);
    say(report, "%s of %s %s", named("thread", coh_now.thread).c_str(),
        named("block", coh_now.block).c_str(), found);
    block.break_off();
}

}  // namespace coh

#define COH_HOOK(name, bytes, kind)                                                  \
    extern "C" COH_HIDDEN void name(void* at)                                        \
    {                                                                                \
        void* caller = __builtin_return_address(0);                                  \
        coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, kind, caller); \
    }
#define COH_HOOKS(bytes)                                           \
    COH_HOOK(__tsan_read##bytes, bytes, coh::READ)                 \
    COH_HOOK(__tsan_write##bytes, bytes, coh::WRITE)               \
    COH_HOOK(__tsan_unaligned_read##bytes, bytes, coh::READ)       \
    COH_HOOK(__tsan_unaligned_write##bytes, bytes, coh::WRITE)     \
    COH_HOOK(__tsan_volatile_read##bytes, bytes, coh::READ)        \
    COH_HOOK(__tsan_volatile_write##bytes, bytes, coh::WRITE)

COH_HOOKS(1)
COH_HOOKS(2)
COH_HOOKS(4)
COH_HOOKS(8)
COH_HOOKS(16)

extern "C" {
COH_HIDDEN void __tsan_read_range(void* at, unsigned long bytes)
{
    void* caller = __builtin_return_address(0);
    coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, coh::READ, caller);
}

COH_HIDDEN void __tsan_write_range(void* at, unsigned long bytes)
{
    void* caller = __builtin_return_address(0);
    coh::checker.access(reinterpret_cast<uintptr_t>(at), bytes, coh::WRITE, caller);
}

COH_HIDDEN void __tsan_func_entry(void*) {}
COH_HIDDEN void __tsan_func_exit() {}
COH_HIDDEN void __tsan_init() {}

COH_HIDDEN void __ubsan_handle_out_of_bounds(coh::SourceLocation* location, unsigned long index)
{
    coh::report_and_stop("array-bounds", *location, "uses index %ld of an array of fixed size",
                         index);
}

COH_HIDDEN void __ubsan_handle_type_mismatch_v1(coh::TypeMismatch* data, unsigned long pointer)
{
    if (!coh::checker.active()) return;
    if (!pointer) {
        coh::report_and_stop("null-pointer", data->location, "follows a null pointer", 0);
    }
    char format[80];
    snprintf(format, sizeof format, "uses a pointer %%#lx that is not %d-byte aligned",
             1 << data->log_alignment);
    coh::report_and_stop("misaligned", data->location, format, pointer);
}
}
