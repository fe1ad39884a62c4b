// viaduct trace: what would become of a packet, stage by stage, without sending it.
#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <vector>

#include <json/json.h>

#include "viaduct/capture.h"

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

std::vector<CapturedFrame> frames_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Failure("cannot read " + path + ": " + std::strerror(errno));
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    try {
        return read_capture(bytes);
    } catch (const std::runtime_error& error) {
        throw Failure(path + ": " + error.what());
    }
}

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
    if (!asked.body.isMember("port") && asked.pcap.empty())
        throw Usage("needs --port PORT, by which the packet comes in");
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
    const auto frames = frames_of(asked.pcap);
    if (frames.size() > kPacketsMost) {
        throw Failure(asked.pcap + " has " + std::to_string(frames.size()) + " packets; at most " +
                      std::to_string(kPacketsMost) + " are traced (\"editcap -r\" picks some)");
    }
    const bool port_is_told = asked.body.isMember("port");
    Json::Value all(Json::arrayValue);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const auto& frame = frames[i];
        if (!port_is_told && frame.interface.empty())
            throw Usage("needs --port PORT: " + asked.pcap + " does not say by which port its packets came");
        if (!port_is_told) asked.body["port"] = frame.interface;
        asked.body["frame"] = hex_of({reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size()});
        auto answer = session.ask("POST", "/v1/state/trace", asked.body);
        if (session.arguments.json) {
            all.append(std::move(answer));
            continue;
        }
        std::cout << (i == 0 ? "" : "\n") << "packet " << i + 1 << "\n";
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
        "interface on the port's bridge when it is not told. pcap: frames as they came in by PORT,\n"
        "pcap or pcapng; a pcapng file may name the ports itself, as those of \"viaduct replay\" do.\n",
        {"viaduct trace --port web --src 10.1.0.2 --dst 192.0.2.1 --proto tcp --dport 80",
         "viaduct trace --port web --pcap web.pcap -j"}};
}

}  // namespace viaduct::cli
