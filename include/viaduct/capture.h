// Captures of Ethernet frames: classic pcap of either byte order and resolution, and pcapng, which also says
// by which interface a frame came. Files are hostile: every length is checked before it is believed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct {

struct CapturedFrame {
    std::uint64_t nanoseconds = 0;  ///< since 1970
    std::string interface;          ///< empty: the capture does not say
    std::vector<std::uint8_t> bytes;
};

/// All frames of a capture in the order written. Throws std::runtime_error in words, naming where in the file
/// something is wrong.
std::vector<CapturedFrame> read_capture(std::string_view file);

/// Makes a pcapng capture with one interface a port, nanoseconds, nothing of the machine or the moment in it.
class CaptureWriter {
public:
    explicit CaptureWriter(const std::vector<std::string>& interfaces);
    /// `interface`: its place in the list.
    void add(std::uint32_t interface, std::uint64_t nanoseconds, const std::vector<std::uint8_t>& frame);
    [[nodiscard]] const std::string& file() const { return file_; }

private:
    void block(std::uint32_t type, std::string body);

    std::string file_;
};

}  // namespace viaduct
