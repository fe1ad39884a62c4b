#include "bridge_keys.h"

#include <algorithm>

#include <json/json.h>

namespace viaduct::cni {

namespace {

struct NotYet {
    const char* key;
    const char* why;
};

/// Keys that must be false or absent.
constexpr NotYet kNotYet[] = {
    {"forceAddress", "a gateway keeps the addresses that pods of its network have it by"},
    {"hairpinMode", "sending frames back to the port that they came from is not done"},
    {"promiscMode", "there is no kernel bridge that could be made promiscuous"},
    {"portIsolation", "isolating the ports of a bridge from each other is not done"},
};

void read_switches(ObjectReader& reader, std::vector<std::string>& unsupported) {
    for (const auto& [key, why] : kNotYet) {
        if (!reader.boolean(key).value_or(false)) continue;
        unsupported.push_back(std::string("\"") + key + "\": true is not supported: " + why +
                              "; set it to false or leave it out");
    }
    reader.member("ipMasqBackend");  // iptables or nftables: it is neither
}

std::uint16_t read_id(ObjectReader& reader, const char* key) {
    return static_cast<std::uint16_t>(reader.integer(key, model::kVlanFirst, model::kVlanLast).value_or(0));
}

/// [{"minID": 10, "maxID": 19}, {"id": 30}]
std::vector<model::VlanRange> read_trunk(const Json::Value& list, Faults& faults) {
    std::vector<model::VlanRange> ranges;
    for (Json::ArrayIndex i = 0; i < list.size(); ++i) {
        const auto place = "vlanTrunk/" + std::to_string(i);
        ObjectReader reader(list[i], place, faults, ObjectReader::Keys::any_case);
        if (!reader.valid()) continue;
        const auto low = read_id(reader, "minID");
        const auto high = read_id(reader, "maxID");
        const auto id = read_id(reader, "id");
        if ((low == 0) != (high == 0) || (low == 0 && id == 0) || high < low) {
            faults.push_back(
                {place, "must have minID and maxID, with minID not above maxID, or id; 1 to 4094"});
            continue;
        }
        if (low != 0) ranges.push_back({low, high});
        if (id != 0) ranges.push_back({id, id});
    }
    // They may overlap as they are written; a port's must not.
    std::sort(ranges.begin(), ranges.end());
    std::vector<model::VlanRange> joined;
    for (const auto& range : ranges) {
        if (!joined.empty() && range.first <= joined.back().last) {
            joined.back().last = std::max(joined.back().last, range.last);
        } else {
            joined.push_back(range);
        }
    }
    return joined;
}

void read_vlans(ObjectReader& reader, attachment::Request& request, std::vector<std::string>& unsupported,
                Faults& faults) {
    const auto vlan = static_cast<std::uint16_t>(reader.integer("vlan", 0, model::kVlanLast).value_or(0));
    std::vector<model::VlanRange> tagged;
    if (const auto* trunk = reader.array("vlanTrunk", model::kVlanLast)) tagged = read_trunk(*trunk, faults);
    const bool keep_default = reader.boolean("preserveDefaultVlan").value_or(false);
    if (vlan == 0 && tagged.empty()) return;
    if (keep_default) {
        unsupported.emplace_back(
            "\"preserveDefaultVlan\": true is not supported together with vlan or vlanTrunk: a port has one "
            "untagged "
            "VLAN, and VLAN 1 would be a second; set it to false or leave it out");
    }
    request.vlan = model::VlanMembership{vlan, std::move(tagged)};
}

}  // namespace

void read_bridge_keys(ObjectReader& reader, attachment::Request& request,
                      std::vector<std::string>& unsupported, Faults& faults) {
    request.bridge = reader.string("bridge").value_or("");
    if (request.bridge.empty()) request.bridge = "cni0";
    if (!model::is_name(request.bridge)) {
        reader.fault("bridge",
                     "must be 1 to 63 letters, digits, '_', '.' or '-', not starting with '-' or '.'");
    }
    read_switches(reader, unsupported);
    request.masquerade = reader.boolean("ipMasq").value_or(false);
    request.default_gateway = reader.boolean("isDefaultGateway").value_or(false);
    const bool gateway = reader.boolean("isGateway").value_or(false);
    request.gateway = gateway || request.default_gateway;
    read_vlans(reader, request, unsupported, faults);
    if (const auto mtu = reader.integer("mtu", 0, model::kMtuMost); mtu && *mtu != 0) {
        request.mtu = static_cast<std::uint32_t>(*mtu);
        if (*mtu < model::kMtuLeast) reader.fault("mtu", "must be 0 for the default, or from 68 to 9216");
    }
    request.detect_duplicates = reader.boolean("enabledad").value_or(false);
    request.up = !reader.boolean("disableContainerInterface").value_or(false);
}

}  // namespace viaduct::cni
