#include "pod/routes.h"

#include <json/json.h>

#include "viaduct/json.h"

#include "pod/failure.h"
#include "reconcile/leave_out.h"
#include "store/database.h"

namespace viaduct::pod {

namespace {

using api::PathValues;
using http::Request;
using http::Response;

Response refusal(unsigned status, unsigned code, const Faults& faults) {
    auto json = faults_to_json(faults);
    json["code"] = code;
    return api::json_response(json, status);
}

Response refusal(unsigned status, unsigned code, const std::string& reason) {
    return refusal(status, code, Faults{{"", reason}});
}

/// Every failure gets CNI's number here, so that the plugin needs no guess.
api::Handler numbered(std::function<Response(Request&)> handler) {
    return [handler = std::move(handler)](Request& request, const PathValues&) {
        try {
            return handler(request);
        } catch (const Failure& failure) {
            return refusal(failure.code() == attachment::kTryAgain ? 503 : 409, failure.code(),
                           failure.what());
        } catch (const Refused& refused) {
            return refusal(400, attachment::kInvalidConfig, refused.faults());
        } catch (const http::Unreachable& error) {
            return refusal(503, attachment::kTryAgain, error.what());
        } catch (const node::Error& error) {
            return refusal(409, attachment::kPortRefused, error.what());
        } catch (const store::Error& error) {
            return refusal(507, attachment::kIo, error.what());
        } catch (const std::exception& error) {
            return refusal(500, attachment::kInternal, error.what());
        }
    };
}

std::optional<node::Namespace> namespace_of(Request& request) {
    if (request.descriptors.empty()) return std::nullopt;
    return node::Namespace::adopt(std::move(request.descriptors[0]));
}

void refuse_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

Json::Value owed_to_json(const std::vector<attachment::Owed>& owed) {
    Json::Value json(Json::arrayValue);
    for (const auto& one : owed)
        json.append(attachment::to_json(one));
    return json;
}

/// Key members beside others.
Key read_key(const Json::Value& body, Faults& faults) {
    Json::Value key(Json::objectValue);
    for (const char* name : {"network", "container", "ifname"}) {
        if (body.isMember(name)) key[name] = body[name];
    }
    return attachment::key_from_json(key, "", faults);
}

Response add(Attachments& attachments, Request& request) {
    Faults faults;
    auto asked = attachment::request_from_json(api::body_object(request), "", faults);
    refuse_any(faults);
    try {
        return api::json_response(
            attachment::to_json(attachments.add(std::move(asked), namespace_of(request))));
    } catch (const Refused& refused) {
        // Of what was asked here nothing but the dataplane can refuse an object of the model.
        const bool port =
            !refused.faults().empty() && !reconcile::object_of(refused.faults()[0].where).empty();
        return refusal(400, port ? attachment::kPortRefused : attachment::kInvalidConfig, refused.faults());
    }
}

Response begin(Attachments& attachments, Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    const auto key = read_key(body, faults);
    const auto delegation = attachment::delegation_from_json(body["delegation"], "delegation", faults);
    refuse_any(faults);
    http::Descriptor life;
    if (!request.descriptors.empty()) life = std::move(request.descriptors[0]);
    Json::Value answer(Json::objectValue);
    answer["owed"] = owed_to_json(attachments.delegations().of_key(key, true));
    answer["token"] = attachments.begin(key, delegation, std::move(life));
    return api::json_response(answer);
}

Response finish(Attachments& attachments, const Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto token = reader.string("token", 64);
    if (!token) reader.fault("token", "is required");
    reader.done();
    refuse_any(faults);
    attachments.delegations().finish(*token);
    return api::json_response(Json::Value(Json::objectValue));
}

Response remove(Attachments& attachments, Request& request) {
    Faults faults;
    const auto key = attachment::key_from_json(api::body_object(request), "", faults);
    refuse_any(faults);
    Json::Value answer(Json::objectValue);
    answer["removed"] = attachments.remove(key, namespace_of(request));
    answer["owed"] = owed_to_json(attachments.delegations().of_key(key, false));
    return api::json_response(answer);
}

Response check(const Attachments& attachments, Request& request) {
    Faults faults;
    const auto expected = attachment::expected_from_json(api::body_object(request), "", faults);
    refuse_any(faults);
    attachments.check(expected, namespace_of(request));
    return api::json_response(Json::Value(Json::objectValue));
}

Response collect(Attachments& attachments, const Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto network = reader.string("network", attachment::kNetworkMost);
    if (!network || !attachment::is_identifier(*network))
        reader.fault("network", "is required, and must be a network's name");
    const auto* list = reader.array("valid");
    if (list == nullptr) reader.fault("valid", "is required: the attachments to keep");
    reader.done();
    refuse_any(faults);
    std::set<Key> valid;
    for (const auto& item : *list) {
        ObjectReader one(item, "valid", faults);
        valid.insert({*network, one.string("container").value_or(""), one.string("ifname").value_or("")});
        one.done();
    }
    refuse_any(faults);
    Json::Value answer(Json::objectValue);
    answer["removed"] = Json::arrayValue;
    for (const auto& key : attachments.collect(*network, valid))
        answer["removed"].append(attachment::to_json(key));
    answer["owed"] = owed_to_json(attachments.owed(*network));
    return api::json_response(answer);
}

Response status(const Attachments& attachments, const Request& request) {
    auto body = api::body_object(request);
    // A Request of nobody: the same members, read by the same reader.
    body["container"] = "status";
    body["ifname"] = "status";
    Faults faults;
    const auto asked = attachment::request_from_json(body, "", faults);
    refuse_any(faults);
    attachments.status({asked.key.network, segment(asked.bridge, asked.vlan), asked.ranges, asked.exclude});
    return api::json_response(Json::Value(Json::objectValue));
}

Response list(const Attachments& attachments, const Request& request) {
    api::check_query(request, {"network", "container", "ifname"});
    const auto wanted = [&](const char* name, const std::string& value) {
        const auto asked = request.query.find(name);
        return asked == request.query.end() || asked->second == value;
    };
    Json::Value answer(Json::objectValue);
    answer["attachments"] = Json::arrayValue;
    for (const auto& record : attachments.list()) {
        const auto& key = record.request.key;
        if (!wanted("network", key.network) || !wanted("container", key.container) ||
            !wanted("ifname", key.ifname)) {
            continue;
        }
        answer["attachments"].append(describe(record));
    }
    return api::json_response(answer);
}

/// "default/web", or "web".
PodName read_pod(ObjectReader& reader) {
    constexpr std::size_t most = 512;
    const auto text = reader.string("pod", most).value_or("");
    const auto slash = text.find('/');
    PodName pod{slash == std::string::npos ? "default" : text.substr(0, slash),
                slash == std::string::npos ? text : text.substr(slash + 1)};
    if (pod.namespace_.empty() || pod.name.empty())
        reader.fault("pod", "is required, as NAMESPACE/NAME, or as NAME in namespace default");
    return pod;
}

Response label(Attachments& attachments, const std::function<void()>& settle, const Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    const auto pod = read_pod(reader);
    LabelChange change;
    change.set = attachment::pod_labels_from_json(reader, "set");
    for (const auto& key : reader.strings("remove", kLabelsMost).value_or(std::vector<std::string>())) {
        if (const auto fault = label_fault(key, ""); !fault.empty()) reader.fault("remove", fault);
        if (change.set.contains(key)) reader.fault("remove", "has " + key + ", which is among \"set\", too");
        change.remove.insert(key);
    }
    change.overwrite = reader.boolean("overwrite").value_or(false);
    reader.done();
    refuse_any(faults);
    Json::Value answer(Json::objectValue);
    answer["pod"] = to_string(pod);
    answer["labels"] = Json::objectValue;
    for (const auto& [key, value] : attachments.label(pod, change))
        answer["labels"][key] = value;
    if (settle) settle();
    return api::json_response(answer);
}

}  // namespace

void register_routes(api::Router& router, Attachments& all, std::function<void()> settle) {
    const auto post = [&](const std::string& verb, std::function<Response(Request&)> handler) {
        router.add("POST", "/v1/attachments" + verb, numbered(std::move(handler)));
    };
    post("", [&all](Request& request) { return add(all, request); });
    post("/begin", [&all](Request& request) { return begin(all, request); });
    post("/finish", [&all](Request& request) { return finish(all, request); });
    post("/delete", [&all](Request& request) { return remove(all, request); });
    post("/check", [&all](Request& request) { return check(all, request); });
    post("/gc", [&all](Request& request) { return collect(all, request); });
    post("/status", [&all](Request& request) { return status(all, request); });
    router.add("POST", "/v1/pods/label", numbered([&all, settle = std::move(settle)](Request& request) {
                   return label(all, settle, request);
               }));
    router.add("GET", "/v1/attachments",
               [&all](Request& request, const PathValues&) { return list(all, request); });
}

}  // namespace viaduct::pod
