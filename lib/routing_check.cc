// What must hold between VRFs, interfaces, routes and neighbours. Routes come by the million: nothing is done
// for each of them that could be done for each interface or each next hop.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "model_check.h"

namespace viaduct::model {

namespace {

bool is_v6_link_local(const IpAddress& address) {
    return !address.is_v4() && address.is_link_local();
}

/// Why `own` cannot be an interface's address; empty when it can.
std::string fault_of_address(const Prefix& own) {
    if (!is_host_address(own.address))
        return "is not the address of one host; use a unicast address of a network of yours";
    const bool has_edges = own.address.bits() - own.length >= 2;  // RFC 3021, RFC 6164: not of two addresses
    if (has_edges && own.address == own.network()) {
        return own.address.is_v4()
                   ? "is the network itself; use an address in it"
                   : "is the network's anycast address of all routers (RFC 4291 2.6.1); use another in it";
    }
    if (has_edges && own.address.is_v4() && own.address == own.last())
        return "is the network's broadcast address; use another in it";
    return {};
}

void check_place(const Config& config, const Interface& interface, Faults& faults) {
    const auto place = "interfaces/" + interface.name;
    if (!vrf_exists(config, interface.vrf)) faults.push_back({place + "/vrf", no_such_vrf(interface.vrf)});
    const auto bridge = config.bridges.find(interface.bridge);
    if (bridge == config.bridges.end()) {
        faults.push_back(
            {place + "/bridge", "names bridge \"" + interface.bridge +
                                    "\", which does not exist; create it first or in the same transaction"});
        return;
    }
    if (bridge->second.vlan_filtering && interface.vlan == 0) {
        faults.push_back({place + "/vlan", "is required: bridge \"" + interface.bridge +
                                               "\" filters VLANs; ports that name none are in VLAN 1"});
    } else if (!bridge->second.vlan_filtering && interface.vlan != 0) {
        faults.push_back({place + "/vlan", "needs vlan_filtering on bridge \"" + interface.bridge + "\""});
    }
}

void check_addresses(const Interface& interface, Faults& faults) {
    bool v6 = false;
    for (const auto& own : interface.addresses) {
        v6 = v6 || !own.address.is_v4();
        if (const auto fault = fault_of_address(own); !fault.empty())
            faults.push_back({"interfaces/" + interface.name + "/addresses", own.to_string() + " " + fault});
    }
    for (std::size_t i = 1; i < interface.addresses.size(); ++i) {
        if (interface.addresses[i].address == interface.addresses[i - 1].address) {
            faults.push_back(
                {"interfaces/" + interface.name + "/addresses",
                 interface.addresses[i].address.to_string() + " is there with two lengths; one is enough"});
        }
    }
    if (v6 && interface.mtu < kMtuLeast6) {
        faults.push_back({"interfaces/" + interface.name + "/mtu",
                          "is " + std::to_string(interface.mtu) +
                              ", and IPv6 needs 1280; raise it or take the IPv6 addresses away"});
    }
}

void check_macs(const Config& config, Faults& faults) {
    std::map<std::tuple<std::string, std::uint16_t, MacAddress>, std::string> holders;
    for (const auto& [name, interface] : config.interfaces) {
        const auto mac = interface.mac.value_or(derived_mac(name));
        const auto [holder, is_new] =
            holders.emplace(std::tuple(interface.bridge, interface.vlan, mac), name);
        if (!is_new) {
            faults.push_back({"interfaces/" + name + "/mac",
                              "is " + mac.to_string() + ", which interface \"" + holder->second +
                                  "\" has on the same bridge; give one of them another"});
        }
        if (config.fdb.contains(holder->first)) {
            faults.push_back({"interfaces/" + name + "/mac",
                              "is " + mac.to_string() + ", for which bridge \"" + interface.bridge +
                                  "\" has a static FDB entry; delete that or give the interface another"});
        }
    }
}

struct OwnNetwork {
    Prefix network;
    const Interface* interface;
};

/// Networks of one VRF, sorted so that each follows those that contain it.
void check_overlaps(const std::vector<OwnNetwork>& networks, Faults& faults) {
    std::vector<const OwnNetwork*> around;
    for (const auto& one : networks) {
        while (!around.empty() && !around.back()->network.contains(one.network.address))
            around.pop_back();
        const auto other = std::find_if(around.rbegin(), around.rend(), [&](const OwnNetwork* outer) {
            return outer->interface != one.interface;
        });
        if (other != around.rend()) {
            faults.push_back({"interfaces/" + one.interface->name + "/addresses",
                              "have network " + one.network.to_string() + ", which overlaps " +
                                  (*other)->network.to_string() + " of interface \"" +
                                  (*other)->interface->name + "\" in VRF \"" + one.interface->vrf +
                                  "\"; use another network or another VRF"});
        }
        around.push_back(&one);
    }
}

void check_overlaps(const Config& config, Faults& faults) {
    std::map<std::string, std::vector<OwnNetwork>> by_vrf;
    for (const auto& [name, interface] : config.interfaces) {
        for (const auto& own : interface.addresses) {
            // fe80::/10 is on every link anew.
            if (is_v6_link_local(own.address)) continue;
            by_vrf[interface.vrf].push_back({{own.network(), own.length}, &interface});
        }
    }
    for (auto& [vrf, networks] : by_vrf) {
        std::stable_sort(networks.begin(), networks.end(),
                         [](const auto& a, const auto& b) { return a.network < b.network; });
        check_overlaps(networks, faults);
    }
}

/// Whether what has `address` is on the link of `interface`.
bool is_on_link(const Interface& interface, const IpAddress& address) {
    if (is_v6_link_local(address)) return true;
    return std::any_of(interface.addresses.begin(), interface.addresses.end(),
                       [&](const Prefix& own) { return own.contains(address); });
}

/// Why `address` cannot be that of another host on the link of `interface`; empty when it can.
std::string fault_of_neighbour(const Interface& interface, const IpAddress& address) {
    if (!is_host_address(address)) return "is not the address of one host";
    if (!is_on_link(interface, address)) {
        return "is in none of the networks of interface \"" + interface.name +
               "\"; give the interface an address in its network";
    }
    for (const auto& own : interface.addresses) {
        if (own.address == address) return "is interface \"" + interface.name + "\"'s own address";
        const bool has_edges = address.is_v4() && own.address.is_v4() && own.length <= 30;
        if (has_edges && (address == own.last() || address == own.network()))
            return "is the network or broadcast address of " + own.to_string();
    }
    return {};
}

/// Judges next hops, each only once: a million routes have few of them.
class NextHops {
public:
    explicit NextHops(const Config& config) : config_(config) {}

