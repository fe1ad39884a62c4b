// Reading the packet inside an error, byte by byte with bounds: it was written by whoever sent the error.
#include "resolve/icmp_translate.h"

#include <cstring>

#include <rte_mbuf.h>

#include "resolve/bridged_answer.h"
#include "resolve/messages.h"
#include "resolve/packet_key.h"
#include "resolve/resolver.h"
#include "tables/nat_ports.h"
#include "tables/nat_rules.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kIcmp6 = 58;
constexpr std::uint16_t kErrorHeader = 8;  ///< of ICMP errors of both families; the packet inside follows
constexpr unsigned kExtensionsMost = 8;

/// The packet inside. Offsets are from the frame's start; everything named is in its first segment.
struct Inside {
    IpAddress source;
    IpAddress destination;
    std::uint8_t protocol = 0;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint16_t l3_offset = 0;
    std::uint16_t l4_offset = 0;
    std::uint16_t end = 0;  ///< of what can be read
};

const std::uint8_t* bytes_at(const rte_mbuf* frame, std::uint32_t offset) {
    return rte_pktmbuf_mtod_offset(frame, const std::uint8_t*, offset);
}

std::uint16_t be16_at(const rte_mbuf* frame, std::uint32_t offset) {
    const auto* at = bytes_at(frame, offset);
    return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}

/// Finds the transport header of an IPv6 packet; 0: it is not there.
std::uint16_t pass_extensions(const rte_mbuf* frame, std::uint32_t at, std::uint32_t end,
                              std::uint8_t& protocol) {
    for (unsigned i = 0; i < kExtensionsMost; ++i) {
        const bool options = protocol == 0 || protocol == 43 || protocol == 60;
        if (!options && protocol != 44) return static_cast<std::uint16_t>(at);
        if (at + 8 > end) return 0;
        const auto* header = bytes_at(frame, at);
        // Only a first fragment has ports.
        if (protocol == 44 && (be16_at(frame, at + 2) & 0xfff8U) != 0) return 0;
        at += protocol == 44 ? 8U : (header[1] + 1U) * 8U;
        protocol = header[0];
    }
    return 0;
}

bool read_headers(const rte_mbuf* frame, bool v4, Inside& inside) {
    const std::uint32_t l3 = inside.l3_offset;
    if (v4) {
        if (l3 + 20U > inside.end) return false;
        const auto* header = bytes_at(frame, l3);
        const auto length = (header[0] & 15U) * 4U;
        if (header[0] >> 4 != 4 || length < 20 || (be16_at(frame, l3 + 6) & 0x1fffU) != 0) return false;
        inside.protocol = header[9];
        inside.l4_offset = static_cast<std::uint16_t>(l3 + length);
        inside.source = *IpAddress::from_bytes({header + 12, 4});
        inside.destination = *IpAddress::from_bytes({header + 16, 4});
        return true;
    }
    if (l3 + 40U > inside.end) return false;
    const auto* header = bytes_at(frame, l3);
    if (header[0] >> 4 != 6) return false;
    inside.protocol = header[6];
    inside.l4_offset = pass_extensions(frame, l3 + 40, inside.end, inside.protocol);
    inside.source = *IpAddress::from_bytes({header + 8, 16});
    inside.destination = *IpAddress::from_bytes({header + 24, 16});
    return inside.l4_offset != 0;
}

bool is_echo(std::uint8_t protocol, std::uint8_t type, bool& request) {
    request = type == (protocol == kIcmp ? 8 : 128);
    return request || type == (protocol == kIcmp ? 0 : 129);
}

