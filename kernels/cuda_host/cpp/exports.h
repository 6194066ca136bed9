// What the launcher asks of a kernel: what its parameters are, and a call with given arguments.
// COH_EXPORT(3, name<float>) makes coh_signature_3 and coh_call_3.
#pragma once
#include <type_traits>
#include <utility>

#include "interface.h"
#include "qualifiers.h"

template <class T>
constexpr char coh_kind()
{
    if constexpr (std::is_floating_point<T>::value) return 'f';
    if constexpr (std::is_same<T, bool>::value) return 'b';
    if constexpr (std::is_integral<T>::value || std::is_enum<T>::value)
        return std::is_signed<T>::value || std::is_enum<T>::value ? 'i' : 'u';
    return 's';
}

template <class T>
struct coh_describe {
    static constexpr coh_parameter parameter()
    {
        return {int(sizeof(T)), 0, 1, int(sizeof(T)), coh_kind<T>()};
    }
};

template <class T>
struct coh_describe<T*> {
    static constexpr coh_parameter parameter()
    {
        typedef typename std::remove_cv<T>::type Element;
        return {int(sizeof(T*)), 1, std::is_const<T>::value, int(sizeof(Element)),
                coh_kind<Element>()};
    }
};

template <class T>
struct coh_describe<T* __restrict> : coh_describe<T*> {};

// Writes the parameters to `found`, unless that is null; gives their number.
template <class... A>
int coh_signature(void (*)(A...), coh_parameter* found)
{
    const coh_parameter all[] = {coh_describe<A>::parameter()..., {}};
    for (size_t i = 0; found && i < sizeof...(A); ++i) found[i] = all[i];
    return int(sizeof...(A));
}

template <class... A, size_t... I>
COH_UNWATCHED inline void coh_call(void (*kernel)(A...), void** arguments,
                                   std::index_sequence<I...>)
{
    kernel(*static_cast<typename std::remove_cv<A>::type*>(arguments[I])...);
}

template <class... A>
COH_UNWATCHED inline void coh_call(void (*kernel)(A...), void** arguments)
{
    coh_call(kernel, arguments, std::index_sequence_for<A...>());
}

#define COH_EXPORT(number, ...)                                            \
    COH_EXPORTED int coh_signature_##number(coh_parameter* found)          \
    {                                                                      \
        return coh_signature(&__VA_ARGS__, found);                         \
    }                                                                      \
    COH_EXPORTED COH_UNWATCHED void coh_call_##number(void** arguments)    \
    {                                                                      \
        coh_call(&__VA_ARGS__, arguments);                                 \
    }

extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[], __bss_start[], _end[];
COH_EXPORTED const coh_library coh_this_library;
const coh_library coh_this_library = {__ehdr_start, __bss_start, _end};
