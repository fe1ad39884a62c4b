#include "service/manifest_routes.h"

#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"
#include "viaduct/json.h"

#include "kubernetes/writer.h"
#include "service/waiting.h"

namespace viaduct::service {

namespace {

using kubernetes::AnyObject;
using kubernetes::Documents;
using kubernetes::ObjectId;
using kubernetes::ObjectKind;
using source::Applied;
using source::Applying;

constexpr std::size_t kFilesMost = 10000;
constexpr std::size_t kNameMost = 4096;
constexpr const char* kKindWords = "Service, EndpointSlice, Endpoints, Pod or Node";

ObjectKind read_kind(const std::string& text, const std::string& where) {
    const auto kind = kubernetes::kind_of(text);
    if (!kind) throw Refused(where, "is \"" + text.substr(0, 80) + "\", and must be " + kKindWords);
    return *kind;
}

/// One request's documents together; none twice.
class Reading {
public:
    void add(const std::string& text, const std::string& name) {
        const auto file = std::make_shared<const std::string>(name);
        auto read = kubernetes::read_documents(text, file, pool_);
        auto& all = documents_;
        all.passed_over += read.passed_over;
        all.nameless += read.nameless;
        if (read.documents.empty() && read.faults.empty() && read.passed_over == 0)
            read.faults.push_back({file, 0, {}, {}, "holds no manifest"});
        all.faults.insert(all.faults.end(), read.faults.begin(), read.faults.end());
        for (auto& document : read.documents) {
            const kubernetes::Origin place{file, document.line};
            const auto [first, is_new] = places_.emplace(document.id, place);
            if (is_new) {
                all.documents.push_back(std::move(document));
            } else {
                all.faults.push_back(
                    {file,
                     place.line,
                     to_string(document.id),
                     {},
                     "is described at " + to_string(first->second) + " already; take one of both away"});
            }
        }
    }
    [[nodiscard]] const Documents& documents() const { return documents_; }
    [[nodiscard]] const kubernetes::Origin& place(const ObjectId& id) const { return places_.at(id); }

private:
    kubernetes::TextPool pool_;
    Documents documents_;
    std::map<ObjectId, kubernetes::Origin> places_;
};

void read_text(ObjectReader& reader, Faults& faults, Reading& reading) {
    const auto text = reader.string("text", kubernetes::kTextBytesMost);
    const auto file = reader.string("file", kNameMost).value_or("request");
    if (!text && faults.empty()) reader.fault("text", "is missing; manifests are wanted, as YAML or JSON");
    if (text) reading.add(*text, file);
}

/// "text" and "file", or "files" of them.
void read_texts(ObjectReader& reader, Faults& faults, Reading& reading) {
    const auto* files = reader.array("files", kFilesMost);
    if (files == nullptr) return read_text(reader, faults, reading);
    for (Json::ArrayIndex at = 0; at < files->size(); ++at) {
        ObjectReader file((*files)[at], "files/" + std::to_string(at), faults);
        read_text(file, faults, reading);
        file.done();
    }
}

/// Where another source has the object; nothing: it has not.
std::optional<std::string> elsewhere(const ManifestRoom& room, const ObjectId& id) {
    const auto holder = room.all.holder(id);
    if (!holder || holder->source == &room.applied) return std::nullopt;
    return to_string(holder->origin) + " (" + holder->source->name() + ")";
}

Json::Value told(const std::vector<Applying>& all, bool dry_run, std::uint32_t passed_over) {
    Json::Value json(Json::objectValue);
    json["objects"] = Json::arrayValue;
    for (const auto& one : all) {
        Json::Value object(Json::objectValue);
        object["kind"] = std::string(to_string(one.id.kind));
        if (!one.id.namespace_.empty()) object["namespace"] = one.id.namespace_;
        object["name"] = one.id.name;
        object["outcome"] = std::string(to_string(one.outcome));
        if (dry_run && !one.before.empty()) object["before"] = parse_json(one.before, "a manifest");
        if (dry_run && !one.after.empty()) object["after"] = parse_json(one.after, "a manifest");
        json["objects"].append(std::move(object));
    }
    json["passed_over"] = passed_over;
    return json;
}

void refuse_if_any(const Faults& faults) {
    if (!faults.empty()) throw Refused(faults);
}

constexpr std::uint64_t kWaitMost = 3600;  ///< seconds

/// Waits where that was asked for, and tells how it stands then.
void wait_if_asked(const ManifestRoom& room, const std::optional<std::uint64_t>& seconds,
                   const std::vector<Applying>& all, Json::Value& json) {
    if (!seconds) return;
    json["not_in_force"] = Json::arrayValue;
    Waiting waiting(room.applied, room.all, room.services, room.reconciler);
    for (const auto& one : waiting.wait(all, std::chrono::seconds(*seconds))) {
        Json::Value told(Json::objectValue);
        told["object"] = to_string(one.id);
        told["reason"] = one.reason;
        json["not_in_force"].append(std::move(told));
    }
}

std::optional<std::uint64_t> read_wait(ObjectReader& reader, bool dry_run) {
    const auto seconds = reader.integer("wait_seconds", 1, kWaitMost);
    if (seconds && dry_run) reader.fault("wait_seconds", "has nothing to wait for in a dry run");
    return seconds;
}

http::Response put(const ManifestRoom& room, const http::Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    Reading reading;
    ObjectReader reader(body, "", faults);
    read_texts(reader, faults, reading);
    const bool dry_run = reader.boolean("dry_run").value_or(false);
    const auto wait = read_wait(reader, dry_run);
    reader.done();
    refuse_if_any(faults);
    bool any_service = false;
    for (const auto& document : reading.documents().documents) {
        any_service = any_service || document.id.kind == ObjectKind::service;
        if (const auto place = elsewhere(room, document.id))
            faults.push_back({"", to_string(reading.place(document.id)) + ": " + to_string(document.id) +
                                      " is described at " + *place +
                                      ", which counts; change it there, or take it away there first"});
    }
    if (any_service && !room.services.claims()) {
        store::Transaction tx(room.database);
        Faults others;
        const auto overlapping = room.services.overlaps(room.reconciler.desired(tx, others));
        faults.insert(faults.end(), overlapping.begin(), overlapping.end());
    }
    // What reading has found is told first, and refused there.
    if (reading.documents().faults.empty()) refuse_if_any(faults);
    const auto all = room.applied.put(reading.documents(), dry_run ? Applied::Run::dry : Applied::Run::real);
    auto json = told(all, dry_run, reading.documents().passed_over);
    wait_if_asked(room, wait, all, json);
    return api::json_response(json);
}

/// What is to be deleted: objects' names are enough, whatever else their documents say.
std::vector<ObjectId> ids_of(ObjectReader& reader, Faults& faults, std::uint32_t& passed_over) {
    const auto kind = reader.string("kind", kNameMost);
    if (!kind) {
        Reading reading;
        read_texts(reader, faults, reading);
        const auto& documents = reading.documents();
        if (documents.nameless > 0 || documents.documents.empty()) {
            for (const auto& fault : documents.faults)
                faults.push_back({"", to_string(fault)});
        }
        passed_over = documents.passed_over;
        std::vector<ObjectId> ids;
        for (const auto& document : documents.documents)
            ids.push_back(document.id);
        return ids;
    }
    ObjectId id{read_kind(*kind, "kind"), {}, reader.string("name", kNameMost).value_or("")};
    const auto space = reader.string("namespace", kNameMost).value_or("");
    if (id.kind != ObjectKind::node) id.namespace_ = space.empty() ? "default" : space;
    if (id.name.empty()) reader.fault("name", "is missing; name the object that is to be deleted");
    return {id};
}

http::Response erase(const ManifestRoom& room, const http::Request& request) {
    const auto body = api::body_object(request);
    Faults faults;
    ObjectReader reader(body, "", faults);
    std::uint32_t passed_over = 0;
    const auto ids = ids_of(reader, faults, passed_over);
    const bool dry_run = reader.boolean("dry_run").value_or(false);
    const bool ignore_absent = reader.boolean("ignore_absent").value_or(false);
    const auto wait = read_wait(reader, dry_run);
    reader.done();
    refuse_if_any(faults);
    for (const auto& one : room.applied.erase(ids, Applied::Run::dry)) {
        if (one.outcome != Applying::Outcome::absent) continue;
        if (const auto place = elsewhere(room, one.id)) {
            faults.push_back({"", to_string(one.id) + " is described at " + *place +
                                      ", and was not applied; take it away there"});
        } else if (!ignore_absent) {
            faults.push_back({"", to_string(one.id) + " does not exist; \"viaduct get\" lists objects, and "
                                                      "--ignore-not-found goes on without it"});
        }
    }
    refuse_if_any(faults);
    const auto all = room.applied.erase(ids, dry_run ? Applied::Run::dry : Applied::Run::real);
    auto json = told(all, dry_run, passed_over);
    wait_if_asked(room, wait, all, json);
    return api::json_response(json);
}

/// What is asked for; empty: anything.
struct Wanted {
    std::string namespace_;
    std::string name;
    [[nodiscard]] bool matches(const ObjectId& id) const {
        return (namespace_.empty() || namespace_ == id.namespace_) && (name.empty() || name == id.name);
    }
};

void list_one(Json::Value& list, const ObjectId& id, const std::vector<AnyObject>& objects) {
    Json::Value one(Json::objectValue);
    const auto& origin = std::visit(
        [](const auto& stored) -> const auto& { return stored.origin(); }, objects.front());
    one["origin"] = to_string(origin);
    one["object"] = kubernetes::manifest_of(id, objects);
    list.append(std::move(one));
}

void list_slices(Json::Value& list, const kubernetes::Objects& objects, const Wanted& wanted,
                 bool endpoints) {
    // Of an Endpoints all slices lie one after the other.
    std::optional<ObjectId> open;
    std::vector<AnyObject> together;
    const auto close = [&] {
        if (open) list_one(list, *open, together);
        open.reset();
        together.clear();
    };
    for (const auto& [key, slice] : objects.slices) {
        if (slice->from_endpoints != endpoints) continue;
        const ObjectId id{endpoints ? ObjectKind::endpoints : ObjectKind::endpoint_slice, key.namespace_,
                          endpoints ? key.service : key.name};
        if (!wanted.matches(id)) continue;
        if (open != id) close();
        open = id;
        together.emplace_back(slice);
    }
    close();
}

void list_kind(Json::Value& list, const kubernetes::Objects& objects, const Wanted& wanted, ObjectKind kind) {
    const auto each = [&](const auto& map) {
        for (const auto& [key, stored] : map) {
            const ObjectId id{kind, stored->meta.namespace_, stored->meta.name};
            if (wanted.matches(id)) list_one(list, id, {stored});
        }
    };
    switch (kind) {
        case ObjectKind::service:
            return each(objects.services);
        case ObjectKind::endpoint_slice:
            return list_slices(list, objects, wanted, false);
        case ObjectKind::endpoints:
            return list_slices(list, objects, wanted, true);
        case ObjectKind::pod:
            return each(objects.pods);
        case ObjectKind::node: {
            const Wanted anywhere{{}, wanted.name};
            for (const auto& [name, node] : objects.nodes) {
                if (anywhere.matches({kind, {}, name})) list_one(list, {kind, {}, name}, {node});
            }
            return;
        }
    }
}

http::Response get(const ManifestRoom& room, http::Request& request) {
    api::check_query(request, {"kind", "namespace", "name"});
    const auto given = [&](const char* key) {
        const auto found = request.query.find(key);
        return found == request.query.end() ? std::string() : found->second;
    };
    const Wanted wanted{given("namespace"), given("name")};
    std::vector<ObjectKind> kinds{ObjectKind::service, ObjectKind::endpoint_slice, ObjectKind::endpoints,
                                  ObjectKind::pod, ObjectKind::node};
    if (const auto kind = given("kind"); !kind.empty()) kinds = {read_kind(kind, "query \"kind\"")};
    Json::Value json(Json::objectValue);
    json["source"] = room.all.name();
    json["objects"] = Json::arrayValue;
    const auto snapshot = room.all.latest();
    json["trouble"] = snapshot == nullptr ? room.all.trouble() : snapshot->trouble;
    if (snapshot == nullptr) return api::json_response(json);
    for (const auto kind : kinds)
        list_kind(json["objects"], snapshot->objects, wanted, kind);
    return api::json_response(json);
}

}  // namespace

void add_manifest_routes(api::Router& router, const ManifestRoom& room) {
    router.add("POST", "/v1/manifests",
               [room](http::Request& request, const auto&) { return put(room, request); });
    router.add("DELETE", "/v1/manifests",
               [room](http::Request& request, const auto&) { return erase(room, request); });
    router.add("GET", "/v1/manifests",
               [room](http::Request& request, const auto&) { return get(room, request); });
}

}  // namespace viaduct::service
