// What was found wrong in a launch. A kind is reported once for each place of the source.
#pragma once
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <string>

#include "interface.h"

namespace coh {

// As `_Report` in reports.py reads it.
struct Report {
    char kind[24];
    char text[360];
    char file[160];
    uint64_t instruction;  // where in the compiled code, if file and line are not known
    uint64_t variable;     // an address in static shared memory, whose variable can be looked up
    int line;
};

// Where something happened: a line of source, or an instruction.
struct Place {
    coh_site site = {nullptr, 0};
    void* instruction = nullptr;

    Place(coh_site at) : site(at) {}
    Place(void* at) : instruction(at) {}
};

__attribute__((format(printf, 1, 2)))
inline std::string words(const char* format, ...)
{
    char text[sizeof Report::text];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    return text;
}

// Such as "block (0,1,2)".
inline std::string named(const char* what, const uint3& index)
{
    return words("%s (%u,%u,%u)", what, index.x, index.y, index.z);
}

class Reports {
public:
    static const int MOST = 16;

    int count() const { return count_; }
    const Report* all() const { return reports_; }
    void clear() { count_ = 0; }
    bool full() const { return count_ == MOST; }

    // The new report, to be given its text, or null if there is one of this kind and place.
    Report* open(const char* kind, const Place& place)
    {
        if (full() || known(kind, place)) return nullptr;
        Report* report = &reports_[count_++];
        memset(report, 0, sizeof *report);
        snprintf(report->kind, sizeof report->kind, "%s", kind);
        if (place.site.file) snprintf(report->file, sizeof report->file, "%s", place.site.file);
        report->line = place.site.line;
        report->instruction = reinterpret_cast<uint64_t>(place.instruction);
        return report;
    }

private:
    bool known(const char* kind, const Place& place) const
    {
        for (int i = 0; i < count_; ++i) {
            const Report& old = reports_[i];
            const bool here = place.site.file
                ? old.line == place.site.line && !strcmp(old.file, place.site.file)
                : old.instruction == reinterpret_cast<uint64_t>(place.instruction);
            if (here && !strcmp(old.kind, kind)) return true;
        }
        return false;
    }

    Report reports_[MOST];
    int count_ = 0;
};

__attribute__((format(printf, 2, 3)))
inline void say(Report* report, const char* format, ...)
{
    if (!report) return;
    va_list values;
    va_start(values, format);
    vsnprintf(report->text, sizeof report->text, format, values);
    va_end(values);
}

}  // namespace coh
