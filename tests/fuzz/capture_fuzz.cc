// Captures from strangers, as "viaduct replay" and "viaduct trace --pcap" read them: frames or an error in
// words, and what was read can be written and read again.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "viaduct/capture.h"

using namespace viaduct;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<CapturedFrame> frames;
    try {
        frames = read_capture({reinterpret_cast<const char*>(data), size});
    } catch (const std::runtime_error&) {
        return 0;
    }
    CaptureWriter writer({"a"});
    for (const auto& frame : frames)
        writer.add(0, frame.nanoseconds, frame.bytes);
    const auto again = read_capture(writer.file());
    if (again.size() != frames.size()) std::abort();
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if (again[i].bytes != frames[i].bytes || again[i].nanoseconds != frames[i].nanoseconds) std::abort();
    }
    return 0;
}
