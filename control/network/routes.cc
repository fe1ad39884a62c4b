// Requests in, Networks' calls out. Refusals of attachments have CNI's numbers elsewhere; here they are
// sentences.
#include "network/routes.h"

#include <algorithm>

#include <json/json.h>

#include "viaduct/json.h"

#include "ipam/leases.h"
#include "node/occupants.h"
#include "pod/failure.h"

namespace viaduct::network {

namespace {

using api::PathValues;
using http::Request;
using http::Response;

/// As what went wrong: 404 has no use here, for the sentence says what does not exist.
api::Handler guarded(std::function<Response(Request&, const PathValues&)> handler) {
    return [handler = std::move(handler)](Request& request, const PathValues& values) {
        try {
            return handler(request, values);
        } catch (const pod::Failure& failure) {
            return api::error_response(failure.code() == attachment::kTryAgain ? 503 : 409, failure.what());
        } catch (const node::Error& error) {
            return api::error_response(409, error.what());
        } catch (const store::Error& error) {
            return api::error_response(507, error.what());
        }
    };
}

void refuse_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

Json::Value described(const Networks& networks, const Network& network) {
    auto json = to_json(network);
    json["endpoints"] = Json::arrayValue;
    for (const auto& record : networks.endpoints(network))
        json["endpoints"].append(pod::describe(record));
    return json;
}

Response list(const Networks& networks, const Request& request) {
    api::check_query(request, {});
    Json::Value answer(Json::objectValue);
    answer["networks"] = Json::arrayValue;
    for (const auto& network : networks.list())
        answer["networks"].append(described(networks, network));
    return api::json_response(answer);
}

Response create(Networks& networks, const Request& request) {
    auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const bool dry_run = reader.boolean("dry_run").value_or(false);
    const auto comment = reader.string("comment", 1024).value_or("");
    body.removeMember("dry_run");
    body.removeMember("comment");
    auto wanted = wanted_from_json(body, faults);
    refuse_any(faults);
    const auto outcome = networks.create(std::move(wanted), dry_run, comment);
    auto json = described(networks, outcome.network);
    if (!outcome.note.empty()) json["note"] = outcome.note;
    return api::json_response(json);
}

/// What an attachment is known by: a container's id or name, or a namespace's name.
std::string read_container(ObjectReader& reader) {
    auto container = reader.string("container", attachment::kContainerMost).value_or("");
    if (!attachment::is_identifier(container))
        reader.fault("container", "must begin with a letter or digit and hold only those, '_', '.' and '-'");
    return container;
}

void read_addresses(ObjectReader& reader, attachment::Request& asked) {
    for (const auto& text : reader.strings("addresses", kSubnetsMost).value_or(std::vector<std::string>{})) {
        if (const auto address = IpAddress::parse(text)) {
            asked.requested.push_back(*address);
        } else {
            reader.fault("addresses", "has \"" + text.substr(0, 64) + "\", which is not an IP address");
        }
    }
    const auto mac = reader.string("mac", 64);
    if (!mac) return;
    asked.mac = MacAddress::parse(*mac);
    if (!asked.mac || asked.mac->is_multicast() || asked.mac->is_zero())
        reader.fault("mac", "is \"" + *mac + "\", which is not a MAC address that one interface can have");
}

attachment::Request read_attach(const Json::Value& body) {
    Faults faults;
    ObjectReader reader(body, "", faults);
    attachment::Request asked;
    asked.key.container = read_container(reader);
    asked.key.ifname = reader.string("ifname", 64).value_or("");
    if (!asked.key.ifname.empty() && !model::is_interface_name(asked.key.ifname))
        reader.fault("ifname", "is not a name that an interface can have");
    asked.netns = reader.string("netns").value_or("");
    read_addresses(reader, asked);
    if (const auto* list = reader.array("port_mappings", attachment::kListMost)) {
        for (Json::ArrayIndex i = 0; i < list->size(); ++i) {
            asked.port_mappings.push_back(
                attachment::port_mapping_from_json((*list)[i], "port_mappings/" + std::to_string(i), faults));
        }
    }
    if (const auto label = reader.string("label", 128); label && !label->empty())
        asked.labels["name"] = *label;
    asked.pod_labels = attachment::pod_labels_from_json(reader, "pod_labels");
    reader.done();
    refuse_any(faults);
    return asked;
}

/// An engine's network is the engine's to change: it would not know what became of its addresses.
void refuse_foreign(const Network& network, const std::string& instead) {
    if (!network.foreign_id.empty()) throw Refused(place_of(network), "is Docker's; " + instead);
}

/// The same container on the same network twice is a mistake, unless what was there is a leftover.
void refuse_second(const Networks& networks, const std::string& name, const attachment::Request& asked) {
    for (const auto& record : networks.endpoints(networks.get(name))) {
        const auto& key = record.request.key;
        if (key.container != asked.key.container || key.network != name) continue;
        throw Refused(asked.key.container, "is on network " + name + " already, by its interface " +
                                               key.ifname + "; \"viaduct net detach " + asked.key.container +
                                               " " + name + "\" takes it off");
    }
}

Response attach(Networks& networks, pod::Attachments& attachments, Request& request,
                const std::string& name) {
    auto asked = read_attach(api::body_object(request));
    refuse_foreign(networks.get(name), "connect the container with \"docker network connect\"");
    if (request.descriptors.empty())
        throw Refused("netns", "must come as a descriptor with the request: the interface goes there");
    const std::optional ns = node::Namespace::adopt(std::move(request.descriptors[0]));
    if (ns->inode() == node::Namespace::own().inode()) {
        throw Refused(asked.key.container,
                      "is in the node's own network namespace; start it with --network none, and it has one "
                      "of its own");
    }
    attachments.collect_vanished();
    refuse_second(networks, name, asked);
    if (asked.key.ifname.empty()) asked.key.ifname = node::free_interface_name(*ns);
    // Whom control cannot see it would never find gone; or it has just ended.
    if (!attachments.is_lived_in(asked.netns, ns->inode())) {
        throw Refused(asked.key.container,
                      "has a network namespace in which viaduct-control sees no process and no mount: it has "
                      "ended, or it is hidden from viaduct-control by a process namespace");
    }
    asked.goes_with_namespace = true;
    const auto key = asked.key;
    auto json = attachment::to_json(networks.attach(name, std::move(asked), ns));
    json["network"] = name;
    json["container"] = key.container;
    json["ifname"] = key.ifname;
    return api::json_response(json);
}

Response detach(Networks& networks, pod::Attachments& attachments, const Request& request,
                const std::string& name) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto container = read_container(reader);
    const auto ifname = reader.string("ifname", 64).value_or("");
    reader.done();
    refuse_any(faults);
    Json::Value answer(Json::objectValue);
    answer["removed"] = Json::arrayValue;
    refuse_foreign(networks.get(name), "disconnect the container with \"docker network disconnect\"");
    for (const auto& record : networks.endpoints(networks.get(name))) {
        const auto& key = record.request.key;
        const auto label = record.request.labels.find("name");
        const bool named = key.container == container ||
                           (label != record.request.labels.end() && label->second == container);
        if (!named || key.network != name || (!ifname.empty() && key.ifname != ifname)) continue;
        if (attachments.remove(key, std::nullopt)) answer["removed"].append(attachment::to_json(key));
    }
    if (answer["removed"].empty()) {
        throw Refused(container, "is not on network " + name + (ifname.empty() ? "" : " by " + ifname) +
                                     "; \"viaduct net inspect " + name + "\" shows who is");
    }
    return api::json_response(answer);
}

Response prune(pod::Attachments& attachments) {
    Json::Value answer(Json::objectValue);
    answer["removed"] = Json::arrayValue;
    for (const auto& key : attachments.collect_vanished())
        answer["removed"].append(attachment::to_json(key));
    return api::json_response(answer);
}

}  // namespace