std::optional<Inside> read_inside(const Packet& packet) {
    const auto* frame = packet.routed.frame;
    if (frame == nullptr || packet.l4_offset == 0) return std::nullopt;
    Inside inside;
    inside.l3_offset = static_cast<std::uint16_t>(packet.l4_offset + kErrorHeader);
    // Not past the outer packet's own end: what follows it in the frame is padding.
    inside.end = static_cast<std::uint16_t>(
        std::min<std::uint32_t>({frame->data_len, std::uint32_t{packet.l3_offset} + packet.length, 65535}));
    if (!read_headers(frame, packet.v4, inside)) return std::nullopt;
    if (!has_ports(inside.protocol)) return inside;
    // RFC 792: at least eight bytes of the transport's header are there.
    const std::uint32_t l4 = inside.l4_offset;
    if (l4 + 8 > inside.end) return std::nullopt;
    if (inside.protocol != kIcmp && inside.protocol != kIcmp6) {
        inside.source_port = be16_at(frame, l4);
        inside.destination_port = be16_at(frame, l4 + 2);
        return inside;
    }
    bool request = false;
    if (!is_echo(inside.protocol, *bytes_at(frame, l4), request)) return std::nullopt;
    const auto identifier = be16_at(frame, l4 + 4);
    inside.source_port = request ? identifier : kEchoPort.to_host();
    inside.destination_port = request ? kEchoPort.to_host() : identifier;
    return inside;
}

/// What the packet's answers become: by the entry of the direction opposite to it.
template <typename Key>
std::optional<Translation> answers_become(FlowTables flows, Zone zone, const Inside& inside) {
    auto& table = flows.of<Key>();
    const auto key = make_key<Key>(zone, inside.protocol, inside.destination, inside.destination_port,
                                   inside.source, inside.source_port);
    FlowRecord<Key> record;
    if (table.find(key, table.hash(key), record) == kNoFlow) return std::nullopt;
    return Translation{ip_address(record.new_source), ip_address(record.new_destination),
                       record.new_source_port.to_host(), record.new_destination_port.to_host()};
}

/// Whether any rule has to do with the ends of an error that belongs to no flow.
bool rules_concern(const Tables& tables, Zone zone, const Packet& packet) {
    return tables.nat != nullptr && tables.nat->translates(zone, packet.source, packet.destination);
}

/// One's complement differences (RFC 1624) of what is replaced in the message.
class Rewriter {
public:
    explicit Rewriter(rte_mbuf* frame) : frame_(frame) {}

    /// `offset` even relative to the message's start, an even number of bytes.
    void replace(std::uint32_t offset, std::span<const std::uint8_t> with) {
        for (std::size_t i = 0; i < with.size(); i += 2)
            replace16(offset + static_cast<std::uint32_t>(i),
                      static_cast<std::uint16_t>(with[i] << 8 | with[i + 1]));
    }
    void replace16(std::uint32_t offset, std::uint16_t with) {
        const auto before = be16_at(frame_, offset);
        difference_ += static_cast<std::uint16_t>(~before) + std::uint32_t{with};
        auto* at = rte_pktmbuf_mtod_offset(frame_, std::uint8_t*, offset);
        at[0] = static_cast<std::uint8_t>(with >> 8);
        at[1] = static_cast<std::uint8_t>(with);
    }
    /// The sum as it must be after `difference`.
    [[nodiscard]] std::uint16_t updated(std::uint32_t offset, std::uint64_t difference) const {
        auto sum = static_cast<std::uint16_t>(~be16_at(frame_, offset)) + difference;
        while (sum >> 16 != 0)
            sum = (sum & 0xffffU) + (sum >> 16);
        return static_cast<std::uint16_t>(~sum);
    }
    [[nodiscard]] std::uint64_t difference() const { return difference_; }

private:
    rte_mbuf* frame_;
    std::uint64_t difference_ = 0;
};

void replace_ports(Rewriter& rewriter, const Inside& inside, const Translation& to, const rte_mbuf* frame) {
    if (!has_ports(inside.protocol)) return;
    const std::uint32_t l4 = inside.l4_offset;
    if (inside.protocol != kIcmp && inside.protocol != kIcmp6) {
        rewriter.replace16(l4, to.source_port);
        rewriter.replace16(l4 + 2, to.destination_port);
        return;
    }
    bool request = false;
    if (is_echo(inside.protocol, *bytes_at(frame, l4), request)) {
        rewriter.replace16(l4 + 4, request ? to.source_port : to.destination_port);
    }
}

