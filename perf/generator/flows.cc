#include "flows.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace viaduct::pktgen {

Flows::Flows(const Options& options, std::uint32_t count)
    : flows_(count),
      first_address_(options.source_ip),
      addresses_(options.source_addresses),
      first_destination_(options.destination_ip),
      destinations_(options.destination_addresses) {
    constexpr std::uint8_t ttl = 64;
    const auto ip_bytes = static_cast<std::uint16_t>(options.size - sizeof(rte_ether_hdr));
    common_.ethernet = {options.destination_mac, options.source_mac, rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)};
    common_.ip.version_ihl = RTE_IPV4_VHL_DEF;
    common_.ip.total_length = rte_cpu_to_be_16(ip_bytes);
    common_.ip.time_to_live = ttl;
    common_.ip.next_proto_id = IPPROTO_UDP;
    common_.ip.dst_addr = rte_cpu_to_be_32(options.destination_ip);
    common_.udp.dst_port = rte_cpu_to_be_16(options.destination_port);
    common_.udp.dgram_len = rte_cpu_to_be_16(static_cast<std::uint16_t>(ip_bytes - sizeof(rte_ipv4_hdr)));
    common_.udp.dgram_cksum = 0;  // none, RFC 768: the mark changes with every frame

    for (std::uint32_t i = 0; i < count; ++i) {
        const auto address = rte_cpu_to_be_32(options.source_ip + i % options.source_addresses);
        const auto port = static_cast<std::uint16_t>(options.source_port + i / options.source_addresses);
        flows_[i] = {address, rte_cpu_to_be_16(port), 0};
    }
    // The same order in every run.
    std::shuffle(flows_.begin(), flows_.end(), std::mt19937(count));  // NOLINT(cert-msc*,bugprone-random*)
    for (std::uint32_t i = 0; i < count; ++i) {
        auto ip = common_.ip;
        ip.src_addr = flows_[i].address;
        ip.dst_addr = destination(i);
        flows_[i].checksum = rte_ipv4_cksum(&ip);
    }

    constexpr double golden = 0.618;
    step_ = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(golden * count));
    while (std::gcd(step_, std::uint64_t{count}) != 1)
        ++step_;
}

}  // namespace viaduct::pktgen
