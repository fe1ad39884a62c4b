// The JSON form of address translation: masquerades, port forwards and static NAT.
#include <algorithm>
#include <array>

#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

#include "model_reading.h"

namespace viaduct::model {

namespace {

void read_except(ObjectReader& reader, std::vector<Prefix>& except) {
    for (const auto& text : reader.strings("except").value_or(std::vector<std::string>{})) {
        if (const auto network = network_from(reader, "except", text)) except.push_back(*network);
    }
}

void read_pool(ObjectReader& reader, std::vector<AddressRange>& pool) {
    for (const auto& text : reader.strings("pool").value_or(std::vector<std::string>{})) {
        if (const auto range = parse_address_range(text)) {
            pool.push_back(*range);
        } else {
            reader.fault("pool",
                         "holds \"" + text +
                             "\"; ranges are written \"10.0.0.1\" or \"10.0.0.1-10.0.0.9\", the lower "
                             "address first");
        }
    }
}

}  // namespace

Json::Value to_json(const Masquerade& masquerade) {
    Json::Value json(Json::objectValue);
    json["name"] = masquerade.name;
    json["vrf"] = masquerade.vrf;
    json["source"] = masquerade.source.to_string();
    auto& except = json["except"] = Json::arrayValue;
    for (const auto& network : masquerade.except)
        except.append(network.to_string());
    if (!masquerade.interface.empty()) json["interface"] = masquerade.interface;
    auto& pool = json["pool"] = Json::arrayValue;
    for (const auto& range : masquerade.pool)
        pool.append(to_string(range));
    json["port_low"] = masquerade.port_low;
    json["port_high"] = masquerade.port_high;
    if (masquerade.block != 0) json["block"] = masquerade.block;
    json["endpoint_independent"] = masquerade.endpoint_independent;
    return json;
}

std::optional<Masquerade> masquerade_from_json(const Json::Value& json, const std::string& where,
                                               Faults& faults) {
    ObjectReader reader(json, where, faults);
    Masquerade masquerade;
    const auto name = read_name(reader, "name", Need::required);
    read_vrf(reader, masquerade.vrf);
    const auto source = read_network(reader, "source", Need::required);
    read_except(reader, masquerade.except);
    if (const auto interface = read_name(reader, "interface", Need::optional))
        masquerade.interface = *interface;
    read_pool(reader, masquerade.pool);
    set_integer(reader, "port_low", 1, UINT16_MAX, masquerade.port_low);
    set_integer(reader, "port_high", 1, UINT16_MAX, masquerade.port_high);
    set_integer(reader, "block", 0, UINT16_MAX, masquerade.block);
    set_boolean(reader, "endpoint_independent", masquerade.endpoint_independent);
    reader.done();
    if (!name || !source) return std::nullopt;
    masquerade.name = *name;
    masquerade.source = *source;
    return masquerade;
}

Json::Value to_json(const PortForward& forward) {
    Json::Value json(Json::objectValue);
    json["name"] = forward.name;
    json["vrf"] = forward.vrf;
    json["protocol"] = std::string(to_string(forward.protocol));
    json["address"] = forward.address.to_string();
    json["port"] = forward.port;
    json["port_last"] = forward.port_last;
    json["to"] = forward.to.to_string();
    json["to_port"] = forward.to_port;
    return json;
}

std::optional<PortForward> port_forward_from_json(const Json::Value& json, const std::string& where,
                                                  Faults& faults) {
    constexpr std::array kProtocols{Transport::tcp, Transport::udp, Transport::sctp};
    ObjectReader reader(json, where, faults);
    PortForward forward;
    const auto name = read_name(reader, "name", Need::required);
    read_vrf(reader, forward.vrf);
    if (const auto protocol = reader.choice("protocol", {"tcp", "udp", "sctp"}))
        forward.protocol = kProtocols.at(*protocol);
    const auto address = read_address(reader, "address", Need::required);
    const auto to = read_address(reader, "to", Need::required);
    if (reader.valid() && reader.member("port") == nullptr)
        reader.fault("port", "is required, from 1 to 65535");
    set_integer(reader, "port", 1, UINT16_MAX, forward.port);
    forward.port_last = forward.port;
    forward.to_port = forward.port;
    set_integer(reader, "port_last", 1, UINT16_MAX, forward.port_last);
    set_integer(reader, "to_port", 1, UINT16_MAX, forward.to_port);
    reader.done();
    if (!name || !address || !to) return std::nullopt;
    forward.name = *name;
    forward.address = *address;
    forward.to = *to;
    return forward;
}

Json::Value to_json(const StaticNat& nat) {
    Json::Value json(Json::objectValue);
    json["name"] = nat.name;
    json["vrf"] = nat.vrf;
    json["outside"] = nat.outside.to_string();
    json["inside"] = nat.inside.to_string();
    return json;
}

std::optional<StaticNat> static_nat_from_json(const Json::Value& json, const std::string& where,
                                              Faults& faults) {
    ObjectReader reader(json, where, faults);
    StaticNat nat;
    const auto name = read_name(reader, "name", Need::required);
    read_vrf(reader, nat.vrf);
    const auto outside = read_address(reader, "outside", Need::required);
    const auto inside = read_address(reader, "inside", Need::required);
    reader.done();
    if (!name || !outside || !inside) return std::nullopt;
    nat.name = *name;
    nat.outside = *outside;
    nat.inside = *inside;
    return nat;
}

}  // namespace viaduct::model
