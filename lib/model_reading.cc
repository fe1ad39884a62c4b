// What counts as a name, an address and a network in the model's JSON.
#include "model_reading.h"

namespace viaduct::model {

namespace {

std::optional<std::string> text_of(ObjectReader& reader, const char* key, Need need) {
    auto text = reader.string(key);
    // What is there and no string was told already.
    if (!text && need == Need::required && reader.valid() && reader.member(key) == nullptr)
        reader.fault(key, "is required");
    return text;
}

}  // namespace

std::optional<std::string> read_name(ObjectReader& reader, const char* key, Need need) {
    auto name = text_of(reader, key, need);
    if (!name || is_name(*name)) return name;
    reader.fault(key,
                 "must be 1 to 63 letters, digits, '_', '.' or '-', not starting with '-' or '.', not \"" +
                     name->substr(0, kNameMost) + "\"");
    return std::nullopt;
}

std::optional<MacAddress> read_mac(ObjectReader& reader, const char* key, Need need) {
    const auto text = text_of(reader, key, need);
    if (!text) return std::nullopt;
    const auto mac = MacAddress::parse(*text);
    if (!mac) {
        reader.fault(key, "is not a MAC address such as \"02:00:00:00:00:01\"");
    } else if (mac->is_multicast() || mac->is_zero()) {
        reader.fault(key, "must be a unicast MAC address that is not all zero");
    } else {
        return mac;
    }
    return std::nullopt;
}

std::optional<IpAddress> read_address(ObjectReader& reader, const char* key, Need need) {
    const auto text = text_of(reader, key, need);
    if (!text) return std::nullopt;
    const auto address = IpAddress::parse(*text);
    if (!address) reader.fault(key, "is not an IP address such as \"10.0.0.1\" or \"fd00::1\"");
    return address;
}

std::optional<Prefix> network_from(ObjectReader& reader, const char* key, const std::string& text) {
    const auto prefix = Prefix::parse(text);
    if (!prefix) {
        reader.fault(key, "is not a network such as \"10.0.0.0/8\" or \"fd00::/64\"");
        return std::nullopt;
    }
    if (const auto network = prefix->network(); network != prefix->address) {
        reader.fault(key, "has bits behind its length; the network is \"" +
                              Prefix{network, prefix->length}.to_string() + "\"");
        return std::nullopt;
    }
    return prefix;
}

std::optional<Prefix> read_network(ObjectReader& reader, const char* key, Need need) {
    const auto text = text_of(reader, key, need);
    return text ? network_from(reader, key, *text) : std::nullopt;
}

void read_vrf(ObjectReader& reader, std::string& vrf) {
    if (auto name = read_name(reader, "vrf", Need::optional)) vrf = std::move(*name);
}

void read_netns(ObjectReader& reader, std::string& path) {
    const auto netns = reader.string("netns");
    if (!netns) return;
    if (netns->empty() || (*netns)[0] != '/') {
        reader.fault("netns", "must be an absolute path such as /run/netns/pod1");
    } else {
        path = *netns;
    }
}

}  // namespace viaduct::model
