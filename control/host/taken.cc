#include "host/taken.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <exception>

#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/model_kinds.h"

#include "host/taken_objects.h"
#include "host/taken_record.h"
#include "node/boot.h"
#include "node/interface.h"
#include "node/netns.h"
#include "store/config_history.h"

namespace viaduct::host {

namespace {

using State = TakenInterface::State;

/// How long a TAP may take to disappear after its port has.
constexpr auto kTapLeaves = std::chrono::seconds(10);
constexpr auto kTryAgain = std::chrono::seconds(5);

std::string place_of(const std::string& interface) {
    return "uplinks/" + interface;
}

bool has(const std::vector<Prefix>& list, const Prefix& prefix) {
    return std::ranges::find(list, prefix) != list.end();
}

/// What the host has lost since `before` goes, what it has got comes; all else is somebody's configuration.
void follow_addresses(std::vector<Prefix>& addresses, const std::vector<Prefix>& before,
                      const std::vector<Prefix>& now) {
    std::erase_if(addresses, [&](const Prefix& own) { return has(before, own) && !has(now, own); });
    for (const auto& own : now) {
        if (!has(before, own) && !has(addresses, own)) addresses.push_back(own);
    }
    std::sort(addresses.begin(), addresses.end());
}

MacAddress mac_of_tap(const model::Config& config, const std::string& name) {
    const auto port = config.ports.find(host_port_name(name));
    return port == config.ports.end() ? MacAddress{}
                                      : model::mac_of(config, port->second).value_or(MacAddress{});
}

/// What `now` lacks of `kept` the host has taken away then, and not the kernel with the interface.
bool is_same_tap(const node::InterfaceState& now, const node::InterfaceState& kept) {
    return now.index == kept.index && now.mac == kept.mac;
}

}  // namespace

std::string_view to_string(State state) {
    switch (state) {
        case State::taking:
            return "taking";
        case State::unconfirmed:
            return "unconfirmed";
        case State::taken:
            return "taken";
        case State::leaving:
            break;
    }
    return "leaving";
}

Taken::Taken(std::string run_dir, store::Database& database, reconcile::Reconciler& reconciler,
             reconcile::ConfigChanges& changes, Shares& shares, Absent& absent)
    : run_dir_(std::move(run_dir)),
      database_(database),
      reconciler_(reconciler),
      changes_(changes),
      shares_(shares),
      absent_(absent),
      boot_(node::boot_id()) {
    store::Transaction tx(database_);
    rows_ = load(tx);
}

void Taken::save(const TakenInterface& row) {
    store::Transaction tx(database_);
    host::save(tx, row);
    tx.commit();
    const std::scoped_lock lock(mutex_);
    rows_[row.name] = row;
    bell_.notify_all();
}

void Taken::erase(const std::string& name) {
    store::Transaction tx(database_);
    host::erase(tx, name);
    tx.commit();
    const std::scoped_lock lock(mutex_);
    rows_.erase(name);
}

std::optional<TakenInterface> Taken::find(const std::string& name) const {
    const std::scoped_lock lock(mutex_);
    const auto found = rows_.find(name);
    return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<TakenInterface> Taken::list() const {
    const std::scoped_lock lock(mutex_);
    std::vector<TakenInterface> all;
    for (const auto& [name, row] : rows_)
        all.push_back(row);
    return all;
}

model::Config Taken::configured() {
    store::Transaction tx(database_);
    return *store::present_config(tx);
}

/// The one that this run of the kernel has, or a new one.
node::Namespace Taken::uplink_namespace() const {
    const auto path = namespace_path();
    if (::access(path.c_str(), F_OK) == 0) {
        try {
            return node::Namespace::open(path);
        } catch (const node::Error&) {
            // An empty file, which a mount was to be made on.
        }
    }
    std::exception_ptr failure;
    std::thread([&] {
        try {
            if (::unshare(CLONE_NEWNET) != 0) throw node::Error("the kernel gives no network namespace");
            node::bind_path(node::Namespace::own(), path);
        } catch (...) {
            failure = std::current_exception();
        }
    }).join();
    if (failure) std::rethrow_exception(failure);
    return node::Namespace::open(path);
}

void Taken::check_way_out(const TakeRequest& request, const node::InterfaceState& state) const {
    if (request.force || request.confirm_within.count() != 0) return;
    const auto others = node::other_default_routes(node::Namespace::own(), request.interface);
    for (const auto& gateway : state.gateways) {
        const bool v4 = gateway.destination.address.is_v4();
        if (gateway.destination.length != 0 || (v4 ? others.v4 : others.v6)) continue;
        throw Refused(place_of(request.interface),
                      "carries the node's only default route; say --confirm-within 60s, so that it comes "
                      "back by itself when the node cannot be reached, or --force");
    }
}

void Taken::take(const TakeRequest& request) {
    const std::scoped_lock working(working_);
    const auto& name = request.interface;
    if (const auto row = find(name))
        throw Refused(place_of(name), "is taken already (" + std::string(to_string(row->state)) + ")");
    if (!reconciler_.status().connected)
        throw Refused(place_of(name),
                      "cannot be taken while the dataplane is away: " + reconciler_.status().reason);
    const auto own = node::Namespace::own();
    const auto state = node::read_interface(own, name, node::Purpose::take);
    if (!state)
        throw Refused(place_of(name), "does not exist in this namespace; \"ip link\" lists what does");
    check_way_out(request, *state);
    check_free(configured(), name);
    const auto there = uplink_namespace();
    const auto change = objects_of(request, *state, configured(), namespace_path());
    TakenInterface row{name, State::taking, 0, boot_, *state};
    save(row);
    try {
        node::move_interface(own, name, there, true);
        const auto outcome = changes_.change(change, false, "uplink add " + name + " --take");
        if (!outcome.applied) throw node::Error("the dataplane is away: " + outcome.note);
        const auto refused = node::write_interface(own, name, *state);
        if (!refused.empty()) throw node::Error(refused.front());
        shares_.sync();
        if (const auto now = node::read_interface(own, name, node::Purpose::look)) row.kernel = *now;
        row.state = request.confirm_within.count() == 0 ? State::taken : State::unconfirmed;
        row.deadline = std::time(nullptr) + request.confirm_within.count();
        save(row);
    } catch (...) {
        spdlog::warn("interface {} is given back: it could not be taken", name);
        try {
            put_back(row, Dependents::remove);
        } catch (const std::exception& error) {
            spdlog::error("interface {} cannot be given back, and is tried again: {}", name, error.what());
        }
        throw;
    }
    spdlog::info("interface {} is taken{}", name,
                 row.state == State::unconfirmed ? ", and comes back unless that is confirmed" : "");
}

void Taken::confirm(const std::string& interface) {
    const std::scoped_lock working(working_);
    auto row = find(interface);
    if (!row) throw Refused(place_of(interface), "is not taken, or has been given back already");
    if (row->state == State::taken) return;
    if (row->state != State::unconfirmed)
        throw Refused(place_of(interface), "is " + std::string(to_string(row->state)) + " just now");
    row->state = State::taken;
    row->deadline = 0;
    save(*row);
}

void Taken::give_back(const std::string& interface) {
    const std::scoped_lock working(working_);
    const auto row = find(interface);
    if (!row) throw Refused(place_of(interface), "is not taken; \"viaduct uplink\" lists those that are");
    put_back(*row, Dependents::refuse);
}

/// What was made with the taking goes, with `remove` whatever else needs it, too.
void Taken::withdraw_objects(const std::string& name, Dependents dependents) {
    const auto change = dependents == Dependents::remove ? removal_with_dependents(configured(), name)
                                                         : removal_of(configured(), name);
    if (!change.empty()) changes_.change(change, false, "uplink del " + name);
}

/// The same when the interface is the kernel's already: as much of it as can be.
void Taken::withdraw_what_is_left(const std::string& name) {
    try {
        return withdraw_objects(name, Dependents::remove);
    } catch (const std::exception& error) {
        spdlog::warn("bridge {} stays: {}", name, error.what());
    }
    try {
        const auto change = removal_of_ports(configured(), name);
        if (!change.empty()) changes_.change(change, false, "uplink del " + name);
    } catch (const std::exception& error) {
        spdlog::error("uplink {} stays in the configuration, without its interface: {}", name, error.what());
    }
}

/// From the dataplane's namespace to the host's own, in the place of the TAP, with all that is kept of it.
/// May have been begun before.
void Taken::return_interface(const TakenInterface& row) {
    const auto own = node::Namespace::own();
    const auto there = uplink_namespace();
    const bool moves = node::has_interface(there, row.name);
    if (!moves && (!node::has_interface(own, row.name) || node::is_tap(own, row.name))) {
        throw node::Error("interface " + row.name + " is in neither the host's namespace nor " +
                          namespace_path() + "; move it back by hand (ip link set " + row.name + " netns 1)");
    }
    const auto until = std::chrono::steady_clock::now() + kTapLeaves;
    while (moves && node::has_interface(own, row.name)) {
        node::remove(own, row.name, row.kernel.mac);
        if (std::chrono::steady_clock::now() > until)
            throw node::Error("another interface has the name " + row.name + "; remove or rename it");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    if (moves) node::move_interface(there, row.name, own, false);
    for (const auto& refused : node::write_interface(own, row.name, row.kernel))
        spdlog::error("interface {} is not all that it was: {}", row.name, refused);
}

void Taken::put_back(TakenInterface row, Dependents dependents) {
    const auto own = node::Namespace::own();
    const bool settled = row.state == State::taken || row.state == State::unconfirmed;
    if (settled && node::is_tap(own, row.name)) {
        // What the host has of it now, after a lease was renewed, say.
        const auto now = node::read_interface(own, row.name, node::Purpose::look);
        if (now && now->up && is_same_tap(*now, row.kernel) && !now->addresses.empty()) row.kernel = *now;
    }
    if (dependents == Dependents::refuse) withdraw_objects(row.name, dependents);
    row.state = State::leaving;
    save(row);
    // The node's way first: the configuration, and a dataplane that may not answer, can wait.
    if (!absent_.set(row.name, false)) return_interface(row);
    if (dependents == Dependents::remove) withdraw_what_is_left(row.name);
    erase(row.name);
    spdlog::info("interface {} is the kernel's again", row.name);
}

/// Whatever was taken has come back: the kernel that it was taken from is no more. Whether that is so the
/// interface's place says, as long as it is known; it may also come late.
void Taken::take_again(TakenInterface row) {
    const auto own = node::Namespace::own();
    const auto there = uplink_namespace();
    if (!node::has_interface(there, row.name)) {
        const auto now = node::read_interface(own, row.name, node::Purpose::look);
        if (!now || node::is_tap(own, row.name)) {
            return note_absent(row.name, true);
        }
        // Addresses and routes that the system gave it at its start are newer than what was kept.
        if (now->up && !now->addresses.empty()) row.kernel = *now;
        node::move_interface(own, row.name, there, true);
    }
    row.boot = boot_;
    row.kernel.index = 0;
    save(row);
    note_absent(row.name, false);
    spdlog::info("interface {} is taken again", row.name);
}

void Taken::note_absent(const std::string& name, bool absent) {
    if (!absent_.set(name, absent)) return;
    if (absent) {
        spdlog::error(
            "interface {}, which is taken as an uplink, is not there; it is taken when it comes, and "
            "\"viaduct uplink del {}\" forgets it",
            name, name);
    }
    reconciler_.wake();
}

/// The interface itself, and not the TAP, is where the host is.
bool Taken::is_at_home(const std::string& name) const {
    const auto own = node::Namespace::own();
    return node::has_interface(own, name) && !node::is_tap(own, name) &&
           !node::has_interface(uplink_namespace(), name);
}

void Taken::recover() {
    for (const auto& row : list()) {
        try {
            if (row.boot != boot_ && row.state != State::taken) {
                spdlog::warn(
                    "interface {} was not confirmed before the machine started anew: it stays the "
                    "kernel's",
                    row.name);
                withdraw_what_is_left(row.name);
                erase(row.name);
            } else if (row.state == State::taken && (row.boot != boot_ || is_at_home(row.name))) {
                take_again(row);
            } else if (row.state == State::taking || row.state == State::leaving) {
                spdlog::warn("interface {} was left half way by a crash: it is given back", row.name);
                put_back(row, Dependents::remove);
            }
        } catch (const std::exception& error) {
            spdlog::error("interface {}: {}", row.name, error.what());
        }
    }
}

/// What the kernel had when it was last looked at is in the store: so what a person changes in the
/// configuration is told from what the host has changed.
void Taken::follow(TakenInterface row) {
    if (!is_whole(configured(), row.name)) {
        // Deleted one by one, or by a roll-back of the configuration: the node shall not lose its way by
        // that.
        spdlog::warn("interface {} is given back: its uplink or the host's port was deleted", row.name);
        return put_back(row, Dependents::remove);
    }
    const auto own_namespace = node::Namespace::own();
    if (row.boot != boot_ || is_at_home(row.name)) return take_again(row);
    auto now = node::read_interface(own_namespace, row.name, node::Purpose::look);
    if (!now || !node::is_tap(own_namespace, row.name)) return;
    const auto config = configured();
    if (now->mac != mac_of_tap(config, row.name)) {
        // It is being made, or somebody has changed its address: the dataplane and Shares set that right. As
        // the kernel forgets an interface's neighbours with its address, all is written then, and not before.
        if (row.kernel.index != now->index) return;
        row.kernel.index = 0;
        return save(row);
    }
    if (!is_same_tap(*now, row.kernel) || !now->up) {
        // Another TAP of that name: made anew after a reboot, or after somebody has deleted it. Or one that
        // is down and has lost routes and addresses by that alone; the dataplane keeps it up.
        for (const auto& refused : node::write_interface(own_namespace, row.name, row.kernel))
            spdlog::error("interface {} did not get all that it had: {}", row.name, refused);
        row.kernel.index = now->index;
        row.kernel.mac = now->mac;
        return save(row);
    }
    auto interface = config.interfaces.at(row.name);
    follow_addresses(interface.addresses, row.kernel.prefixes, now->prefixes);
    if (!(interface == config.interfaces.at(row.name))) {
        model::Change change;
        change.put.interfaces.emplace(row.name, interface);
        changes_.change(change, false, "the host's addresses on " + row.name + " have changed");
    }
    const auto& kept = row.kernel;
    const bool same = now->prefixes == kept.prefixes && now->gateways == kept.gateways &&
                      now->routes.size() == kept.routes.size() &&
                      now->neighbours.size() == kept.neighbours.size();
    if (same) return;
    row.kernel = std::move(*now);
    save(row);
}

HostsOwn Taken::follow_kernel() {
    const std::scoped_lock working(working_);
    for (const auto& row : list()) {
        if (row.state != State::taken && row.state != State::unconfirmed) continue;
        try {
            follow(row);
        } catch (const std::exception& error) {
            spdlog::error("interface {}: what the host has of it cannot be followed: {}", row.name,
                          error.what());
        }
    }
    HostsOwn own;
    for (const auto& row : list())
        own[row.name] = row.kernel.prefixes;
    return own;
}

void Taken::start() {
    thread_ = std::jthread([this](const std::stop_token& stopping) { run(stopping); });
}

void Taken::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

void Taken::run(const std::stop_token& stopping) {
    while (!stopping.stop_requested()) {
        {
            std::unique_lock lock(mutex_);
            const auto is_unsettled = [](const auto& entry) { return entry.second.state != State::taken; };
            bell_.wait(lock, stopping, [&] { return std::ranges::any_of(rows_, is_unsettled); });
            bell_.wait_for(lock, stopping, std::chrono::milliseconds(200), [] { return false; });
        }
        if (!stopping.stop_requested()) expire();
    }
}

/// Unconfirmed ones whose time is over, and those whose way back was barred.
void Taken::expire() {
    const std::scoped_lock working(working_);
    for (const auto& row : list()) {
        const bool late = row.state == State::unconfirmed && std::time(nullptr) > row.deadline;
        // With the lock held nobody is taking or giving back: what is under way was left so.
        if (row.state == State::taken || (row.state == State::unconfirmed && !late)) continue;
        const auto now = std::chrono::steady_clock::now();
        auto& again = again_[row.name];
        if (now < again) continue;
        if (late) spdlog::warn("interface {} is given back: nobody confirmed within its time", row.name);
        try {
            put_back(row, Dependents::remove);
            again_.erase(row.name);
        } catch (const std::exception& error) {
            spdlog::error("interface {} cannot be given back, and is tried again: {}", row.name,
                          error.what());
            again = now + kTryAgain;
        }
    }
}

}  // namespace viaduct::host
