#include "api/trace_json.h"

#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct::dataplane {

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<std::string_view, 5> kProtocols{"tcp", "udp", "icmp", "icmp6", "sctp"};
constexpr std::array<std::uint8_t, 5> kNumbers{6, 17, 1, 58, 132};
constexpr std::uint8_t kTcpSyn = 2;
/// A locally administered address that stands for whoever sends.
constexpr MacAddress kSomebody = MacAddress::from_u64(0x020000000001);

/// A packet in words.
struct Question {
    IpAddress source;
    IpAddress destination;
    std::uint8_t protocol = 6;
    std::uint16_t source_port = 40000;
    std::uint16_t destination_port = 0;
    std::uint8_t ttl = 64;
    std::uint8_t tcp_flags = kTcpSyn;
    std::size_t size = 0;  ///< 0: no more than the headers
    std::uint16_t vlan = 0;
    MacAddress source_mac = kSomebody;
    MacAddress destination_mac;
};

void put16(Bytes& bytes, std::size_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
}
void put(Bytes& bytes, std::span<const std::uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

Bytes transport_of(const Question& q) {
    Bytes bytes;
    const bool icmp = q.protocol == 1 || q.protocol == 58;
    if (icmp) {
        bytes = {static_cast<std::uint8_t>(q.protocol == 1 ? 8 : 128), 0, 0, 0};
        put16(bytes, q.source_port);
        put16(bytes, 1);
        return bytes;
    }
    put16(bytes, q.source_port);
    put16(bytes, q.destination_port);
    switch (q.protocol) {
        case 6:
            bytes.resize(20);
            bytes[12] = 0x50;
            bytes[13] = q.tcp_flags;
            break;
        case 17:
            put16(bytes, 8);
            put16(bytes, 0);
            break;
        default:
            bytes.resize(12);
    }
    return bytes;
}

void sum_ipv4(Bytes& ip) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 20; i += 2)
        sum += static_cast<std::uint32_t>(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffff;
    ip[10] = static_cast<std::uint8_t>(sum >> 8);
    ip[11] = static_cast<std::uint8_t>(sum);
}

Bytes packet_of(const Question& q) {
    auto transport = transport_of(q);
    const bool v4 = q.source.is_v4();
    const std::size_t header = v4 ? 20 : 40;
    if (q.size > header + transport.size()) transport.resize(q.size - header);
    Bytes ip;
    if (v4) {
        ip = {0x45, 0};
        put16(ip, header + transport.size());
        put(ip, std::array<std::uint8_t, 8>{0, 1, 0, 0, q.ttl, q.protocol, 0, 0});
        put(ip, q.source.bytes());
        put(ip, q.destination.bytes());
        sum_ipv4(ip);
    } else {
        ip = {0x60, 0, 0, 0};
        put16(ip, transport.size());
        put(ip, std::array<std::uint8_t, 2>{q.protocol, q.ttl});
        put(ip, q.source.bytes());
        put(ip, q.destination.bytes());
    }
    put(ip, transport);
    return ip;
}

Bytes frame_of(const Question& q) {
    Bytes frame;
    put(frame, q.destination_mac.bytes);
    put(frame, q.source_mac.bytes);
    if (q.vlan != 0) {
        put16(frame, 0x8100);
        put16(frame, q.vlan);
    }
    put16(frame, q.source.is_v4() ? 0x0800 : 0x86dd);
    put(frame, packet_of(q));
    return frame;
}

std::optional<IpAddress> read_address(ObjectReader& reader, const char* key) {
    const auto text = reader.string(key);
    if (!text) {
        reader.fault(key, "is required, an address such as 10.0.0.2");
        return std::nullopt;
    }
    auto address = IpAddress::parse(*text);
    if (!address) reader.fault(key, "must be an IPv4 or IPv6 address");
    return address;
}

std::optional<MacAddress> read_mac(ObjectReader& reader, const char* key) {
    const auto text = reader.string(key);
    if (!text) return std::nullopt;
    auto mac = MacAddress::parse(*text);
    if (!mac) reader.fault(key, "must be a MAC address such as 02:00:00:00:00:01");
    return mac;
}

