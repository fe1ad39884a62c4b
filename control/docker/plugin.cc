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
constexpr unsigned kThreads = 16;

using Method = std::function<Json::Value(Driver&, Pools&, const Json::Value&)>;

Json::Value nothing() {
    return Json::objectValue;
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
    const auto endpoint = read_endpoint(request);
    const auto mac = driver.create_endpoint(endpoint);
    auto answer = nothing();
    answer["Interface"] = Json::objectValue;
    // What Docker gave must not be given back to it.
    if (!endpoint.mac) answer["Interface"]["MacAddress"] = mac.to_string();
    return answer;
}

Json::Value join(Driver& driver, Pools&, const Json::Value& request) {
    const auto joined = driver.join(read_endpoint_id(request), read_text(request, "SandboxKey"));
    auto answer = nothing();
    answer["InterfaceName"]["SrcName"] = joined.ifname;
    answer["InterfaceName"]["DstPrefix"] = "eth";
    if (joined.gateway4) answer["Gateway"] = joined.gateway4->to_string();
    if (joined.gateway6) answer["GatewayIPv6"] = joined.gateway6->to_string();
    // Else a container without a gateway would be given one by a bridge of Docker's own.
    answer["DisableGatewayService"] = true;
    return answer;
}

Json::Value endpoint_info(Driver& driver, Pools&, const Json::Value& request) {
    auto answer = nothing();
    answer["Value"] = driver.endpoint_info(read_endpoint_id(request));
    return answer;
}

Json::Value request_pool(Driver&, Pools& pools, const Json::Value& request) {
    const auto space = read_text(request, "AddressSpace", 64);
    const bool v6 = request["V6"].isBool() && request["V6"].asBool();
    const auto pool = pools.request(space.empty() ? "viaduct" : space, read_text(request, "Pool", 64),
                                    read_text(request, "SubPool", 64), v6);
    auto answer = nothing();
    answer["PoolID"] = pool.id;
    answer["Pool"] = pool.prefix.to_string();
    answer["Data"] = Json::objectValue;
    return answer;
}

Json::Value request_address(Driver&, Pools& pools, const Json::Value& request) {
    const auto address = pools.request_address(read_text(request, "PoolID", 256),
                                               read_text(request, "Address", 64), "a container of Docker's");
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

/// A method that answers nothing.
template <typename Work>
Method silent(const Work& work) {
    return [work](Driver& driver, Pools& pools, const Json::Value& request) {
        work(driver, pools, request);
        return nothing();
    };
}

const std::map<std::string, Method>& methods() {
    // Of nodes of a cluster, which this driver does not span, and of what it has no need to know.
    static const Method ignore = silent([](Driver&, Pools&, const Json::Value&) {});
    static const std::map<std::string, Method> all{
        {"/Plugin.Activate", activate},
        {"/NetworkDriver.GetCapabilities", capabilities},
        {"/NetworkDriver.CreateNetwork",
         silent([](auto& driver, auto&, auto& request) { driver.create_network(read_network(request)); })},
        {"/NetworkDriver.DeleteNetwork", silent([](auto& driver, auto&, auto& request) {
             driver.delete_network(read_text(request, "NetworkID", kIdMost));
         })},
        {"/NetworkDriver.CreateEndpoint", create_endpoint},
        {"/NetworkDriver.DeleteEndpoint", silent([](auto& driver, auto&, auto& request) {
             driver.delete_endpoint(read_endpoint_id(request));
         })},
        {"/NetworkDriver.EndpointOperInfo", endpoint_info},
        {"/NetworkDriver.Join", join},
        {"/NetworkDriver.Leave",
         silent([](auto& driver, auto&, auto& request) { driver.leave(read_endpoint_id(request)); })},
        {"/NetworkDriver.ProgramExternalConnectivity", silent([](auto& driver, auto&, auto& request) {
             driver.publish(read_endpoint_id(request), read_port_map(request));
         })},
        {"/NetworkDriver.RevokeExternalConnectivity", silent([](auto& driver, auto&, auto& request) {
             driver.publish_nothing(read_endpoint_id(request));
         })},
        {"/NetworkDriver.AllocateNetwork", ignore},
        {"/NetworkDriver.FreeNetwork", ignore},
        {"/NetworkDriver.DiscoverNew", ignore},
        {"/NetworkDriver.DiscoverDelete", ignore},
        {"/IpamDriver.GetCapabilities", ignore},
        {"/IpamDriver.GetDefaultAddressSpaces", address_spaces},
        {"/IpamDriver.RequestPool", request_pool},
        {"/IpamDriver.ReleasePool",
         silent([](auto&, auto& pools, auto& request) { pools.release(read_text(request, "PoolID", 256)); })},
        {"/IpamDriver.RequestAddress", request_address},
        {"/IpamDriver.ReleaseAddress", silent([](auto&, auto& pools, auto& request) {
             pools.release_address(read_text(request, "PoolID", 256), read_text(request, "Address", 64));
         })},
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

}  // namespace

Plugin::Plugin(const std::string& socket, store::Database& database, network::Networks& networks,
               pod::Attachments& attachments)
    : driver_(networks, attachments),
      pools_(
          database,
          [&networks](bool v4, const std::vector<Prefix>& taken) { return networks.free_subnet(v4, taken); }),
      server_({.path = socket, .mode = 0600, .threads = kThreads, .body_most = 4 * kBodyMost},
              [this](http::Request& request) { return answer(driver_, pools_, request); }) {}

}  // namespace viaduct::docker
