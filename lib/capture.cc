// draft-ietf-opsawg-pcap (classic) and draft-ietf-opsawg-pcapng.
#include "viaduct/capture.h"

#include <cstring>
#include <optional>
#include <stdexcept>

namespace viaduct {

namespace {

constexpr std::uint32_t kMicroseconds = 0xa1b2c3d4;
constexpr std::uint32_t kNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr std::uint32_t kByteOrder = 0x1a2b3c4d;
constexpr std::uint32_t kInterfaceDescription = 1;
constexpr std::uint32_t kSimplePacket = 3;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint16_t kEthernet = 1;
constexpr std::uint16_t kOptionName = 2;
constexpr std::uint16_t kOptionResolution = 9;
constexpr std::uint32_t kFrameMost = 256 * 1024;
constexpr std::uint64_t kSecond = 1'000'000'000;

[[noreturn]] void fail(std::size_t at, const std::string& what) {
    throw std::runtime_error("the capture at byte " + std::to_string(at) + " " + what);
}

/// Reads integers of the file's byte order, within its bounds.
class Reader {
public:
    explicit Reader(std::string_view file) : file_(file) {}

    [[nodiscard]] bool has(std::size_t at, std::size_t bytes) const {
        return at <= file_.size() && bytes <= file_.size() - at;
    }
    [[nodiscard]] std::uint32_t u32(std::size_t at) const {
        const auto raw = get<std::uint32_t>(at);
        return swapped_ ? __builtin_bswap32(raw) : raw;
    }
    [[nodiscard]] std::uint16_t u16(std::size_t at) const {
        const auto raw = get<std::uint16_t>(at);
        return swapped_ ? __builtin_bswap16(raw) : raw;
    }
    [[nodiscard]] std::string_view bytes(std::size_t at, std::size_t count) const {
        if (!has(at, count)) fail(at, "ends too early");
        return file_.substr(at, count);
    }
    [[nodiscard]] std::size_t size() const { return file_.size(); }
    void set_swapped(bool swapped) { swapped_ = swapped; }

private:
    template <typename T>
    [[nodiscard]] T get(std::size_t at) const {
        T value;
        std::memcpy(&value, bytes(at, sizeof value).data(), sizeof value);
        return value;
    }

    std::string_view file_;
    bool swapped_ = false;
};

CapturedFrame frame(std::uint64_t nanoseconds, std::string interface, std::string_view bytes) {
    return {nanoseconds, std::move(interface), {bytes.begin(), bytes.end()}};
}

std::vector<CapturedFrame> read_classic(Reader file, bool nanoseconds) {
    constexpr std::size_t kHeader = 24;
    constexpr std::size_t kRecord = 16;
    if ((file.u32(20) & 0xffff) != kEthernet) fail(20, "is not of Ethernet frames");
    std::vector<CapturedFrame> frames;
    for (auto at = kHeader; at < file.size();) {
        const std::uint64_t time = file.u32(at) * kSecond + file.u32(at + 4) * (nanoseconds ? 1ULL : 1000ULL);
        const auto length = file.u32(at + 8);
        if (length > kFrameMost) fail(at, "has a frame of " + std::to_string(length) + " bytes");
        frames.push_back(frame(time, {}, file.bytes(at + kRecord, length)));
        at += kRecord + length;
    }
    return frames;
}

/// One interface of a section of pcapng.
struct Interface {
    std::string name;
    std::uint64_t in_a_second = 1'000'000;  ///< ticks of its time stamps
};

class PcapngReader {
public:
    explicit PcapngReader(Reader file) : file_(file) {}

    std::vector<CapturedFrame> read() {
        for (std::size_t at = 0; at < file_.size();) {
            // The type of a section's header reads alike in either order.
            if (file_.u32(at) == kSectionHeader) begin_section(at);
            const auto length = file_.u32(at + 4);
            if (length < 12 || length % 4 != 0 || !file_.has(at, length))
                fail(at, "has a block of " + std::to_string(length) + " bytes, which does not fit");
            take_block(at, length);
            at += length;
        }
        return std::move(frames_);
    }

private:
    void begin_section(std::size_t at) {
        file_.set_swapped(false);
        const auto order = file_.u32(at + 8);
        file_.set_swapped(order == __builtin_bswap32(kByteOrder));
        if (file_.u32(at + 8) != kByteOrder) fail(at + 8, "is of no known byte order");
        interfaces_.clear();
    }

    void take_block(std::size_t at, std::uint32_t length) {
        const auto end = at + length - 4;
        switch (file_.u32(at)) {
            case kInterfaceDescription:
                return take_interface(at + 8, end);
            case kEnhancedPacket:
                return take_packet(at + 8, end);
            case kSimplePacket:
                fail(at, "has frames without times");
            default:
                return;
        }
    }

