// From what resolve works with, addresses of either family and ports in host order, to a flow table's keys.
#pragma once

#include <algorithm>
#include <cstdint>

#include "viaduct/address.h"

#include "flow/key.h"
#include "resolve/context.h"

namespace viaduct::dataplane {

/// The address must be of the key's family.
template <typename Address>
Address address_bytes(const IpAddress& address) {
    Address to{};
    std::ranges::copy(address.bytes().first(sizeof to.bytes), to.bytes.begin());
    return to;
}

template <typename Key>
Key make_key(Zone zone, std::uint8_t protocol, const IpAddress& source, std::uint16_t source_port,
             const IpAddress& destination, std::uint16_t destination_port) {
    using Address = typename Key::AddressType;
    return {address_bytes<Address>(source),
            address_bytes<Address>(destination),
            Be16::from_host(source_port),
            Be16::from_host(destination_port),
            protocol,
            0,
            zone};
}

template <typename Key>
Key packet_key(const Packet& packet, Zone zone) {
    return make_key<Key>(zone, packet.protocol, packet.source, packet.source_port, packet.destination,
                         packet.destination_port);
}

/// Calls `work` with a null pointer to the key type of a packet's family: one code for both tables.
template <typename Work>
auto for_family(bool v4, const Work& work) {
    return v4 ? work(static_cast<const FlowKey4*>(nullptr)) : work(static_cast<const FlowKey6*>(nullptr));
}

}  // namespace viaduct::dataplane
