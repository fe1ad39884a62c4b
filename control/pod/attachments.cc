#include "pod/attachments.h"

#include <algorithm>
#include <ctime>

#include <spdlog/spdlog.h>

#include "node/boot.h"
#include "node/interface.h"
#include "pod/directory.h"
#include "pod/failure.h"
#include "pod/routing.h"
#include "store/config_history.h"

namespace viaduct::pod {

using attachment::Attached;
using attachment::Interface;
using attachment::Request;

namespace {

ipam::Wish wish_of(const Record& record) {
    const auto& request = record.request;
    return {record.segment, request.key.network, attachment::to_string(request.key),
            request.ranges, request.exclude,     request.requested};
}

bool is_tap(const Record& record) {
    return record.request.interface == Interface::tap;
}

store::ObjectChange history_of(const Record& record, bool added) {
    store::ObjectChange change;
    change.object = "attachments/" + attachment::to_string(record.request.key);
    (added ? change.after : change.before) = history_text(record);
    return change;
}

}  // namespace

Attachments::Turn::Turn(Attachments& all, Key key) : all_(all), key_(std::move(key)) {
    std::unique_lock lock(all_.mutex_);
    all_.free_.wait(lock, [&] { return !all_.busy_.contains(key_); });
    all_.busy_.insert(key_);
}

Attachments::Turn::~Turn() {
    {
        const std::scoped_lock lock(all_.mutex_);
        all_.busy_.erase(key_);
    }
    all_.free_.notify_all();
}

Attachments::Attachments(Options options, store::Database& database,
                         const reconcile::DesiredSource& configuration)
    : options_(std::move(options)),
      database_(database),
      configuration_(configuration),
      boot_(node::boot_id()),
      leases_(database),
      delegations_(database) {
    store::Transaction tx(database_);
    records_ = load(tx);
}

std::optional<Record> Attachments::find(const Key& key) const {
    const std::scoped_lock lock(mutex_);
    const auto found = records_.find(key);
    return found == records_.end() ? std::nullopt : std::optional(found->second);
}

void Attachments::recover() {
    for (const auto& record : list()) {
        const bool rebooted = record.boot != boot_;
        if (record.state == State::ready && !rebooted) continue;
        const auto name = attachment::to_string(record.request.key);
        spdlog::warn("attachment {} {}: taken away", name,
                     rebooted ? "is from before the last boot" : "was left half way by a crash");
        mark(record.request.key, State::removing);
        try {
            remove_effects(record);
            erase(record, false);
        } catch (const std::exception& error) {
            spdlog::error("attachment {} cannot be taken away, a DEL or GC will try again: {}", name,
                          error.what());
        }
    }
}

/// Where its namespace is kept when no path leads there for everybody.
std::string Attachments::mount_of(const Record& record) const {
    return options_.run_dir + "/netns/" + record.attached.port;
}

std::string Attachments::sandbox_mount_of(const Record& record) const {
    return mount_of(record) + ".sandbox";
}

/// All that follows from the request without a look at anybody else.
Record Attachments::plan(Request request, const std::optional<node::Namespace>& ns) const {
    if (!request.addresses.empty() && (!request.ranges.empty() || !request.requested.empty())) {
        throw Refused("addresses",
                      "come from a delegated IPAM plugin, and ranges from the built-in one; only one may be");
    }
    Record record;
    record.attached.port = port_name(request.key);
    record.attached.mtu = request.mtu;
    record.ifname = request.key.ifname;
    record.attached.addresses = request.addresses;
    record.segment = segment(request.bridge, request.vlan);
    record.boot = boot_;
    record.created = std::time(nullptr);
    if (request.interface == Interface::tap) {
        if (!ns)
            throw Refused("netns",
                          "must come as a descriptor with the request: the pod's interface goes there");
        record.inode = ns->inode();
        record.bound = !node::leads_to(request.netns, *ns);
        record.netns = record.bound ? mount_of(record) : request.netns;
    } else {
        auto& vhost = request.vhost;
        const auto parent = vhost.directory.empty() ? options_.run_dir + "/vhost" : vhost.directory;
        record.directory = parent + "/" + record.attached.port;
        record.attached.socket_path = record.directory + "/vhost.sock";
        if (record.attached.socket_path.size() > model::kSocketPathMost) {
            throw Refused("vhostUser/directory",
                          "makes the socket's path " + record.attached.socket_path + " " +
                              std::to_string(record.attached.socket_path.size()) +
                              " bytes long, and a Unix socket can have 107; name a shorter directory");
        }
        // As numbers from here on: the names may change while the pod lives.
        if (!vhost.owner.empty()) vhost.owner = std::to_string(user_id(vhost.owner));
        if (!vhost.group.empty()) vhost.group = std::to_string(group_id(vhost.group));
    }
    record.request = std::move(request);
    return record;
}

/// Inside the transaction that accepts the record, so that no two get the same.
void Attachments::choose_mac(Record& record) const {
    const auto holder = [&](const MacAddress& mac) -> const Record* {
        const auto found = std::find_if(records_.begin(), records_.end(), [&](const auto& entry) {
            return entry.second.request.bridge == record.request.bridge && entry.second.attached.mac == mac;
        });
        return found == records_.end() ? nullptr : &found->second;
    };
    if (const auto wanted = record.request.mac) {
        if (const auto* other = holder(*wanted)) {
            throw Failure(attachment::kMacRefused, "MAC address " + wanted->to_string() +
                                                       " was requested, and " +
                                                       attachment::to_string(other->request.key) +
                                                       " has it on bridge " + record.request.bridge);
        }
        record.attached.mac = *wanted;
        return;
    }
    unsigned attempt = 0;
    do {
        record.attached.mac = derived_mac(record.request.key, attempt++);
    } while (holder(record.attached.mac) != nullptr);
}

/// Makes the record durable, with its addresses and its place in the history: one transaction, one wait for
/// the disk.
void Attachments::accept(Record& record) {
    ipam::Reservation reservation(leases_, record.segment);
    store::Transaction tx(database_);
    model::Config configured;
    Faults faults;
    configuration_.contribute(tx, configured, faults);
    const auto& request = record.request;
    if (configured.ports.contains(record.attached.port)) {
        throw Refused("ports/" + record.attached.port,
                      "is configured already under the name that this pod's port has");
    }
    const auto bridge = configured.bridges.find(request.bridge);
    if (request.vlan && bridge != configured.bridges.end() && !bridge->second.vlan_filtering) {
        throw Refused(
            "vlan", "needs vlan_filtering on bridge \"" + request.bridge + "\", which is configured without");
    }
    if (!request.ranges.empty() || !request.requested.empty()) {
        leases_.take(tx, wish_of(record), reservation);
        const auto& got = reservation.addresses();
        record.attached.addresses.insert(record.attached.addresses.end(), got.begin(), got.end());
    }
    choose_gateways(record);
    if (!request.port_mappings.empty()) {
        contribute(tx, configured, faults);
        refuse_clashes(record, configured, list());
    }
    const std::scoped_lock lock(mutex_);
    choose_mac(record);
    record.generation = store::record(tx, store::kAttachment, "add", {history_of(record, true)});
    save(tx, record);
    // Before the commit, while nobody can look: who begins the next transaction finds memory and store alike.
    records_[request.key] = record;
    try {
        tx.commit();
    } catch (...) {
        records_.erase(request.key);
        throw;
    }
    reservation.keep();
}

void Attachments::mark(const Key& key, State state) {
    {
        const std::scoped_lock lock(mutex_);
        const auto found = records_.find(key);
        if (found != records_.end()) found->second.state = state;
    }
    if (changed_) changed_();
    try {
        // Needed after a crash of this process only: a power cut takes the pods with it.
        store::Transaction tx(database_, store::Transaction::Survives::process);
        set_state(tx, key, state);
        tx.commit();
    } catch (const store::Error& error) {
        spdlog::warn("attachment {}: {}", attachment::to_string(key), error.what());
    }
}

/// The port, what the pod brings with it, and the bridge and gateway if nobody configured them.
model::Change Attachments::change_for(const Record& record) const {
    model::Change change;
    store::Transaction tx(database_);
    model::Config desired;
    Faults faults;
    configuration_.contribute(tx, desired, faults);
    const bool bridge_configured = desired.bridges.contains(record.request.bridge);
    contribute(tx, desired, faults);
    const auto& bridge = record.request.bridge;
    if (!bridge_configured) change.put.bridges.emplace(bridge, desired.bridges.at(bridge));
    const auto port = port_of(record);
    change.put.ports.emplace(port.name, port);
    const auto gateway = desired.interfaces.find(gateway_name(record.request.key.network));
    if (record.request.gateway && gateway != desired.interfaces.end()) change.put.interfaces.insert(*gateway);
    add_translation(record, desired, change.put);
    check_mappings(record, change.put);
    return change;
}

node::InterfaceConfig interface_of(const Record& record) {
    const auto& request = record.request;
    // One that is to be handed over gets what is in the pod when it is there.
    const bool bare = request.handed_over && !record.moved;
    return {.ifname = record.ifname,
            .alias = alias(request.key),
            .mac = record.attached.mac,
            .mtu = request.mtu,
            .up = request.up && !bare,
            .detect_duplicates = request.detect_duplicates,
            .addresses = own_addresses(record),
            .routes = request.routes};
}

/// The effects, each of which can be found and undone through the record.
void Attachments::make(const Record& record, const std::optional<node::Namespace>& ns) {
    if (record.bound) node::bind_path(*ns, mount_of(record));
    if (!is_tap(record)) make_directory(record);
    reconciler_->apply(change_for(record), options_.patience);
    if (is_tap(record)) node::configure(*ns, interface_of(record));
    write_device_info(record);
}

Attached Attachments::add(Request request, const std::optional<node::Namespace>& ns) {
    const Turn turn(*this, request.key);
    for (const auto& key : request.unknown_keys) {
        spdlog::info("network {}: key \"{}\" of the CNI configuration is not known and not used",
                     request.key.network, key);
    }
    auto record = plan(std::move(request), ns);
    try {
        if (const auto old = find(record.request.key)) {
            take_away(*old);
            erase(*old, false);
        }
        accept(record);
    } catch (const ipam::Error& error) {
        throw Failure(error.code(), error.what());
    } catch (const store::Error& error) {
        throw Failure(attachment::kIo, error.what());
    }
    const auto name = attachment::to_string(record.request.key);
    try {
        make(record, ns);
    } catch (const std::exception& error) {
        spdlog::warn("attachment {} failed and is taken back: {}", name, error.what());
        withdraw(record);
        throw;
    }
    mark(record.request.key, State::ready);
    delegations_.settle(record.request.token);
    spdlog::info("attachment {} added: port {} on bridge {}", name, record.attached.port,
                 record.request.bridge);
    auto attached = record.attached;
    attached.addresses = own_addresses(record);
    return attached;
}

void Attachments::remove_effects(const Record& record) {
    if (is_tap(record)) {
        // The dataplane may be away or may have lost the port: the interface goes all the same.
        try {
            const auto ns = node::Namespace::open(record.netns);
            if (ns.inode() == record.inode) node::remove(ns, record.ifname, alias(record.request.key));
        } catch (const node::Error& error) {
            spdlog::debug("attachment {}: {}", attachment::to_string(record.request.key), error.what());
        }
    }
    if (record.bound) node::release_path(mount_of(record));
    if (record.request.handed_over) node::release_path(sandbox_mount_of(record));
    remove_files(record);
}

/// A full disk keeps no pod from ending.
void Attachments::erase(const Record& record, bool withdrawn) {
    store::give_back(database_, [&] { erase_record(record, withdrawn); });
}

void Attachments::erase_record(const Record& record, bool withdrawn) {
    const auto& key = record.request.key;
    store::Transaction tx(database_);
    const std::scoped_lock lock(mutex_);
    pod::erase(tx, key);
    if (!record.request.ranges.empty()) ipam::Leases::release(tx, record.segment, record.attached.addresses);
    if (withdrawn) {
        store::withdraw(tx, record.generation);
    } else {
        store::record(tx, store::kAttachment, "delete", {history_of(record, false)});
    }
    tx.commit();
    records_.erase(key);
    if (!record.request.ranges.empty()) leases_.forget(record.segment, record.attached.addresses);
}

/// All that this record brought; with the last one of its network or bridge these go too.
model::Change Attachments::what_leaves(const Record& record) {
    const auto& request = record.request;
    model::Change change;
    change.delete_ports.insert(record.attached.port);
    if (request.gateway || request.masquerade || !request.port_mappings.empty()) {
        store::Transaction tx(database_);
        model::Config desired;
        Faults faults;
        configuration_.contribute(tx, desired, faults);
        contribute(tx, desired, faults);
        std::set<std::string> shared;
        add_gateway(record, desired, shared);  // it may not be among the others any more
        model::Config brought;
        add_translation(record, desired, brought);
        for (const auto& [name, masquerade] : brought.masquerades)
            change.delete_masquerades.insert(name);
        for (const auto& [name, forward] : brought.port_forwards)
            change.delete_port_forwards.insert(name);
    }
    const std::scoped_lock lock(mutex_);
    records_.at(request.key).in_dataplane = false;
    const auto others = [&](const auto& shares) {
        return std::any_of(records_.begin(), records_.end(), [&](const auto& other) {
            return other.second.in_dataplane && shares(other.second.request);
        });
    };
    if (!others([&](const Request& other) { return other.bridge == request.bridge; }))
        change.delete_bridges.insert(request.bridge);
    if (request.gateway && !others([&](const Request& other) {
            return other.gateway && other.key.network == request.key.network;
        })) {
        change.delete_interfaces.insert(gateway_name(request.key.network));
    }
    return change;
}

/// The port goes, and with the last one its bridge; the reconciler keeps a bridge that is configured or that
/// an ADD has just come to. One at a time: of several that leave at once, exactly the last must see that it
/// is.
void Attachments::leave_dataplane(const Record& record) {
    const std::scoped_lock turn(leaving_);
    auto change = what_leaves(record);
    try {
        reconciler_->apply(change);
    } catch (const std::exception& error) {
        spdlog::warn("attachment {}: the dataplane will be told later: {}",
                     attachment::to_string(record.request.key), error.what());
        reconciler_->wake();
    }
}

/// Out of the dataplane, the kernel and the file system; the record stays.
void Attachments::take_away(const Record& record) {
    mark(record.request.key, State::removing);
    leave_dataplane(record);
    remove_effects(record);
}

void Attachments::withdraw(const Record& record) {
    try {
        take_away(record);
        erase(record, true);
    } catch (const std::exception& error) {
        // The caller is told of the first failure; the record says "removing" and the next DEL, GC or start
        // goes on.
        spdlog::error("attachment {}: {}", attachment::to_string(record.request.key), error.what());
    }
}

bool Attachments::remove(const Key& key, const std::optional<node::Namespace>& ns) {
    const Turn turn(*this, key);
    const auto record = find(key);
    if (!record) {
        // Our state is gone, and the interface may not be.
        if (ns) node::remove(*ns, key.ifname, alias(key));
        return false;
    }
    remove(*record);
    return true;
}

/// In its turn.
void Attachments::remove(const Record& record) {
    take_away(record);
    try {
        erase(record, false);
    } catch (const store::Error& error) {
        throw Failure(attachment::kIo, error.what());
    }
    spdlog::info("attachment {} deleted", attachment::to_string(record.request.key));
}

std::string Attachments::begin(const Key& key, const attachment::Delegation& delegation,
                               http::Descriptor life) {
    if (delegations_.under_way(key)) {
        throw Failure(attachment::kTryAgain,
                      "another ADD of " + attachment::to_string(key) + " is still under way");
    }
    try {
        remove(key, std::nullopt);
        return delegations_.begin(key, delegation, std::move(life));
    } catch (const store::Error& error) {
        throw Failure(attachment::kIo, error.what());
    }
}

}  // namespace viaduct::pod
