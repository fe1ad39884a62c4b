// One table of methods. Docker sends members that no driver needs and adds some with every version: what is
// not known is left alone.
#include "docker/plugin.h"

#include <functional>
#include <map>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

#include "api/router.h"

namespace viaduct::docker {

namespace {

constexpr const char* kContentType = "application/vnd.docker.plugins.v1.1+json";
constexpr std::size_t kBodyMost = 1U << 20U;
constexpr std::size_t kIdMost = 128;

using Method = std::function<Json::Value(Driver&, Pools&, const Json::Value&)>;

void refuse_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

Json::Value nothing() {
    return Json::objectValue;
}

EndpointId endpoint_of(const Json::Value& request) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    EndpointId id{reader.string("NetworkID", kIdMost).value_or(""),
                  reader.string("EndpointID", kIdMost).value_or("")};
    refuse_any(faults);
    return id;
}

std::string text_of(const Json::Value& request, const char* key, std::size_t most = 4096) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    auto text = reader.string(key, most).value_or("");
    refuse_any(faults);
    return text;
}

Json::Value activate(Driver&, Pools&, const Json::Value&) {
    Json::Value answer(Json::objectValue);
    answer["Implements"].append("NetworkDriver");
    answer["Implements"].append("IpamDriver");
    return answer;
}

Json::Value capabilities(Driver&, Pools&, const Json::Value&) {
    Json::Value answer(Json::objectValue);
    answer["Scope"] = "local";
    answer["ConnectivityScope"] = "local";
    return answer;
}

Json::Value create_endpoint(Driver& driver, Pools&, const Json::Value& request) {
    Driver::Endpoint endpoint{endpoint_of(request), {}, {}};
    Faults faults;
    ObjectReader reader(request, "", faults);
    if (const auto* interface = reader.object("Interface")) {
        ObjectReader inner(*interface, "Interface", faults);
        for (const char* key : {"Address", "AddressIPv6"}) {
            const auto text = inner.string(key, 64).value_or("");
            if (text.empty()) continue;
            if (const auto prefix = Prefix::parse(text)) {
                endpoint.addresses.push_back(*prefix);
            } else {
                inner.fault(key, "is \"" + text + "\", which is not of the form 10.1.0.2/24");
            }
        }
        const auto mac = inner.string("MacAddress", 64).value_or("");
        endpoint.mac = MacAddress::parse(mac);
        if (!mac.empty() && (!endpoint.mac || endpoint.mac->is_multicast() || endpoint.mac->is_zero()))
            inner.fault("MacAddress", "is \"" + mac + "\", which no interface can have");
    }
    refuse_any(faults);
    const bool given = endpoint.mac.has_value();
    const auto mac = driver.create_endpoint(endpoint);
    auto answer = nothing();
    answer["Interface"] = Json::objectValue;
    // What Docker gave must not be given back to it.
    if (!given) answer["Interface"]["MacAddress"] = mac.to_string();
    return answer;
}

Json::Value join(Driver& driver, Pools&, const Json::Value& request) {
    const auto joined = driver.join(endpoint_of(request), text_of(request, "SandboxKey"));
    auto answer = nothing();
    answer["InterfaceName"]["SrcName"] = joined.ifname;
    answer["InterfaceName"]["DstPrefix"] = "eth";
    if (joined.gateway4) answer["Gateway"] = joined.gateway4->to_string();
    if (joined.gateway6) answer["GatewayIPv6"] = joined.gateway6->to_string();
    // Else a container without a gateway would be given one by a bridge of Docker's own.
    answer["DisableGatewayService"] = true;
    return answer;
}

Json::Value program(Driver& driver, Pools&, const Json::Value& request) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    const auto* options = reader.object("Options");
    refuse_any(faults);
    driver.publish(endpoint_of(request),
                   options == nullptr ? std::vector<attachment::PortMapping>() : read_port_map(*options));
    return nothing();
}

Json::Value request_pool(Driver&, Pools& pools, const Json::Value& request) {
    Faults faults;
    ObjectReader reader(request, "", faults);
    const auto space = reader.string("AddressSpace", 64).value_or("");
    const auto prefix = reader.string("Pool", 64).value_or("");
    const auto range = reader.string("SubPool", 64).value_or("");
    const bool v6 = reader.boolean("V6").value_or(false);
    refuse_any(faults);
    const auto pool = pools.request(space.empty() ? "viaduct" : space, prefix, range, v6);
    auto answer = nothing();
    answer["PoolID"] = pool.id;
    answer["Pool"] = pool.prefix.to_string();
    answer["Data"] = Json::objectValue;
    return answer;
}

