// What looks at attachments without making one: CHECK, STATUS, GC, and what the reconciler is told.
#include <sys/stat.h>

#include <algorithm>

#include <spdlog/spdlog.h>

#include "node/interface.h"
#include "node/occupants.h"
#include "pod/attachments.h"
#include "pod/failure.h"
#include "pod/routing.h"

namespace viaduct::pod {

namespace {

[[noreturn]] void differs(const Key& key, const std::string& what) {
    throw Failure(attachment::kCheckFailed, "attachment " + attachment::to_string(key) + ": " + what);
}

/// What the runtime remembers against what is recorded.
void compare_with_result(const attachment::Expected& expected, const Record& record) {
    const auto& attached = record.attached;
    if (expected.mac && *expected.mac != attached.mac) {
        differs(expected.key, "prevResult has MAC address " + expected.mac->to_string() +
                                  ", and it was given " + attached.mac.to_string());
    }
    for (const auto& address : own_addresses(record)) {
        const auto& list = expected.addresses;
        if (std::find(list.begin(), list.end(), address.address) == list.end()) {
            differs(expected.key, "prevResult lacks its address " + address.address.to_string());
        }
    }
}

void compare_with_kernel(const Record& record, const std::optional<node::Namespace>& ns) {
    const auto& key = record.request.key;
    if (!ns) differs(key, "no network namespace was passed");
    if (ns->inode() != record.inode) differs(key, "this is another network namespace than it was added to");
    if (const auto difference = node::difference(*ns, interface_of(record))) differs(key, *difference);
}

}  // namespace

void Attachments::check(const attachment::Expected& expected,
                        const std::optional<node::Namespace>& ns) const {
    const auto record = find(expected.key);
    if (!record || record->state != State::ready) {
        throw Failure(attachment::kUnknownContainer,
                      "no attachment " + attachment::to_string(expected.key) + " is known");
    }
    compare_with_result(expected, *record);
    const auto status = reconciler_->status();
    if (!status.connected) throw Failure(attachment::kTryAgain, "the dataplane is away: " + status.reason);
    const auto left_out = status.left_out.find("ports/" + record->attached.port);
    if (left_out != status.left_out.end()) {
        differs(expected.key, "the dataplane cannot have its port: " + left_out->second);
    }
    if (record->request.interface == attachment::Interface::tap) {
        compare_with_kernel(*record, ns);
    } else if (struct stat found{};
               ::stat(record->directory.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) {
        differs(expected.key, "its directory " + record->directory + " is gone");
    }
}

std::vector<Key> Attachments::collect(const std::string& network, const std::set<Key>& valid) {
    std::vector<Key> removed;
    for (const auto& record : list()) {
        const auto& key = record.request.key;
        if (key.network != network || valid.contains(key)) continue;
        if (remove(key, std::nullopt)) removed.push_back(key);
    }
    return removed;
}

bool Attachments::is_lived_in(const std::string& path, std::uint64_t ns) const {
    // The usual case costs one look. Of our own mounts there may be one for each attachment.
    return node::leads_to(path, ns) || node::is_occupied(ns, options_.run_dir + "/netns/");
}

bool Attachments::has_vanished(const Record& record) const {
    return record.request.goes_with_namespace && record.state == State::ready &&
           !is_lived_in(record.request.netns, record.inode);
}

std::vector<Key> Attachments::collect_vanished() {
    std::vector<Key> removed;
    for (const auto& record : list()) {
        if (!has_vanished(record)) continue;
        const auto& key = record.request.key;
        const Turn turn(*this, key);
        // By now it may have gone or be another's.
        const auto present = find(key);
        if (!present || !has_vanished(*present)) continue;
        spdlog::info("attachment {}: nobody is in its network namespace any more",
                     attachment::to_string(key));
        remove(*present);
        removed.push_back(key);
    }
    return removed;
}

void Attachments::status(const Needs& needs) const {
    const auto status = reconciler_->status();
    if (!status.connected) {
        throw Failure(attachment::kNotAvailableLimited,
                      "the dataplane is away, and pods are cut off: " + status.reason);
    }
    const ipam::Wish wish{needs.segment, needs.network, "", needs.sets, needs.exclude, {}};
    if (const auto reason = leases_.exhausted(wish)) throw Failure(attachment::kNotAvailable, *reason);
}

std::vector<attachment::Owed> Attachments::owed(const std::string& network) const {
    return delegations_.of_network(network, [this](const Key& key) { return find(key).has_value(); });
}

std::vector<Record> Attachments::list() const {
    const std::scoped_lock lock(mutex_);
    std::vector<Record> list;
    for (const auto& [key, record] : records_)
        list.push_back(record);
    return list;
}

void Attachments::contribute(store::Transaction&, model::Config& desired, Faults& faults) const {
    const std::scoped_lock lock(mutex_);
    std::set<std::string> derived;
    for (const auto& [key, record] : records_) {
        if (record.state == State::removing) continue;
        const auto& name = record.request.bridge;
        const bool absent = desired.bridges.emplace(name, model::Bridge{.name = name}).second;
        if (absent) derived.insert(name);
        if (record.request.vlan && derived.contains(name)) desired.bridges[name].vlan_filtering = true;
        if (record.request.wire && derived.contains(name)) desired.bridges[name].wire = true;
        const auto port = port_of(record);
        if (!desired.ports.emplace(port.name, port).second) {
            faults.push_back({"ports/" + port.name, "is configured, and a pod's port has the same name"});
        }
    }
    // Whether a bridge filters VLANs is known now, and with the gateways what addresses the router has.
    std::set<std::string> gateways;
    for (const auto& [key, record] : records_) {
        if (record.state != State::removing) add_gateway(record, desired, gateways);
    }
    for (const auto& [key, record] : records_) {
        if (record.state != State::removing) add_translation(record, desired, desired);
    }
}

void Attachments::restored(const model::Named<model::Port>& ports) const {
    for (const auto& record : list()) {
        // An ADD that is under way does this itself.
        if (record.state != State::ready || !ports.contains(record.attached.port)) continue;
        if (record.request.interface != attachment::Interface::tap) continue;
        try {
            auto config = interface_of(record);
            config.detect_duplicates = false;
            node::configure(node::Namespace::open(record.netns), config);
        } catch (const std::exception& error) {
            spdlog::error("attachment {}: its interface was restored without its addresses: {}",
                          attachment::to_string(record.request.key), error.what());
        }
    }
}

}  // namespace viaduct::pod