void register_routes(api::Router& router, Networks& networks, pod::Attachments& attachments) {
    const auto add = [&](const char* method, const std::string& path, auto handler) {
        router.add(method, "/v1/networks" + path, guarded(std::move(handler)));
    };
    add("GET", "", [&](Request& request, const PathValues&) { return list(networks, request); });
    add("POST", "", [&](Request& request, const PathValues&) { return create(networks, request); });
    add("POST", "/prune", [&](Request&, const PathValues&) { return prune(attachments); });
    add("GET", "/{name}", [&](Request&, const PathValues& values) {
        return api::json_response(described(networks, networks.get(values.at("name"))));
    });
    add("DELETE", "/{name}", [&](Request& request, const PathValues& values) {
        api::check_query(request, {"comment"});
        const auto comment = request.query.find("comment");
        refuse_foreign(networks.get(values.at("name")), "remove it with \"docker network rm\"");
        networks.remove(values.at("name"), comment == request.query.end() ? "" : comment->second);
        return api::json_response(Json::objectValue);
    });
    add("POST", "/{name}/attach", [&](Request& request, const PathValues& values) {
        return attach(networks, attachments, request, values.at("name"));
    });
    add("POST", "/{name}/detach", [&](Request& request, const PathValues& values) {
        return detach(networks, attachments, request, values.at("name"));
    });
}

}  // namespace viaduct::network
