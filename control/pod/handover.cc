// Attachments whose interface a container engine takes over: it is made in the node's namespace, the engine
// moves it into the container's, renames it and gives it its addresses, and may move it back. The record
// follows, so that the next dataplane finds the interface where it is; the present one has followed by
// itself.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "viaduct/http.h"

#include "node/interface.h"
#include "node/occupants.h"
#include "pod/attachments.h"
#include "pod/failure.h"
#include "pod/routing.h"

namespace viaduct::pod {

Record Attachments::require(const Key& key) const {
    const auto record = find(key);
    if (record && record->state == State::ready) return *record;
    throw Failure(attachment::kUnknownContainer, "no attachment " + attachment::to_string(key) + " is known");
}

/// In the store and in memory, in one step.
void Attachments::replace(const Record& record, store::Transaction& tx) {
    save(tx, record);
    const std::scoped_lock lock(mutex_);
    auto& present = records_.at(record.request.key);
    const auto before = present;
    present = record;
    try {
        tx.commit();
    } catch (...) {
        present = before;
        throw;
    }
}

void Attachments::expect_move(const Key& key, const std::string& sandbox) {
    const Turn turn(*this, key);
    auto record = require(key);
    record.sandbox.clear();
    if (!sandbox.empty() && record.moved) {
        // It was somewhere else before; where it is now matters to who looks for it there.
        record = locate(record).value_or(record);
        record.moved = false;
    }
    record.sandbox = sandbox;
    store::Transaction tx(database_);
    replace(record, tx);
}

void Attachments::follow_moves() {
    for (const auto& record : list()) {
        if (!record.request.handed_over || record.state != State::ready) continue;
        if (record.moved == !record.sandbox.empty()) continue;  // it is where it was to go
        const Turn turn(*this, record.request.key);
        const auto present = find(record.request.key);
        if (present && present->state == State::ready) follow(*present);
    }
}

/// `record` as it is where `ns` has its interface; nothing where that has none, or one that is not renamed
/// yet and so is still being worked at.
std::optional<Record> Attachments::found_in(const Record& record, const node::Namespace& ns,
                                            bool home) const {
    const auto& key = record.request.key;
    const auto ifname = node::find_by_alias(ns, alias(key));
    if (!ifname || (!home && *ifname == key.ifname)) return std::nullopt;
    auto now = record;
    now.ifname = *ifname;
    now.inode = ns.inode();
    now.moved = !home;
    return now;
}

/// Where the interface is now; nothing where that is known already or cannot be found out. An engine's paths
/// may mean nothing here, when it has mounts of its own: then the namespace is that of some process, and is
/// kept by a mount of ours.
std::optional<Record> Attachments::locate(const Record& record) const {
    const auto home = record.bound ? mount_of(record) : record.request.netns;
    for (const auto& path : {record.sandbox, home}) {
        if (path.empty()) continue;
        try {
            auto now = found_in(record, node::Namespace::open(path), path == home);
            if (!now) continue;
            now->netns = path;
            if (now->inode == record.inode && now->ifname == record.ifname && now->moved == record.moved)
                return std::nullopt;
            return now;
        } catch (const node::Error& error) {
            spdlog::debug("attachment {}: {}", attachment::to_string(record.request.key), error.what());
        }
    }
    if (record.sandbox.empty()) return std::nullopt;
    for (const auto& ns : node::namespaces_of_processes()) {
        if (ns.inode() == record.inode) continue;
        auto now = found_in(record, ns, false);
        if (!now) continue;
        now->netns = sandbox_mount_of(record);
        node::bind_path(ns, now->netns);
        return now;
    }
    return std::nullopt;
}

void Attachments::follow(const Record& record) {
    const auto name = attachment::to_string(record.request.key);
    try {
        const auto now = locate(record);
        if (!now) return;
        {
            store::Transaction tx(database_, store::Transaction::Survives::process);
            replace(*now, tx);
        }
        spdlog::info("attachment {}: its interface is {} in {}", name, now->ifname, now->netns);
        reconciler_->wake();
    } catch (const node::Error& error) {
        spdlog::debug("attachment {}: {}", name, error.what());
    }
}

/// What the ports that `record` publishes are in the dataplane, put or deleted.
model::Change Attachments::translation_of(const Record& record, bool added) const {
    model::Change change;
    store::Transaction tx(database_);
    model::Config desired;
    Faults faults;
    configuration_.contribute(tx, desired, faults);
    contribute(tx, desired, faults);
    model::Config translation;
    add_translation(record, desired, translation);
    if (added) {
        check_mappings(record, translation);
        change.put.port_forwards = translation.port_forwards;
    } else {
        for (const auto& [name, forward] : translation.port_forwards)
            change.delete_port_forwards.insert(name);
    }
    return change;
}

void Attachments::publish(const Key& key, std::vector<attachment::PortMapping> mappings) {
    const Turn turn(*this, key);
    const auto before = require(key);
    auto record = before;
    record.request.port_mappings = std::move(mappings);
    auto change = translation_of(record, true);
    for (const auto& name : translation_of(before, false).delete_port_forwards) {
        if (!change.put.port_forwards.contains(name)) change.delete_port_forwards.insert(name);
    }
    {
        store::Transaction tx(database_);
        model::Config desired;
        Faults faults;
        configuration_.contribute(tx, desired, faults);
        contribute(tx, desired, faults);
        erase_if(desired.port_forwards,
                 [&](const auto& entry) { return entry.first.starts_with(record.attached.port + "-"); });
        refuse_clashes(record, desired, list());
        replace(record, tx);
    }
    try {
        reconciler_->apply(change);
    } catch (const Refused&) {
        store::Transaction tx(database_);
        replace(before, tx);
        reconciler_->wake();
        throw;
    } catch (const http::Unreachable& error) {
        spdlog::warn("attachment {}: the dataplane will be told later: {}", attachment::to_string(key),
                     error.what());
    }
}

}  // namespace viaduct::pod
