#include "result.h"

#include <json/json.h>

#include "viaduct/json.h"

#include "error.h"
#include "ipam_config.h"

namespace viaduct::cni {

using attachment::Attached;
using attachment::Request;
using Keys = ObjectReader::Keys;

std::string error_text(const Error& error, const std::string& version) {
    Json::Value json(Json::objectValue);
    json["cniVersion"] = version;
    json["code"] = error.code();
    json["msg"] = error.what();
    if (!error.details().empty()) json["details"] = error.details();
    return viaduct::to_json_text(json);
}

std::string version_text(const std::string& version) {
    Json::Value json(Json::objectValue);
    json["cniVersion"] = version;
    for (const auto& one : versions())
        json["supportedVersions"].append(one);
    return viaduct::to_json_text(json);
}

namespace {

Json::Value interface_json(const std::string& version, const Request& request, const Attached& attached) {
    Json::Value json(Json::objectValue);
    json["name"] = request.key.ifname;
    json["mac"] = attached.mac.to_string();
    json["sandbox"] = request.netns;
    if (at_least(version, "1.1.0")) {
        json["mtu"] = attached.mtu;
        if (!attached.socket_path.empty()) json["socketPath"] = attached.socket_path;
    }
    return json;
}

Json::Value ip_json(const std::string& version, const attachment::Address& address,
                    Json::ArrayIndex interface) {
    Json::Value json(Json::objectValue);
    if (!at_least(version, "1.0.0")) json["version"] = address.address.address.is_v4() ? "4" : "6";
    json["interface"] = interface;
    json["address"] = address.address.to_string();
    if (address.gateway) json["gateway"] = address.gateway->to_string();
    return json;
}

Json::Value route_json(const std::string& version, const attachment::Route& route) {
    Json::Value json(Json::objectValue);
    json["dst"] = route.destination.to_string();
    if (route.gateway) json["gw"] = route.gateway->to_string();
    if (!at_least(version, "1.1.0")) return json;
    const auto put = [&](const char* key, const std::optional<std::uint32_t>& value) {
        if (value) json[key] = *value;
    };
    put("mtu", route.mtu);
    put("advmss", route.advmss);
    put("priority", route.priority);
    put("table", route.table);
    put("scope", route.scope);
    return json;
}

Json::Value dns_json(const attachment::Dns& dns) {
    Json::Value json(Json::objectValue);
    const auto list = [&](const char* key, const std::vector<std::string>& texts) {
        for (const auto& text : texts)
            json[key].append(text);
    };
    list("nameservers", dns.nameservers);
    if (!dns.domain.empty()) json["domain"] = dns.domain;
    list("search", dns.search);
    list("options", dns.options);
    return json;
}

/// The lists of the plugins before this one, as they gave them.
void take_previous(const Json::Value& previous, Json::Value& result) {
    Faults faults;
    ObjectReader reader(previous, "prevResult", faults, Keys::any_case);
    for (const char* key : {"interfaces", "ips", "routes"}) {
        if (const auto* list = reader.array(key, 65536)) result[key] = *list;
    }
    if (const auto* dns = reader.object("dns")) result["dns"] = *dns;
    if (!faults.empty()) throw Error(attachment::kInvalidConfig, faults);
}

}  // namespace

Json::Value make_result(const std::string& version, const Request& request, const Attached& attached,
                        const Json::Value* previous) {
    Json::Value result(Json::objectValue);
    result["cniVersion"] = version;
    result["interfaces"] = Json::arrayValue;
    result["ips"] = Json::arrayValue;
    result["routes"] = Json::arrayValue;
    if (previous != nullptr) take_previous(*previous, result);
    const auto ours = result["interfaces"].size();
    result["interfaces"].append(interface_json(version, request, attached));
    for (const auto& address : attached.addresses)
        result["ips"].append(ip_json(version, address, ours));
    for (const auto& route : request.routes)
        result["routes"].append(route_json(version, route));
    for (const char* key : {"ips", "routes"}) {
        if (result[key].empty()) result.removeMember(key);
    }
    if (!request.dns.empty()) result["dns"] = dns_json(request.dns);
    if (!result.isMember("dns")) result["dns"] = Json::objectValue;
    return result;
}

attachment::Expected expected_from(const Json::Value& previous, const attachment::Key& key) {
    Faults faults;
    attachment::Expected expected;
    expected.key = key;
    ObjectReader reader(previous, "prevResult", faults, Keys::any_case);
    std::optional<std::uint64_t> ours;
    if (const auto* interfaces = reader.array("interfaces", 65536)) {
        for (Json::ArrayIndex i = 0; i < interfaces->size(); ++i) {
            ObjectReader one((*interfaces)[i], "prevResult/interfaces/" + std::to_string(i), faults,
                             Keys::any_case);
            const auto name = one.string("name").value_or("");
            const auto sandbox = one.string("sandbox").value_or("");
            const auto mac = one.string("mac").value_or("");
            if (name != key.ifname || sandbox.empty()) continue;
            ours = i;
            expected.mac = MacAddress::parse(mac);
        }
    }
    if (!ours)
        faults.push_back(
            {"prevResult/interfaces", "does not have interface " + key.ifname + " in a sandbox"});
    if (const auto* ips = reader.array("ips", 65536)) {
        for (Json::ArrayIndex i = 0; i < ips->size(); ++i) {
            ObjectReader one((*ips)[i], "prevResult/ips/" + std::to_string(i), faults, Keys::any_case);
            const auto interface = one.integer("interface", 0, 65536);
            const auto address = Prefix::parse(one.string("address").value_or(""));
            if (!address) one.fault("address", "is not of the form 10.0.0.5/24");
            if (address && (!interface || interface == ours)) expected.addresses.push_back(*address);
        }
    }
    if (!faults.empty()) throw Error(attachment::kInvalidConfig, faults);
    return expected;
}

void take_ipam_result(const std::string& text, const std::string& type, Request& request) {
    Faults faults;
    try {
        const auto json = parse_json(text, "result", {kInputMost, 32});
        ObjectReader reader(json, "result", faults, Keys::any_case);
        if (const auto* ips = reader.array("ips", attachment::kListMost)) {
            for (Json::ArrayIndex i = 0; i < ips->size(); ++i) {
                ObjectReader one((*ips)[i], "result/ips/" + std::to_string(i), faults, Keys::any_case);
                const auto address = Prefix::parse(one.string("address").value_or(""));
                const auto gateway = one.string("gateway").value_or("");
                if (!address) one.fault("address", "is not of the form 10.0.0.5/24");
                if (!gateway.empty() && !IpAddress::parse(gateway))
                    one.fault("gateway", "is not an IP address");
                if (address) request.addresses.push_back({*address, IpAddress::parse(gateway)});
            }
        }
        if (const auto* routes = reader.array("routes", attachment::kListMost)) {
            read_routes(*routes, "result/routes", request.routes, faults);
        }
        const auto* dns = reader.object("dns");
        if (dns != nullptr && request.dns.empty()) request.dns = read_dns(*dns, "result/dns", faults);
    } catch (const Refused& refused) {
        faults = refused.faults();
    }
    if (!faults.empty()) {
        throw Error(attachment::kDelegateFailed,
                    "the IPAM plugin \"" + type + "\" answered nonsense: " + to_string(faults));
    }
}

}  // namespace viaduct::cni
