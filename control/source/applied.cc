// Rows of the store as a source: read once, then changed together with what is in memory.
#include "source/applied.h"

#include <algorithm>
#include <utility>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

#include "kubernetes/writer.h"

namespace viaduct::source {

namespace {

using kubernetes::AnyObject;
using kubernetes::DocumentFault;
using kubernetes::ObjectId;

Fault fault_of(const DocumentFault& fault) {
    return {"", to_string(fault)};
}

}  // namespace

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"source", 1, R"(
        CREATE TABLE applied_manifest (
            kind TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (kind, namespace, name)
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

std::string_view to_string(Applying::Outcome outcome) {
    switch (outcome) {
        case Applying::Outcome::created:
            return "created";
        case Applying::Outcome::configured:
            return "configured";
        case Applying::Outcome::unchanged:
            return "unchanged";
        case Applying::Outcome::deleted:
            return "deleted";
        case Applying::Outcome::absent:
            return "absent";
    }
    return "?";
}

Applied::Applied(store::Database& database) : database_(database) {
    std::vector<std::pair<ObjectId, std::string>> rows;
    {
        store::Transaction tx(database_);
        auto all = tx.prepare("SELECT kind, namespace, name, text FROM applied_manifest");
        while (all.step()) {
            const auto kind = kubernetes::kind_of(all.text(0));
            // A newer version's kinds are for it to come back to.
            if (kind) rows.emplace_back(ObjectId{*kind, all.text(1), all.text(2)}, all.text(3));
        }
    }
    for (const auto& [id, text] : rows) {
        std::vector<DocumentFault> faults;
        const auto objects = read(text, faults);
        if (faults.empty()) {
            replace(id, &objects);
            continue;
        }
        for (auto& fault : faults) {
            fault.object = to_string(id);
            fault.line = 0;
            spdlog::error("an applied manifest is not in force any more: {}", to_string(fault));
        }
        unreadable_[id] = std::move(faults);
    }
    const std::lock_guard lock(changing_);
    deliver();
}

/// Of one document's text as it is kept.
Applied::Objects Applied::read(const std::string& text, std::vector<DocumentFault>& faults) {
    auto read = kubernetes::read_documents(text, place_, pool_);
    faults = std::move(read.faults);
    Objects objects;
    for (const auto& document : read.documents) {
        for (const auto& object : document.objects)
            objects.push_back(kubernetes::moved(object, {place_, 0}));
    }
    return objects;
}

std::vector<Applying> Applied::put(const kubernetes::Documents& documents, Run run) {
    if (!documents.faults.empty()) {
        Faults faults;
        for (const auto& fault : documents.faults)
            faults.push_back(fault_of(fault));
        throw Refused(faults);
    }
    const std::lock_guard lock(changing_);
    std::vector<Applying> all;
    std::vector<Change> changes;
    for (const auto& document : documents.documents) {
        const auto found = objects_.find(document.id);
        Applying one{document.id, Applying::Outcome::created, {}, {}};
        one.after = to_json_text(kubernetes::manifest_of(document.id, document.objects));
        if (found != objects_.end()) {
            one.before = to_json_text(kubernetes::manifest_of(document.id, found->second));
            one.outcome =
                one.before == one.after ? Applying::Outcome::unchanged : Applying::Outcome::configured;
        }
        if (one.outcome != Applying::Outcome::unchanged) {
            // What will be read after a restart is in force from now on.
            std::vector<DocumentFault> faults;
            changes.push_back({document.id, read(one.after, faults)});
            if (!faults.empty()) throw Refused({fault_of(faults.front())});
        }
        all.push_back(std::move(one));
    }
    if (run == Run::dry || changes.empty()) return all;
    keep(all);
    for (const auto& change : changes)
        replace(change.id, &change.objects);
    deliver();
    return all;
}

std::vector<Applying> Applied::erase(const std::vector<ObjectId>& ids, Run run) {
    const std::lock_guard lock(changing_);
    std::vector<Applying> all;
    bool any = false;
    for (const auto& id : ids) {
        const auto found = objects_.find(id);
        Applying one{id, Applying::Outcome::absent, {}, {}};
        if (found != objects_.end()) one.before = to_json_text(kubernetes::manifest_of(id, found->second));
        if (found != objects_.end() || unreadable_.contains(id)) one.outcome = Applying::Outcome::deleted;
        any = any || one.outcome == Applying::Outcome::deleted;
        all.push_back(std::move(one));
    }
    if (run == Run::dry || !any) return all;
    store::give_back(database_, [&] { keep(all); });
    for (const auto& one : all) {
        if (one.outcome == Applying::Outcome::deleted) replace(one.id, nullptr);
    }
    deliver();
    return all;
}

/// Makes all of it durable.
void Applied::keep(const std::vector<Applying>& all) {
    store::Transaction tx(database_);
    for (const auto& one : all) {
        const auto kind = to_string(one.id.kind);
        switch (one.outcome) {
            case Applying::Outcome::created:
            case Applying::Outcome::configured:
                tx.run(
                    "INSERT OR REPLACE INTO applied_manifest (kind, namespace, name, text) "
                    "VALUES (?, ?, ?, ?)",
                    kind, one.id.namespace_, one.id.name, one.after);
                break;
            case Applying::Outcome::deleted:
                tx.run("DELETE FROM applied_manifest WHERE kind = ? AND namespace = ? AND name = ?", kind,
                       one.id.namespace_, one.id.name);
                break;
            case Applying::Outcome::unchanged:
            case Applying::Outcome::absent:
                break;
        }
    }
    tx.commit();
}

/// In memory. `objects` null: gone.
void Applied::replace(const ObjectId& id, const Objects* objects) {
    unreadable_.erase(id);
    const auto found = objects_.find(id);
    if (found != objects_.end()) {
        for (const auto& object : found->second)
            kubernetes::erase(now_.objects, object);
    }
    if (objects == nullptr) {
        if (found != objects_.end()) objects_.erase(found);
        return;
    }
    for (const auto& object : *objects)
        kubernetes::put(now_.objects, object);
    objects_[id] = *objects;
}

/// With `changing_` held.
void Applied::deliver() {
    now_.documents = objects_.size() + unreadable_.size();
    now_.read_at = std::chrono::system_clock::now();
    now_.faults.clear();
    std::vector<DocumentFault> faults;
    for (const auto& [id, told] : unreadable_)
        faults.insert(faults.end(), told.begin(), told.end());
    if (!faults.empty()) now_.faults.insert_or_assign(*place_, std::move(faults));
    auto snapshot = std::make_shared<const Snapshot>(now_);
    {
        const std::lock_guard lock(mutex_);
        latest_ = snapshot;
    }
    if (listener_) listener_(std::move(snapshot));
}

void Applied::start(Listener listener) {
    const std::lock_guard lock(changing_);
    listener_ = std::move(listener);
    listener_(latest());
}

void Applied::stop() {
    const std::lock_guard lock(changing_);
    listener_ = nullptr;
}

SnapshotPtr Applied::latest() const {
    const std::lock_guard lock(mutex_);
    return latest_;
}

}  // namespace viaduct::source