    void take_interface(std::size_t at, std::size_t end) {
        if (file_.u16(at) != kEthernet) fail(at, "is not of Ethernet frames");
        Interface interface;
        for (at += 8; at + 4 <= end;) {
            const auto code = file_.u16(at);
            const std::size_t length = file_.u16(at + 2);
            if (code == 0) break;
            if (length > end - at - 4) fail(at, "has an option that does not fit");
            const auto value = file_.bytes(at + 4, length);
            if (code == kOptionName) interface.name = value.substr(0, value.find('\0'));
            if (code == kOptionResolution && length == 1) interface.in_a_second = resolution(at, value[0]);
            at += 4 + (length + 3) / 4 * 4;
        }
        interfaces_.push_back(std::move(interface));
    }

    static std::uint64_t resolution(std::size_t at, char option) {
        const auto value = static_cast<std::uint8_t>(option);
        const unsigned power = value & 0x7f;
        if (power > ((value & 0x80) != 0 ? 30U : 9U)) fail(at, "has times finer than a nanosecond");
        std::uint64_t ticks = 1;
        for (unsigned i = 0; i < power; ++i)
            ticks *= (value & 0x80) != 0 ? 2 : 10;
        return ticks;
    }

    void take_packet(std::size_t at, std::size_t end) {
        if (end - at < 20) fail(at, "has a frame's block that is too short");
        const auto number = file_.u32(at);
        if (number >= interfaces_.size())
            fail(at, "names interface " + std::to_string(number) + ", which it has not");
        const auto& interface = interfaces_[number];
        const auto ticks = std::uint64_t{file_.u32(at + 4)} << 32 | file_.u32(at + 8);
        const auto length = file_.u32(at + 12);
        if (length > kFrameMost || length > end - at - 20)
            fail(at, "has a frame of " + std::to_string(length) + " bytes, which does not fit");
        const auto part = ticks % interface.in_a_second;
        const auto time = ticks / interface.in_a_second * kSecond + part * kSecond / interface.in_a_second;
        frames_.push_back(frame(time, interface.name, file_.bytes(at + 20, length)));
    }

    Reader file_;
    std::vector<Interface> interfaces_;
    std::vector<CapturedFrame> frames_;
};

template <typename T>
void put(std::string& to, T value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void pad(std::string& text) {
    text.append((4 - text.size() % 4) % 4, '\0');
}

}  // namespace

std::vector<CapturedFrame> read_capture(std::string_view file) {
    Reader reader(file);
    if (!reader.has(0, 24)) throw std::runtime_error("the capture is too short to be one");
    const auto magic = reader.u32(0);
    if (magic == kSectionHeader) return PcapngReader(reader).read();
    for (const auto known : {kMicroseconds, kNanoseconds}) {
        if (magic != known && magic != __builtin_bswap32(known)) continue;
        reader.set_swapped(magic != known);
        return read_classic(reader, known == kNanoseconds);
    }
    throw std::runtime_error("the capture is neither pcap nor pcapng");
}

CaptureWriter::CaptureWriter(const std::vector<std::string>& interfaces) {
    std::string section;
    put(section, kByteOrder);
    put(section, std::uint16_t{1});
    put(section, std::uint16_t{0});
    put(section, std::int64_t{-1});
    block(kSectionHeader, section);
    for (const auto& name : interfaces) {
        std::string body;
        put(body, kEthernet);
        put(body, std::uint16_t{0});
        put(body, std::uint32_t{0});
        put(body, kOptionName);
        put(body, static_cast<std::uint16_t>(name.size()));
        body += name;
        pad(body);
        put(body, kOptionResolution);
        put(body, std::uint16_t{1});
        put(body, std::uint32_t{9});  // one byte and its padding
        put(body, std::uint32_t{0});
        block(kInterfaceDescription, body);
    }
}

void CaptureWriter::add(std::uint32_t interface, std::uint64_t nanoseconds,
                        const std::vector<std::uint8_t>& frame) {
    std::string body;
    put(body, interface);
    put(body, static_cast<std::uint32_t>(nanoseconds >> 32));
    put(body, static_cast<std::uint32_t>(nanoseconds));
    put(body, static_cast<std::uint32_t>(frame.size()));
    put(body, static_cast<std::uint32_t>(frame.size()));
    body.append(frame.begin(), frame.end());
    block(kEnhancedPacket, std::move(body));
}

void CaptureWriter::block(std::uint32_t type, std::string body) {
    pad(body);
    const auto length = static_cast<std::uint32_t>(body.size() + 12);
    put(file_, type);
    put(file_, length);
    file_ += body;
    put(file_, length);
}

}  // namespace viaduct
