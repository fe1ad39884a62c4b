// viaduct trace: what would become of a packet, stage by stage, without sending it.
#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>

#include <json/json.h>

#include "cli/session.h"

namespace viaduct::cli {

namespace {

/// Packets of a capture that one call asks about; each is a request.
constexpr std::size_t kPacketsMost = 1000;

std::string hex_of(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

/// A capture file of libpcap's classic form, of Ethernet frames, in either byte order.
class Capture {
public:
    explicit Capture(const std::string& path) : path_(path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw Failure("cannot read " + path + ": " + std::strerror(errno));
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
        const auto magic = bytes_.size() < kFileHeader ? 0 : number(0);
        // Microseconds and nanoseconds; ours and the other byte order.
        swapped_ = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
        if (!swapped_ && magic != 0xa1b2c3d4 && magic != 0xa1b23c4d)
            throw Failure(path + " is no capture file of libpcap's classic form (\"tcpdump -w\" writes one)");
        constexpr std::uint32_t ethernet = 1;
        if ((number(20) & 0xffff) != ethernet) throw Failure(path + " has no Ethernet frames in it");
    }
    /// The next frame as it was captured; false at the end.
    bool next(std::string& frame) {
        if (at_ == bytes_.size()) return false;
        if (bytes_.size() - at_ < kPacketHeader) throw Failure(path_ + " ends in the middle of a packet");
        const auto captured = number(at_ + 8);
        at_ += kPacketHeader;
        if (captured > bytes_.size() - at_) throw Failure(path_ + " ends in the middle of a packet");
        frame = bytes_.substr(at_, captured);
        at_ += captured;
        return true;
    }

private:
    static constexpr std::size_t kFileHeader = 24;
    static constexpr std::size_t kPacketHeader = 16;

    [[nodiscard]] std::uint32_t number(std::size_t at) const {
        std::uint32_t value = 0;
        std::memcpy(&value, &bytes_[at], sizeof value);
        return swapped_ ? __builtin_bswap32(value) : value;
    }

    std::string path_;
    std::string bytes_;
    std::size_t at_ = kFileHeader;
    bool swapped_ = false;
};

/// "SYN,ACK" or a number.
std::uint64_t tcp_flags(const std::string& text) {
    const std::map<std::string_view, std::uint64_t> names = {{"fin", 1}, {"syn", 2},  {"rst", 4},
                                                             {"psh", 8}, {"ack", 16}, {"urg", 32}};
    std::uint64_t flags = 0;
    for (std::size_t start = 0; start <= text.size();) {
        const auto end = std::min(text.find(',', start), text.size());
        const auto name = names.find(std::string_view(text).substr(start, end - start));
        if (name == names.end()) throw Usage("\"" + text + "\" is no list of TCP flags such as syn,ack");
        flags |= name->second;
        start = end + 1;
    }
    return flags;
}

struct Asked {
    Json::Value body{Json::objectValue};
    std::string pcap;
};

Asked read_words(Words& words) {
    Asked asked;
    const std::map<std::string_view, std::pair<std::uint64_t, std::uint64_t>> numbers = {
        {"sport", {0, 65535}},
        {"dport", {0, 65535}},
        {"ttl", {0, 255}},
        {"size", {20, 65000}},
        {"vlan", {1, 4094}}};
    while (!words.empty()) {
        const auto key = words.keyword({"port", "src", "dst", "proto", "sport", "dport", "ttl", "size", "mac",
                                        "source-mac", "vlan", "flags", "frame", "pcap"});
        if (const auto number = numbers.find(key); number != numbers.end()) {
            asked.body[key] = Json::UInt64(words.number(key, number->second.first, number->second.second));
        } else if (key == "flags") {
            asked.body["tcp_flags"] = Json::UInt64(tcp_flags(words.take("TCP flags")));
        } else if (key == "pcap") {
            asked.pcap = words.take("a file");
        } else {
            asked.body[key == "source-mac" ? "source_mac" : key] = words.take("a value");
        }
    }
    if (!asked.body.isMember("port")) throw Usage("needs --port PORT, by which the packet comes in");
    const bool in_words = asked.body.isMember("src") && asked.body.isMember("dst");
    if (!in_words && asked.pcap.empty() && !asked.body.isMember("frame"))
        throw Usage("needs --src and --dst, or --pcap FILE, or --frame HEX");
    return asked;
}

void show(const Json::Value& answer) {
    std::size_t widest = 8;
    for (const auto& one : answer["stages"])
        widest = std::max(widest, text_of(one, "stage").size());
    const auto line = [&](const std::string& name, const std::string& text) {
        std::cout << name << std::string(widest + 2 - std::min(widest, name.size()), ' ') << text << "\n";
    };
    for (const auto& one : answer["stages"])
        line(text_of(one, "stage"), text_of(one, "text"));
    auto decision = text_of(answer, "decision");
    if (answer.isMember("reason")) decision += " (" + text_of(answer, "reason") + ")";
    if (answer.isMember("port")) decision += " by port " + text_of(answer, "port");
    if (answer.isMember("interface")) decision += ", interface " + text_of(answer, "interface");
    line("decision", decision);
}

int trace(Session& session) {
    auto asked = read_words(session.words);
    if (asked.pcap.empty()) {
        const auto answer = session.ask("POST", "/v1/state/trace", asked.body);
        if (!session.printed(answer)) show(answer);
        return 0;
    }
    Capture capture(asked.pcap);
    Json::Value all(Json::arrayValue);
    std::string frame;
    for (std::size_t count = 0; capture.next(frame); ++count) {
        if (count == kPacketsMost)
            throw Failure("traces at most " + std::to_string(kPacketsMost) + " packets");
        asked.body["frame"] = hex_of(frame);
        auto answer = session.ask("POST", "/v1/state/trace", asked.body);
        if (session.arguments.json) {
            all.append(std::move(answer));
            continue;
        }
        std::cout << (count == 0 ? "" : "\n") << "packet " << count + 1 << "\n";
        show(answer);
    }
    session.printed(all);
    return 0;
}

}  // namespace

Object trace_object() {
    return {
        "trace",
        "what would become of a packet, stage by stage, without sending it",
        {{"",
          {},
          "--port PORT {--src ADDRESS --dst ADDRESS [--proto tcp|udp|icmp|sctp] [--sport N] [--dport N] "
          "[--ttl N] [--size BYTES] [--flags syn,ack] [--vlan ID] [--mac MAC] [--source-mac MAC] | "
          "--frame HEX | --pcap FILE}",
          "ask about a packet that comes in by PORT",
          trace}},
        "proto: tcp when it is not told. size: of the IP packet. mac: where the frame is sent; the router's\n"
        "interface on the port's bridge when it is not told. pcap: frames as they came in by PORT.\n",
        {"viaduct trace --port web --src 10.1.0.2 --dst 192.0.2.1 --proto tcp --dport 80",
         "viaduct trace --port web --pcap web.pcap -j"}};
}

}  // namespace viaduct::cli