std::optional<Bytes> from_hex(std::string_view text) {
    Bytes bytes;
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    };
    if (text.size() % 2 != 0) return std::nullopt;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const auto high = digit(text[i]);
        const auto low = digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes.push_back(static_cast<std::uint8_t>(high << 4 | low));
    }
    return bytes;
}

Question read_question(ObjectReader& reader, TraceRequest& request) {
    Question q;
    const auto number = [&](const char* key, auto& into, std::uint64_t low, std::uint64_t high) {
        if (const auto value = reader.integer(key, low, high))
            into = static_cast<std::remove_reference_t<decltype(into)>>(*value);
    };
    const auto source = read_address(reader, "src");
    const auto destination = read_address(reader, "dst");
    if (source) q.source = *source;
    if (destination) q.destination = *destination;
    if (source && destination && source->is_v4() != destination->is_v4())
        reader.fault("dst", "must be of the same family as src");
    if (const auto protocol = reader.choice("proto", {kProtocols.begin(), kProtocols.end()}))
        q.protocol = kNumbers[*protocol];
    // Who says "icmp" means the family's own.
    if (q.protocol == 1 && !q.source.is_v4()) q.protocol = 58;
    if (q.protocol == 58 && q.source.is_v4()) q.protocol = 1;
    number("sport", q.source_port, 0, UINT16_MAX);
    number("dport", q.destination_port, 0, UINT16_MAX);
    number("ttl", q.ttl, 0, UINT8_MAX);
    number("size", q.size, 20, 65000);
    number("vlan", q.vlan, model::kVlanFirst, model::kVlanLast);
    number("tcp_flags", q.tcp_flags, 0, UINT8_MAX);
    const auto source_mac = read_mac(reader, "source_mac");
    if (source_mac) q.source_mac = *source_mac;
    request.from_port = !source_mac;
    if (const auto mac = read_mac(reader, "mac")) {
        q.destination_mac = *mac;
    } else {
        request.to_gateway = true;
    }
    return q;
}

void add_end(Json::Value& json, const char* key, const IpAddress& address, std::uint16_t port) {
    auto& end = json[key] = Json::objectValue;
    end["address"] = address.to_string();
    end["port"] = port;
}

}  // namespace

TraceRequest trace_request_from_json(const Json::Value& json) {
    Faults faults;
    ObjectReader reader(json, "", faults);
    TraceRequest request;
    if (const auto port = reader.string("port")) {
        request.port = *port;
    } else if (faults.empty()) {
        reader.fault("port", "is required: by which port the packet comes in");
    }
    if (const auto hex = reader.string("frame", std::size_t{2} * UINT16_MAX)) {
        if (auto bytes = from_hex(*hex)) {
            request.frame = std::move(*bytes);
        } else {
            reader.fault("frame", "must be hexadecimal digits, two a byte");
        }
    } else {
        request.frame = frame_of(read_question(reader, request));
    }
    reader.done();
    if (!faults.empty()) throw Refused(std::move(faults));
    return request;
}

Json::Value to_json(const TraceAnswer& answer) {
    Json::Value json(Json::objectValue);
    json["decision"] = answer.decision;
    if (answer.reason != Drop::count_) json["reason"] = std::string(reason(answer.reason).name);
    auto& stages = json["stages"] = Json::arrayValue;
    for (const auto& why : answer.why) {
        Json::Value one(Json::objectValue);
        one["stage"] = std::string(why.stage);
        one["text"] = why.text;
        stages.append(std::move(one));
    }
    if (!answer.port.empty()) json["port"] = answer.port;
    if (!answer.interface.empty()) json["interface"] = answer.interface;
    const auto& routed = answer.routed;
    if (routed.egress) {
        json["next_hop"] = routed.egress->next_hop.to_string();
        json["mtu"] = routed.egress->mtu;
    }
    if (routed.became) {
        add_end(json, "source", routed.became->source, routed.became->source_port);
        add_end(json, "destination", routed.became->destination, routed.became->destination_port);
    }
    if (routed.flow) {
        json["flow"] = *routed.flow;
        json["reply"] = routed.reply;
    }
    return json;
}

}  // namespace viaduct::dataplane