/// The transport's own checksum, when so much of the packet is there and it has one.
void mend_transport(Rewriter& rewriter, const Inside& inside, const rte_mbuf* frame,
                    std::uint64_t address_difference, std::uint64_t port_difference) {
    std::uint32_t at = inside.l4_offset;
    auto difference = address_difference + port_difference;
    switch (inside.protocol) {
        case kTcp:
            at += 16;
            break;
        case kUdp:
            at += 6;
            break;
        case kIcmp:
            at += 2, difference = port_difference;
            break;
        case kIcmp6:
            at += 2;
            break;
        default:
            return;
    }
    if (at + 2 > inside.end) return;
    if (inside.protocol == kUdp && be16_at(frame, at) == 0) return;
    auto sum = rewriter.updated(at, difference);
    if (inside.protocol == kUdp && sum == 0) sum = 0xffff;
    rewriter.replace16(at, sum);
}

}  // namespace

std::optional<RelatedError> relate_error(const Packet& packet, Zone zone, FlowTables flows) {
    const auto inside = read_inside(packet);
    // An error is sent to whom the packet came from; anything else is forged.
    if (!inside || inside->source != packet.destination) return std::nullopt;
    const auto answers = for_family(
        packet.v4, [&]<typename Key>(const Key*) { return answers_become<Key>(flows, zone, *inside); });
    if (!answers) return std::nullopt;
    RelatedError related;
    // The packet inside goes the other way: its source is whom the answers go to.
    related.inside = {answers->destination, answers->source, answers->destination_port, answers->source_port};
    related.destination = answers->destination;
    // The host that the packet was for is known by the name that its sender used.
    related.source = packet.source == inside->destination ? answers->source : packet.source;
    return related;
}

void translate_error(const Packet& packet, const RelatedError& related) {
    const auto inside = read_inside(packet);
    if (!inside) return;
    auto* frame = packet.routed.frame;
    const bool v4 = packet.v4;
    const std::uint32_t l3 = inside->l3_offset;
    Rewriter addresses(frame);
    addresses.replace(l3 + (v4 ? 12 : 8), related.inside.source.bytes());
    addresses.replace(l3 + (v4 ? 16 : 24), related.inside.destination.bytes());
    Rewriter ports(frame);
    replace_ports(ports, *inside, related.inside, frame);
    Rewriter sums(frame);
    if (v4) sums.replace16(l3 + 10, sums.updated(l3 + 10, addresses.difference()));
    mend_transport(sums, *inside, frame, addresses.difference(), ports.difference());
    Rewriter outer(frame);
    const std::uint32_t outer_l3 = packet.l3_offset;
    outer.replace(outer_l3 + (v4 ? 12 : 8), related.source.bytes());
    outer.replace(outer_l3 + (v4 ? 16 : 24), related.destination.bytes());
    auto message = addresses.difference() + ports.difference() + sums.difference();
    Rewriter outer_sums(frame);
    if (v4) {
        outer_sums.replace16(outer_l3 + 10, outer_sums.updated(outer_l3 + 10, outer.difference()));
    } else {
        message += outer.difference();
    }
    const std::uint32_t sum_at = packet.l4_offset + 2U;
    outer_sums.replace16(sum_at, outer_sums.updated(sum_at, message));
}

void translate_icmp_error(Resolver& resolver, const Packet& packet) {
    const auto& tables = resolver.tables();
    const auto zone = tables.interfaces[packet.routed.interface].zone;
    const auto related = relate_error(packet, zone, resolver.forwarder().flows());
    if (related) {
        translate_error(packet, *related);
        auto translated = packet;
        translated.source = related->source;
        translated.destination = related->destination;
        return resolver.route_alone(translated, true);
    }
    if (packet.routed.intercepted) return pass_on(resolver, packet.routed);
    const auto inside = read_inside(packet);
    if (!inside || inside->source != packet.destination || rules_concern(tables, zone, packet)) {
        return resolver.drop(packet.routed, Drop::unrelated_error);
    }
    resolver.route_alone(packet, false);
}

}  // namespace viaduct::dataplane
