// What an uplink stands on, in JSON and in the words of DPDK's devices: one device, or several that make one
// port.
#include <algorithm>
#include <array>
#include <set>

#include <json/json.h>

#include "viaduct/model.h"

#include "model_reading.h"
#include "uplink_json.h"

namespace viaduct::model {

namespace {

constexpr std::size_t kDeviceMost = 255;
constexpr std::array kBondings{Bonding::active_backup, Bonding::lacp, Bonding::balance_xor};

bool is_hex(std::string_view text, std::size_t most) {
    return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
}

/// Faults one device's words; where is the key.
bool check_device(ObjectReader& reader, const char* key, const std::string& device) {
    const auto bad = [](char c) { return c <= ' ' || c == 0x7f; };
    const auto shown = std::string(key) == "members" ? "holds one that " : "";
    if (device.empty() || device[0] == ',') {
        reader.fault(key, std::string(shown) +
                              "has no name: a PCI address such as \"0000:03:00.0\", or a "
                              "virtual device such as \"net_af_packet0,iface=eth1\"");
    } else if (std::any_of(device.begin(), device.end(), bad)) {
        reader.fault(key, "must not contain white space or control characters");
    } else if (device.size() > kDeviceMost) {
        reader.fault(key, std::string(shown) + "has " + std::to_string(device.size()) +
                              " bytes; the most is " + std::to_string(kDeviceMost));
    } else {
        return true;
    }
    return false;
}

void read_members(ObjectReader& reader, Uplink& uplink) {
    const auto members = reader.strings("members");
    if (!members) return;
    for (const auto& member : *members) {
        if (!check_device(reader, "members", member)) return;
    }
    uplink.members = *members;
    if (uplink.members.size() < kBondLeast || uplink.members.size() > kBondMost) {
        reader.fault("members", "has " + std::to_string(uplink.members.size()) +
                                    (uplink.members.size() == 1 ? " device" : " devices") +
                                    "; a bond is made of " + std::to_string(kBondLeast) + " to " +
                                    std::to_string(kBondMost) + ", and for one device there is \"device\"");
    }
    std::set<std::string> places;
    for (auto& place : places_of(uplink)) {
        if (const auto [at, is_new] = places.insert(std::move(place)); !is_new)
            return reader.fault("members", "has " + *at + " twice; leave one of them out");
    }
}

}  // namespace

std::string_view to_string(Bonding mode) {
    switch (mode) {
        case Bonding::active_backup:
            return "active-backup";
        case Bonding::lacp:
            return "802.3ad";
        case Bonding::balance_xor:
            return "balance-xor";
    }
    return "unknown";
}

std::vector<std::string> devices_of(const Uplink& uplink) {
    if (uplink.members.empty()) return {uplink.device};
    return uplink.members;
}

std::optional<std::string> parse_pci_address(std::string_view device) {
    std::string text(device.substr(0, device.find(',')));
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
    if (std::count(text.begin(), text.end(), ':') == 1) text.insert(0, "0000:");
    const auto bus = text.find(':');
    const auto slot = text.rfind(':');
    const auto function = text.rfind('.');
    if (bus == std::string::npos || slot == bus || function == std::string::npos || function < slot)
        return std::nullopt;
    const std::string_view all = text;
    if (!is_hex(all.substr(0, bus), 8) || bus < 4 || slot - bus != 3 || !is_hex(all.substr(bus + 1, 2), 2) ||
        function - slot != 3 || !is_hex(all.substr(slot + 1, 2), 2))
        return std::nullopt;
    if (all.size() != function + 2 || all[function + 1] < '0' || all[function + 1] > '7') return std::nullopt;
    return text;
}

std::string device_interface(std::string_view device) {
    constexpr std::string_view key = ",iface=";
    const auto at = device.find(key);
    if (at == std::string_view::npos) return {};
    const auto begin = at + key.size();
    return std::string(device.substr(begin, device.find(',', begin) - begin));
}

std::vector<std::string> places_of(const Uplink& uplink) {
    std::vector<std::string> places;
    for (const auto& device : devices_of(uplink)) {
        const auto address = parse_pci_address(device);
        places.push_back("device " + (address ? *address : device.substr(0, device.find(','))));
        const auto interface = device_interface(device);
        if (address || interface.empty()) continue;
        places.push_back("interface " + interface +
                         (uplink.netns.empty() ? "" : " in namespace " + uplink.netns));
    }
    return places;
}

void read_uplink(ObjectReader& reader, Uplink& uplink) {
    const bool has_device = reader.member("device") != nullptr;
    const auto device = reader.string("device");
    set_boolean(reader, "gro", uplink.gro);
    set_boolean(reader, "promiscuous", uplink.promiscuous);
    read_netns(reader, uplink.netns);
    const auto* members = reader.member("members");
    const auto bond = reader.choice("bond", {"active-backup", "802.3ad", "balance-xor"});
    if (members != nullptr) {
        if (has_device) reader.fault("device", "is beside \"members\"; an uplink has one or the other");
        if (bond) uplink.bond = kBondings.at(*bond);
        return read_members(reader, uplink);
    }
    if (bond) reader.fault("bond", "needs \"members\": the devices to be joined, from 2 to 8");
    if (!has_device) {
        reader.fault("device",
                     "is required for an uplink: a PCI address such as \"0000:03:00.0\", or a virtual device "
                     "such as \"net_af_packet0,iface=eth1\"; or \"members\" for a bond");
    } else if (device && check_device(reader, "device", *device)) {
        uplink.device = *device;
    }
}

void write_uplink(Json::Value& json, const Uplink& uplink) {
    if (uplink.members.empty()) {
        json["device"] = uplink.device;
    } else {
        for (const auto& member : uplink.members)
            json["members"].append(member);
        json["bond"] = std::string(to_string(uplink.bond));
    }
    if (uplink.gro) json["gro"] = true;
    if (!uplink.promiscuous) json["promiscuous"] = false;
    if (!uplink.netns.empty()) json["netns"] = uplink.netns;
}

}  // namespace viaduct::model
