// Whether a frame says that it is from who sent it: what a port with a guard may send. For ports whose other
// side is not trusted, as a pod is; other ports do not come here at all.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "viaduct/model.h"

#include "forward/drop.h"
#include "forward/topology.h"

struct rte_mbuf;

namespace viaduct::dataplane {

/// Immutable; any worker.
class Guard {
public:
    explicit Guard(const model::Guard& config);
    /// Why a frame may not come in from the port, count_ when it may. Refused are
    /// - a source MAC address that is not the port's (spoofed_mac);
    /// - an IP source address that is not, where addresses are named: but none at all where a host has none
    ///   yet, and the link-local one that a MAC address makes (RFC 4291 2.5.6) (spoofed_address);
    /// - ARP and neighbour discovery that speak for other addresses (RFC 826, RFC 4861 4), also in
    ///   fragments, which nobody may send (RFC 6980) (spoofed_neighbour);
    /// - what only routers and servers send: router advertisements, redirects, DHCP's answers (RFC 6105, RFC
    ///   7610) (rogue_server).
    [[nodiscard]] Drop check(const rte_mbuf* frame) const;
    /// The first of those that the port may send from.
    [[nodiscard]] MacAddress mac() const { return MacAddress::from_u64(macs_.front()); }

private:
    struct Network4 {
        std::uint32_t network, mask;  ///< network byte order
    };
    struct Network6 {
        std::array<std::uint64_t, 2> network, mask;
    };

    [[nodiscard]] bool has_mac(std::uint64_t mac) const;
    [[nodiscard]] bool has(std::uint32_t address) const;
    [[nodiscard]] bool has(const std::uint8_t* address6) const;
    [[nodiscard]] Drop check_arp(const std::uint8_t* arp, std::uint32_t length) const;
    [[nodiscard]] Drop check_ipv4(const std::uint8_t* ip, std::uint32_t length) const;
    [[nodiscard]] Drop check_ipv6(const std::uint8_t* ip, std::uint32_t length) const;
    [[nodiscard]] Drop check_icmp6(const std::uint8_t* source, const std::uint8_t* icmp, std::uint32_t length,
                                   bool fragment) const;

    std::vector<std::uint64_t> macs_;
    bool any_address_;
    std::vector<Network4> v4_;
    std::vector<Network6> v6_;
};

/// What comes in from a port with a guard: what may goes on as from any other port.
void guard_burst(Forwarder& forwarder, PortIndex from, const PortView& port, rte_mbuf** frames,
                 std::uint16_t count);

}  // namespace viaduct::dataplane