    /// What is wrong with `hop` of a route in `vrf`; empty when nothing is.
    const std::string& fault_of(const NextHop& hop, const std::string& vrf) {
        if (last_hop_ != nullptr && last_vrf_ == vrf && last_hop_->via == hop.via &&
            last_hop_->interface == hop.interface) {
            return *last_;
        }
        auto [known, is_new] = judged_.try_emplace({vrf, hop.interface, hop.via});
        if (is_new) known->second = judge(hop, vrf);
        last_hop_ = &hop;
        last_vrf_ = vrf;
        last_ = &known->second;
        return *last_;
    }

private:
    [[nodiscard]] std::string judge(const NextHop& hop, const std::string& vrf) const {
        const auto found = config_.interfaces.find(hop.interface);
        if (found == config_.interfaces.end())
            return "name interface \"" + hop.interface +
                   "\", which does not exist; create it first or in the "
                   "same transaction";
        if (found->second.vrf != vrf) {
            return "name interface \"" + hop.interface + "\", which is in VRF \"" + found->second.vrf +
                   "\" and not in \"" + vrf + "\"";
        }
        if (!hop.via) return {};
        const auto fault = fault_of_neighbour(found->second, *hop.via);
        return fault.empty() ? fault : "go via " + hop.via->to_string() + ", which " + fault;
    }

    const Config& config_;
    std::map<std::tuple<std::string, std::string, std::optional<IpAddress>>, std::string> judged_;
    const NextHop* last_hop_ = nullptr;
    std::string last_vrf_;
    const std::string* last_ = nullptr;
};

void check_hops(const Route& route, NextHops& hops, Faults& faults) {
    const NextHop* before = nullptr;
    for (const auto& hop : route.next_hops) {
        if (const auto& fault = hops.fault_of(hop, route.vrf); !fault.empty())
            faults.push_back({place_of_object(route) + "/next_hops", fault});
        if (hop.via && hop.via->is_v4() != route.prefix.address.is_v4()) {
            faults.push_back({place_of_object(route) + "/next_hops",
                              "go via " + hop.via->to_string() + ", which is of the other IP version"});
        }
        if (before != nullptr && before->via == hop.via && before->interface == hop.interface) {
            faults.push_back(
                {place_of_object(route) + "/next_hops", "name the same next hop twice; use \"weight\""});
        }
        before = &hop;
    }
}

void check_route(const Route& route, bool vrf_known, NextHops& hops, Faults& faults) {
    if (!vrf_known) faults.push_back({place_of_object(route) + "/vrf", no_such_vrf(route.vrf)});
    const auto& prefix = route.prefix;
    if (prefix.address.is_multicast()) {
        faults.push_back({place_of_object(route), "is of group addresses, which are not routed"});
    }
    if (!prefix.address.is_v4() && route.mtu != 0 && route.mtu < kMtuLeast6) {
        faults.push_back(
            {place_of_object(route) + "/mtu", "is " + std::to_string(route.mtu) + ", and IPv6 needs 1280"});
    }
    if (vrf_known) check_hops(route, hops, faults);
}

}  // namespace

void check_interfaces(const Config& config, Faults& faults) {
    for (const auto& [name, interface] : config.interfaces) {
        check_place(config, interface, faults);
        check_addresses(interface, faults);
    }
    check_macs(config, faults);
    check_overlaps(config, faults);
}

void check_routes(const Config& config, Faults& faults, const Config* sound) {
    NextHops hops(config);
    std::string vrf;
    bool vrf_known = false;
    const auto check = [&](const Route& route) {
        if (vrf != route.vrf) vrf_known = vrf_exists(config, vrf = route.vrf);
        check_route(route, vrf_known, hops, faults);
    };
    // All that a route's soundness hangs on besides itself.
    if (sound != nullptr && sound->vrfs == config.vrfs && sound->interfaces == config.interfaces) {
        decltype(Config::routes)::differences(
            sound->routes, config.routes,
            [&](const auto& /*key*/, const Route* /*before*/, const Route* after) {
                if (after != nullptr) check(*after);
                return true;
            });
        return;
    }
    for (const auto& [key, route] : config.routes)
        check(route);
}

void check_neighbours(const Config& config, Faults& faults) {
    for (const auto& [key, neighbour] : config.neighbours) {
        const auto interface = config.interfaces.find(neighbour.interface);
        if (interface == config.interfaces.end()) {
            faults.push_back({place_of_object(neighbour),
                              "names interface \"" + neighbour.interface +
                                  "\", which does not exist; create it first or in the same transaction"});
            continue;
        }
        if (const auto fault = fault_of_neighbour(interface->second, neighbour.address); !fault.empty())
            faults.push_back({place_of_object(neighbour), fault});
    }
}

}  // namespace viaduct::model
