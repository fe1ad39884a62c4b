// A row for each manifest that is in force, written by a thread of its own.
#include "source/kept.h"

#include <chrono>
#include <set>
#include <tuple>
#include <utility>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

#include "kubernetes/writer.h"

namespace viaduct::source {

namespace {

using kubernetes::AnyObject;
using kubernetes::ObjectId;

/// From the first change to writing it: others come along.
constexpr std::chrono::milliseconds kGather{250};

const kubernetes::Origin& origin_of(const std::vector<AnyObject>& objects) {
    return std::visit([](const auto& stored) -> const kubernetes::Origin& { return stored.origin(); },
                      objects.front());
}

ObjectId id_in(const store::Statement& row, kubernetes::ObjectKind kind) {
    return {kind, row.text(1), row.text(2)};
}

void forget(store::Transaction& tx, const ObjectId& id) {
    tx.run("DELETE FROM kept_manifest WHERE kind = ? AND namespace = ? AND name = ?", to_string(id.kind),
           id.namespace_, id.name);
}

}  // namespace

const std::vector<store::Migration>& Kept::migrations() {
    static const std::vector<store::Migration> steps{{"kept", 1, R"(
        CREATE TABLE kept_directory (
            path TEXT NOT NULL,
            device INTEGER NOT NULL,
            inode INTEGER NOT NULL
        );
        CREATE TABLE kept_manifest (
            kind TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            file TEXT NOT NULL,
            line INTEGER NOT NULL,
            text TEXT NOT NULL,
            UNIQUE (kind, namespace, name)
        );
        CREATE INDEX kept_manifest_file ON kept_manifest (file);
    )"}};
    return steps;
}

Kept::Kept(store::Database& database, std::string path) : database_(database), path_(std::move(path)) {
    store::Transaction tx(database_);
    auto known = tx.prepare("SELECT 1 FROM kept_directory WHERE path <> ?", path_);
    if (known.step()) {
        tx.run("DELETE FROM kept_directory");
        tx.run("DELETE FROM kept_manifest");
        tx.commit();
    }
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
}

Kept::~Kept() {
    thread_.request_stop();
}

std::optional<DirectoryIdentity> Kept::identity() const {
    store::Transaction tx(database_);
    auto known = tx.prepare("SELECT device, inode FROM kept_directory");
    if (!known.step()) return std::nullopt;
    return DirectoryIdentity{static_cast<std::uint64_t>(known.integer(0)),
                             static_cast<std::uint64_t>(known.integer(1))};
}

std::vector<std::string> Kept::files() const {
    store::Transaction tx(database_);
    auto rows = tx.prepare("SELECT DISTINCT file FROM kept_manifest ORDER BY file");
    std::vector<std::string> names;
    while (rows.step())
        names.push_back(rows.text(0));
    return names;
}

kubernetes::Documents Kept::documents(const std::shared_ptr<const std::string>& file,
                                      kubernetes::TextPool& pool) const {
    kubernetes::Documents all;
    store::Transaction tx(database_);
    auto rows = tx.prepare("SELECT text, line FROM kept_manifest WHERE file = ?", *file);
    while (rows.step()) {
        auto read = kubernetes::read_documents(rows.text(0), file, pool);
        for (const auto& fault : read.faults)
            spdlog::error("a manifest that was kept is not in force any more: {}", to_string(fault));
        const auto line = static_cast<std::uint32_t>(rows.integer(1));
        for (auto& document : read.documents) {
            if (document.refused) continue;
            document.line = line;
            for (auto& object : document.objects)
                object = kubernetes::moved(object, {file, line});
            all.documents.push_back(std::move(document));
        }
    }
    return all;
}

void Kept::note(const DirectoryIdentity& identity, std::vector<InForce> changes) {
    const std::scoped_lock lock(mutex_);
    identity_ = identity;
    for (auto& change : changes)
        pending_.insert_or_assign(std::move(change.id), std::move(change.objects));
    noted_ = true;
    bell_.notify_all();
}

void Kept::run(const std::stop_token& stopping) {
    Pending changes;
    while (true) {
        DirectoryIdentity identity;
        {
            std::unique_lock lock(mutex_);
            bell_.wait(lock, stopping, [&] { return noted_; });
            if (noted_) bell_.wait_for(lock, stopping, kGather, [] { return false; });
            if (!noted_) return;
            noted_ = false;
            identity = identity_;
            // After a failure those of before are still there.
            for (auto& [id, objects] : std::exchange(pending_, {}))
                changes.insert_or_assign(id, std::move(objects));
        }
        try {
            write(identity, changes);
            changes.clear();
            whole_ = true;
            failing_ = false;
        } catch (const std::exception& error) {
            if (!std::exchange(failing_, true))
                spdlog::warn("what {} says is in force, and not kept for a start without it: {}", path_,
                             error.what());
        }
    }
}

/// All of it, or nothing.
void Kept::write(const DirectoryIdentity& identity, const Pending& changes) {
    store::Transaction tx(database_, store::Transaction::Survives::process);
    tx.run("DELETE FROM kept_directory");
    tx.run("INSERT INTO kept_directory (path, device, inode) VALUES (?, ?, ?)", path_, identity.device,
           identity.inode);
    if (!whole_) {
        std::vector<ObjectId> stale;
        auto rows = tx.prepare("SELECT kind, namespace, name FROM kept_manifest");
        while (rows.step()) {
            const auto kind = kubernetes::kind_of(rows.text(0));
            if (kind && !changes.contains(id_in(rows, *kind))) stale.push_back(id_in(rows, *kind));
        }
        for (const auto& id : stale)
            forget(tx, id);
    }
    for (const auto& [id, objects] : changes) {
        if (objects.empty()) {
            forget(tx, id);
            continue;
        }
        const auto& origin = origin_of(objects);
        // What is kept already is read and not written.
        tx.run(
            "INSERT INTO kept_manifest (kind, namespace, name, file, line, text) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (kind, namespace, name) DO UPDATE SET file = excluded.file, line = excluded.line, "
            "text = excluded.text WHERE text <> excluded.text OR file <> excluded.file OR line <> "
            "excluded.line",
            to_string(id.kind), id.namespace_, id.name, *origin.file, origin.line,
            to_json_text(kubernetes::manifest_of(id, objects)));
    }
    tx.commit();
}

}  // namespace viaduct::source
