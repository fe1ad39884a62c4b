// viaduct get: objects of all manifests, as a table, or as manifests again.
#include <iostream>
#include <map>
#include <string_view>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

#include "cli/manifest.h"

namespace viaduct::cli {

namespace {

std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

/// A list's members in words, with commas.
template <typename Words>
std::string joined(const Json::Value& list, const Words& words) {
    std::string text;
    for (const auto& one : list)
        text += (text.empty() ? "" : ",") + words(one);
    return or_dash(text);
}
std::string as_text(const Json::Value& value) {
    return value.asString();
}

/// "80:30080/TCP"
std::string service_port(const Json::Value& port) {
    auto text = text_of(port, "port");
    if (port.isMember("nodePort")) text += ":" + text_of(port, "nodePort");
    return text + "/" + text_of(port, "protocol");
}
std::string endpoint_port(const Json::Value& port) {
    return (port.isMember("port") ? text_of(port, "port") : "any") + "/" + text_of(port, "protocol");
}

/// The first of them, and how many more there are.
std::string some(const std::vector<std::string>& all) {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t at = 0; at < all.size() && at < shown; ++at)
        text += (at == 0 ? "" : ",") + all[at];
    if (all.size() > shown) text += " + " + std::to_string(all.size() - shown) + " more";
    return or_dash(text);
}

std::string slice_endpoints(const Json::Value& slice) {
    std::vector<std::string> all;
    for (const auto& endpoint : slice["endpoints"])
        all.push_back(joined(endpoint["addresses"], as_text));
    return some(all);
}

std::string subset_endpoints(const Json::Value& endpoints) {
    std::vector<std::string> all;
    for (const auto& subset : endpoints["subsets"]) {
        for (const auto& address : subset["addresses"])
            all.push_back(text_of(address, "ip"));
    }
    return some(all);
}

std::string is_ready(const Json::Value& object) {
    for (const auto& condition : object["status"]["conditions"]) {
        if (text_of(condition, "type") == "Ready" && text_of(condition, "status") == "True") return "yes";
    }
    return "no";
}

/// What services got, which manifests need not say: {"apps/web": its entry of /v1/services}.
using Services = std::map<std::string, Json::Value>;

struct Column {
    const char* heading;
    std::string (*words)(const Json::Value& object, const Services& services);
};
struct Kind {
    std::vector<std::string_view> names;  ///< as people write it
    const char* name;                     ///< as manifests do
    std::vector<Column> columns;
};

const Json::Value& service_of(const Json::Value& object, const Services& services) {
    static const Json::Value nothing(Json::objectValue);
    const auto& meta = object["metadata"];
    const auto found = services.find(text_of(meta, "namespace") + "/" + text_of(meta, "name"));
    return found == services.end() ? nothing : found->second;
}

std::string cluster_ip(const Json::Value& object, const Services& services) {
    if (text_of(object["spec"], "clusterIP") == "None") return "None";
    return joined(service_of(object, services)["cluster_ips"], as_text);
}
std::string external_ip(const Json::Value& object, const Services& services) {
    if (const auto name = text_of(object["spec"], "externalName"); !name.empty()) return name;
    return joined(service_of(object, services)["external"], as_text);
}
std::string service_ports(const Json::Value& object, const Services& services) {
    auto ports = object["spec"]["ports"];
    const auto& given = service_of(object, services)["ports"];
    for (Json::ArrayIndex at = 0; at < ports.size() && at < given.size(); ++at) {
        if (given[at].isMember("node_port")) ports[at]["nodePort"] = given[at]["node_port"];
    }
    return joined(ports, service_port);
}

const std::vector<Kind>& kinds() {
    static const std::vector<Kind> all{
        {{"services", "service", "svc"},
         "Service",
         {{"TYPE", [](auto& o, auto&) { return text_of(o["spec"], "type"); }},
          {"CLUSTER-IP", cluster_ip},
          {"EXTERNAL-IP", external_ip},
          {"PORTS", service_ports}}},
        {{"endpointslices", "endpointslice", "eps"},
         "EndpointSlice",
         {{"SERVICE",
           [](auto& o, auto&) {
               return or_dash(text_of(o["metadata"]["labels"], "kubernetes.io/service-name"));
           }},
          {"ADDRESSTYPE", [](auto& o, auto&) { return text_of(o, "addressType"); }},
          {"PORTS", [](auto& o, auto&) { return joined(o["ports"], endpoint_port); }},
          {"ENDPOINTS", [](auto& o, auto&) { return slice_endpoints(o); }}}},
        {{"endpoints", "ep"},
         "Endpoints",
         {{"ENDPOINTS", [](auto& o, auto&) { return subset_endpoints(o); }}}},
        {{"pods", "pod", "po"},
         "Pod",
         {{"READY", [](auto& o, auto&) { return is_ready(o); }},
          {"PHASE", [](auto& o, auto&) { return or_dash(text_of(o["status"], "phase")); }},
          {"IP",
           [](auto& o, auto&) {
               return joined(o["status"]["podIPs"], [](auto& ip) { return text_of(ip, "ip"); });
           }},
          {"NODE", [](auto& o, auto&) { return or_dash(text_of(o["spec"], "nodeName")); }}}},
        {{"nodes", "node", "no"},
         "Node",
         {{"READY", [](auto& o, auto&) { return is_ready(o); }},
          {"ZONE",
           [](auto& o, auto&) {
               return or_dash(text_of(o["metadata"]["labels"], "topology.kubernetes.io/zone"));
           }},
          {"INTERNAL-IP",
           [](auto& o, auto&) {
               return joined(o["status"]["addresses"], [](auto& ip) { return text_of(ip, "address"); });
           }},
          {"POD-CIDRS", [](auto& o, auto&) { return joined(o["spec"]["podCIDRs"], as_text); }}}},
    };
    return all;
}

const Kind& find_kind(const std::string& word) {
    std::string known;
    for (const auto& kind : kinds()) {
        for (const auto name : kind.names) {
            if (name == word || word == kind.name) return kind;
        }
        known += (known.empty() ? "" : ", ") + std::string(kind.names.front()) + " (" +
                 std::string(kind.names.back()) + ")";
    }
    throw Usage("kind \"" + word + "\" is unknown; try one of: " + known);
}

void print_table(const Session& session, const Kind& kind, const Json::Value& objects) {
    Services services;
    const bool with_services = std::string_view(kind.name) == "Service";
    if (with_services) {
        const auto answer = session.ask("GET", "/v1/services");
        for (const auto& one : answer["services"])
            services[text_of(one, "namespace") + "/" + text_of(one, "name")] = one;
    }
    const bool spaces = std::string_view(kind.name) != "Node";
    std::vector<std::string> heading;
    if (spaces) heading.emplace_back("NAMESPACE");
    heading.emplace_back("NAME");
    for (const auto& column : kind.columns)
        heading.emplace_back(column.heading);
    heading.emplace_back("FROM");
    Table table(heading);
    for (const auto& one : objects) {
        const auto& object = one["object"];
        std::vector<std::string> row;
        if (spaces) row.push_back(text_of(object["metadata"], "namespace"));
        row.push_back(text_of(object["metadata"], "name"));
        for (const auto& column : kind.columns)
            row.push_back(column.words(object, services));
        row.push_back(text_of(one, "origin"));
        table.add(std::move(row));
    }
    std::cout << table.text();
}

/// One object by itself, several as a List, as kubectl prints them.
Json::Value manifest_of(const Json::Value& objects, bool one) {
    if (one) return objects[0]["object"];
    Json::Value list(Json::objectValue);
    list["apiVersion"] = "v1";
    list["kind"] = "List";
    list["items"] = Json::arrayValue;
    for (const auto& each : objects)
        list["items"].append(each["object"]);
    return list;
}

int get(Session& session) {
    const auto& output = session.arguments.output;
    if (!output.empty() && output != "yaml" && output != "json")
        throw Usage("-o is \"" + output + "\", and must be yaml or json");
    const auto& kind = find_kind(session.words.take("a kind (services, endpointslices, pods, nodes)"));
    auto name = session.words.take_if_any();
    session.words.done();
    std::string target = std::string("/v1/manifests?kind=") + kind.name;
    if (name) {
        const auto slash = name->find('/');
        const auto space = slash == std::string::npos ? std::string("default") : name->substr(0, slash);
        const auto own = slash == std::string::npos ? *name : name->substr(slash + 1);
        target += "&namespace=" + http::encode(space) + "&name=" + http::encode(own);
    }
    const auto answer = session.ask("GET", target);
    const auto& objects = answer["objects"];
    if (name && objects.empty())
        throw Failure(std::string(kind.name) + " " + *name + " does not exist; \"viaduct get " +
                      std::string(kind.names.front()) + "\" lists those that do");
    if (output == "json") {
        std::cout << to_json_text(manifest_of(objects, name.has_value()), true) << "\n";
        return 0;
    }
    if (output == "yaml") {
        std::cout << yaml_of(manifest_of(objects, name.has_value()));
        return 0;
    }
    if (session.printed(answer)) return 0;
    print_table(session, kind, objects);
    if (!text_of(answer, "trouble").empty()) std::cout << "trouble: " << text_of(answer, "trouble") << "\n";
    return 0;
}

}  // namespace

Object get_object() {
    return {"get",
            "services, endpoints, pods and nodes as manifests describe them",
            {{"", {}, "KIND [[NAMESPACE/]NAME] [-o yaml|json]", "list them, or show one", get}},
            "KIND is services (svc), endpointslices (eps), endpoints (ep), pods (po) or nodes (no). Objects "
            "of the "
            "directory\nof manifests and those that \"viaduct apply\" puts are shown together; FROM says "
            "whose each "
            "is. -o prints\nmanifests that \"viaduct apply\" takes.\n",
            {"viaduct get svc", "viaduct get endpointslices apps/web-4 -o yaml",
             "viaduct get services -o json > services.json"},
            true};
}

}  // namespace viaduct::cli