Json::Value request_address(Driver&, Pools& pools, const Json::Value& request) {
    const auto address = pools.request_address(text_of(request, "PoolID", 256),
                                               text_of(request, "Address", 64), "a container of Docker's");
    auto answer = nothing();
    answer["Address"] = address.to_string();
    answer["Data"] = Json::objectValue;
    return answer;
}

Json::Value address_spaces(Driver&, Pools&, const Json::Value&) {
    auto answer = nothing();
    answer["LocalDefaultAddressSpace"] = "viaduct";
    answer["GlobalDefaultAddressSpace"] = "viaduct-global";
    return answer;
}

const std::map<std::string, Method>& methods() {
    static const Method ignore = [](Driver&, Pools&, const Json::Value&) { return nothing(); };
    static const std::map<std::string, Method> all{
        {"/Plugin.Activate", activate},
        {"/NetworkDriver.GetCapabilities", capabilities},
        {"/NetworkDriver.CreateNetwork",
         [](Driver& driver, Pools&, const Json::Value& request) {
             driver.create_network(request);
             return nothing();
         }},
        {"/NetworkDriver.DeleteNetwork",
         [](Driver& driver, Pools&, const Json::Value& request) {
             driver.delete_network(text_of(request, "NetworkID", kIdMost));
             return nothing();
         }},
        {"/NetworkDriver.CreateEndpoint", create_endpoint},
        {"/NetworkDriver.DeleteEndpoint",
         [](Driver& driver, Pools&, const Json::Value& request) {
             driver.delete_endpoint(endpoint_of(request));
             return nothing();
         }},
        {"/NetworkDriver.EndpointOperInfo",
         [](Driver& driver, Pools&, const Json::Value& request) {
             auto answer = nothing();
             answer["Value"] = driver.endpoint_info(endpoint_of(request));
             return answer;
         }},
        {"/NetworkDriver.Join", join},
        {"/NetworkDriver.Leave",
         [](Driver& driver, Pools&, const Json::Value& request) {
             driver.leave(endpoint_of(request));
             return nothing();
         }},
        {"/NetworkDriver.ProgramExternalConnectivity", program},
        {"/NetworkDriver.RevokeExternalConnectivity",
         [](Driver& driver, Pools&, const Json::Value& request) {
             driver.publish(endpoint_of(request), {});
             return nothing();
         }},
        // Of nodes of a cluster, which this driver does not span.
        {"/NetworkDriver.AllocateNetwork", ignore},
        {"/NetworkDriver.FreeNetwork", ignore},
        {"/NetworkDriver.DiscoverNew", ignore},
        {"/NetworkDriver.DiscoverDelete", ignore},
        {"/IpamDriver.GetCapabilities", ignore},
        {"/IpamDriver.GetDefaultAddressSpaces", address_spaces},
        {"/IpamDriver.RequestPool", request_pool},
        {"/IpamDriver.ReleasePool",
         [](Driver&, Pools& pools, const Json::Value& request) {
             pools.release(text_of(request, "PoolID", 256));
             return nothing();
         }},
        {"/IpamDriver.RequestAddress", request_address},
        {"/IpamDriver.ReleaseAddress",
         [](Driver&, Pools& pools, const Json::Value& request) {
             pools.release_address(text_of(request, "PoolID", 256), text_of(request, "Address", 64));
             return nothing();
         }},
    };
    return all;
}

http::Response reply(unsigned status, const Json::Value& json) {
    return {status, to_json_text(json), kContentType};
}

http::Response failure(unsigned status, const std::string& method, const std::string& reason) {
    spdlog::warn("Docker's {} failed: {}", method.substr(0, 64), reason);
    auto json = nothing();
    json["Err"] = reason;
    return reply(status, json);
}

}  // namespace

http::Response answer(Driver& driver, Pools& pools, const http::Request& request) {
    const auto method = methods().find(request.path);
    if (method == methods().end()) return failure(404, request.path, "this driver has no such method");
    try {
        if (request.body.size() > kBodyMost) throw Refused("request body", "is too long");
        return reply(200, method->second(driver, pools, api::body_object(request)));
    } catch (const Refused& refused) {
        return failure(400, request.path, to_string(refused.faults()));
    } catch (const std::exception& error) {
        return failure(500, request.path, error.what());
    }
}

}  // namespace viaduct::docker
