// What must hold between masquerades, port forwards and static NAT.
#include <algorithm>
#include <map>
#include <vector>

#include "model_check.h"

namespace viaduct::model {

namespace {

constexpr std::uint64_t kPoolMost = 65536;  ///< addresses of one pool

bool in_range(const AddressRange& range, const IpAddress& address) {
    return range.first <= address && address <= range.last;
}

std::string other_family(const std::string& what, const IpAddress& than) {
    return what + " is of the other IP version than " + than.to_string();
}

/// How many addresses the pool has; more than kPoolMost for any number above it.
std::uint64_t pool_size(const std::vector<AddressRange>& pool) {
    std::uint64_t size = 0;
    for (const auto& range : pool)
        size += std::min(range.last.minus(range.first).value_or(kPoolMost), kPoolMost) + 1;
    return size;
}

void check_pool(const Masquerade& masquerade, Faults& faults) {
    const auto place = "masquerades/" + masquerade.name + "/pool";
    auto pool = masquerade.pool;
    for (const auto& range : pool) {
        if (range.first.is_v4() != masquerade.source.address.is_v4()) {
            faults.push_back({place, other_family(to_string(range), masquerade.source.address)});
        } else if (!is_host_address(range.first) || !is_host_address(range.last)) {
            faults.push_back({place, to_string(range) + " has addresses that are not of one host"});
        }
    }
    std::sort(pool.begin(), pool.end());
    for (std::size_t i = 1; i < pool.size(); ++i) {
        if (pool[i].first <= pool[i - 1].last) {
            faults.push_back(
                {place, "has overlapping ranges " + to_string(pool[i - 1]) + " and " + to_string(pool[i])});
        }
    }
    if (pool_size(pool) > kPoolMost) {
        faults.push_back({place, "has more than 65536 addresses; each has 64512 ports, so fewer will do"});
    }
}

/// Each inside address has its own ports: they must be there for all of them.
void check_blocks(const Masquerade& masquerade, Faults& faults) {
    const auto place = "masquerades/" + masquerade.name + "/block";
    if (masquerade.block == 0 || masquerade.port_high < masquerade.port_low) return;
    const unsigned host_bits = masquerade.source.address.bits() - masquerade.source.length;
    const std::uint64_t ports = masquerade.port_high - masquerade.port_low + 1U;
    const std::uint64_t per_address = ports / masquerade.block;
    const auto addresses = masquerade.pool.empty() ? 1 : pool_size(masquerade.pool);
    const auto blocks = per_address * addresses;
    if (host_bits < 33 && std::uint64_t{1} << host_bits <= blocks) return;
    faults.push_back({place, "is " + std::to_string(masquerade.block) + ": the pool has " +
                                 std::to_string(blocks) + " blocks of so many ports, and " +
                                 masquerade.source.to_string() + " has 2^" + std::to_string(host_bits) +
                                 " addresses; take smaller blocks or a larger pool"});
}

void check_masquerade(const Config& config, const Masquerade& masquerade, Faults& faults) {
    const auto place = "masquerades/" + masquerade.name;
    if (!vrf_exists(config, masquerade.vrf)) {
        faults.push_back({place + "/vrf", no_such_vrf(masquerade.vrf)});
    } else if (!masquerade.interface.empty()) {
        const auto interface = config.interfaces.find(masquerade.interface);
        if (interface == config.interfaces.end()) {
            faults.push_back({place + "/interface", "names interface \"" + masquerade.interface +
                                                        "\", which does not exist; create it first or in the "
                                                        "same transaction"});
        } else if (interface->second.vrf != masquerade.vrf) {
            faults.push_back({place + "/interface", "names interface \"" + masquerade.interface +
                                                        "\", which is in VRF \"" + interface->second.vrf +
                                                        "\" and not in \"" + masquerade.vrf + "\""});
        }
    }
    if (masquerade.source.address.is_multicast())
        faults.push_back({place + "/source", "is of group addresses, which send nothing"});
    for (const auto& network : masquerade.except) {
        if (network.address.is_v4() != masquerade.source.address.is_v4())
            faults.push_back(
                {place + "/except", other_family(network.to_string(), masquerade.source.address)});
    }
    if (masquerade.port_high < masquerade.port_low) {
        faults.push_back({place + "/port_high", "is " + std::to_string(masquerade.port_high) +
                                                    ", below port_low, which is " +
                                                    std::to_string(masquerade.port_low)});
    }
    check_pool(masquerade, faults);
    check_blocks(masquerade, faults);
}

void check_forward(const Config& config, const PortForward& forward, Faults& faults) {
    const auto place = "port_forwards/" + forward.name;
    if (!vrf_exists(config, forward.vrf)) faults.push_back({place + "/vrf", no_such_vrf(forward.vrf)});
    if (!is_host_address(forward.address))
        faults.push_back(
            {place + "/address", forward.address.to_string() + " is not the address of one host"});
    if (!is_host_address(forward.to))
        faults.push_back({place + "/to", forward.to.to_string() + " is not the address of one host"});
    if (forward.address.is_v4() != forward.to.is_v4())
        faults.push_back({place + "/to", other_family(forward.to.to_string(), forward.address)});
    if (forward.port_last < forward.port) {
        faults.push_back({place + "/port_last", "is " + std::to_string(forward.port_last) + ", below port " +
                                                    std::to_string(forward.port)});
    } else if (forward.to_port + (forward.port_last - forward.port) > UINT16_MAX) {
        faults.push_back({place + "/to_port", "is " + std::to_string(forward.to_port) +
                                                  ": the last port would be above 65535; begin lower"});
    }
}

/// Port forwards of one address and protocol, sorted by their first port.
void check_forwards_apart(std::vector<const PortForward*>& forwards, Faults& faults) {
    std::stable_sort(forwards.begin(), forwards.end(),
                     [](const PortForward* a, const PortForward* b) { return a->port < b->port; });
    const PortForward* reaching = nullptr;  // of those before, the one that goes furthest
    for (const auto* one : forwards) {
        if (reaching != nullptr && one->port <= reaching->port_last) {
            faults.push_back({"port_forwards/" + one->name + "/port",
                              "is " + std::to_string(one->port) + " of " +
                                  std::string(to_string(one->protocol)) + " at " + one->address.to_string() +
                                  ", which port forward \"" + reaching->name +
                                  "\" has; give it another port or address"});
        }
        if (reaching == nullptr || one->port_last > reaching->port_last) reaching = one;
    }
}

void check_static_nats(const Config& config, Faults& faults) {
    using Address = std::tuple<std::string, std::string_view, IpAddress>;
    std::map<Address, std::string> holders;
    const auto claim = [&](const StaticNat& nat, const char* side, const IpAddress& address) {
        const auto place = "static_nats/" + nat.name + "/" + side;
        if (!is_host_address(address))
            faults.push_back({place, address.to_string() + " is not the address of one host"});
        const auto [holder, is_new] = holders.emplace(Address(nat.vrf, side, address), nat.name);
        if (!is_new) {
            faults.push_back({place, "is " + address.to_string() + ", which static NAT \"" + holder->second +
                                         "\" has; each address has one other"});
        }
    };
    for (const auto& [name, nat] : config.static_nats) {
        if (!vrf_exists(config, nat.vrf))
            faults.push_back({"static_nats/" + name + "/vrf", no_such_vrf(nat.vrf)});
        claim(nat, "outside", nat.outside);
        claim(nat, "inside", nat.inside);
        if (nat.outside.is_v4() != nat.inside.is_v4()) {
            faults.push_back(
                {"static_nats/" + name + "/inside", other_family(nat.inside.to_string(), nat.outside)});
        } else if (nat.outside == nat.inside) {
            faults.push_back({"static_nats/" + name + "/inside",
                              "is the outside address; there is nothing to "
                              "translate"});
        }
        for (const auto& [other, masquerade] : config.masquerades) {
            const auto& pool = masquerade.pool;
            if (masquerade.vrf == nat.vrf &&
                std::any_of(pool.begin(), pool.end(), [&outside = nat.outside](const auto& range) {
                    return in_range(range, outside);
                })) {
                faults.push_back({"static_nats/" + name + "/outside",
                                  "is " + nat.outside.to_string() +
                                      ", which is in the pool of masquerade \"" + other +
                                      "\"; take it out of there or use another"});
            }
        }
    }
}

}  // namespace

void check_nat(const Config& config, Faults& faults) {
    for (const auto& [name, masquerade] : config.masquerades)
        check_masquerade(config, masquerade, faults);
    std::map<std::tuple<std::string, IpAddress, Transport>, std::vector<const PortForward*>> by_address;
    for (const auto& [name, forward] : config.port_forwards) {
        check_forward(config, forward, faults);
        by_address[{forward.vrf, forward.address, forward.protocol}].push_back(&forward);
    }
    for (auto& [address, forwards] : by_address)
        check_forwards_apart(forwards, faults);
    check_static_nats(config, faults);
}

}  // namespace viaduct::model
