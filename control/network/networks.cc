// A network is accepted in one transaction: looked for in all that is desired, written, and only then told to
// the dataplane; what that refuses is taken out of the store again.
#include "network/networks.h"

#include <algorithm>
#include <ctime>
#include <set>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

#include "node/destinations.h"
#include "store/config_history.h"

namespace viaduct::network {

namespace {

constexpr std::size_t kNamedMost = 5;

/// Where subnets are taken from when none is named: the README says so, too.
struct Pool {
    Prefix whole;
    std::uint8_t length;  ///< of each subnet
};
const Pool& pool_of(bool v4) {
    static const Pool four{*Prefix::parse("10.210.0.0/16"), 24};
    static const Pool six{*Prefix::parse("fd76:6961:6475::/48"), 64};
    return v4 ? four : six;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), kNamedMost); ++i)
        text += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > kNamedMost) text += " and " + std::to_string(names.size() - kNamedMost) + " more";
    return text;
}

std::vector<Network> load(store::Transaction& tx) {
    std::vector<Network> networks;
    auto rows = tx.prepare("SELECT name, definition FROM network");
    while (rows.step()) {
        Faults faults;
        Network network;
        try {
            network = network_from_json(parse_json(rows.text(1), "definition"), faults);
        } catch (const Refused& refused) {
            faults = refused.faults();
        }
        if (faults.empty() && network.name == rows.text(0)) {
            networks.push_back(std::move(network));
        } else {
            spdlog::error("network {} cannot be read from the store: {}", rows.text(0), to_string(faults));
        }
    }
    return networks;
}

void record(store::Transaction& tx, const Network& network, bool made, const std::string& comment) {
    store::ObjectChange change;
    change.object = "networks/" + network.name;
    (made ? change.after : change.before) = to_json_text(to_json(network));
    store::record(tx, "network", comment.empty() ? made ? "create" : "rm" : comment, {change});
}

}  // namespace

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"network", 1, R"(
        CREATE TABLE network (
            name TEXT PRIMARY KEY,
            definition TEXT NOT NULL
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

Networks::Networks(store::Database& database) : database_(database) {
    store::Transaction tx(database_);
    for (auto& network : load(tx)) {
        const auto name = network.name;
        networks_.emplace(name, std::move(network));
    }
}

void Networks::contribute(store::Transaction&, model::Config& desired, Faults& faults) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [name, network] : networks_) {
        if (!desired.bridges.emplace(name, bridge_of(network)).second)
            faults.push_back({"bridges/" + name, "is configured, and a network has the same name"});
        const auto interface = interface_of(network);
        if (interface && !desired.interfaces.emplace(name, *interface).second)
            faults.push_back({"interfaces/" + name, "is configured, and a network has the same name"});
    }
}

/// Calls visit(prefix, words) for each network that somebody else than network `own` has; words() names both.
/// Routes come by the million: no words are made that nobody reads.
template <typename Visit>
void Networks::for_each_taken(const std::string& own, const model::Config& desired,
                              const Visit& visit) const {
    for (const auto& other : list()) {
        for (const auto& subnet : other.subnets) {
            if (other.name == own) continue;
            visit(subnet.prefix, [&] { return subnet.prefix.to_string() + " of network " + other.name; });
        }
    }
    for (const auto& [name, interface] : desired.interfaces) {
        if (interface.vrf != model::kDefaultVrf) continue;
        for (const auto& address : interface.addresses) {
            const Prefix there{address.network(), address.length};
            visit(there, [&, &name = name, &interface = interface] {
                return there.to_string() + " of interface " + name + " on bridge " + interface.bridge;
            });
        }
    }
    for (const auto& [key, route] : desired.routes) {
        if (route.vrf != model::kDefaultVrf || route.prefix.length == 0) continue;
        visit(route.prefix, [&route = route] { return "route " + route.prefix.to_string(); });
    }
    for (const auto& record : attachments_->list()) {
        if (record.request.bridge == own) continue;
        for (const auto& set : record.request.ranges) {
            for (const auto& range : set) {
                visit(range.subnet, [&] {
                    return range.subnet.to_string() + " of network " + record.request.key.network +
                           " on bridge " + record.request.bridge;
                });
            }
        }
    }
}

/// The first subnet of the pool that nobody has.
Prefix Networks::free_subnet(const Network& network, bool v4, const model::Config& desired,
                             std::vector<Prefix> taken) const {
    const auto& pool = pool_of(v4);
    // What the node's kernel reaches by itself may be the network that the node is on.
    for (const auto& prefix : node::destinations(node::Namespace::own()))
        taken.push_back(prefix);
    for_each_taken(network.name, desired, [&](const Prefix& prefix, const auto&) {
        if (prefix.overlaps(pool.whole)) taken.push_back(prefix);
    });
    for (auto at = std::optional(pool.whole.network()); at && pool.whole.contains(*at);) {
        const Prefix subnet{*at, pool.length};
        const auto other = std::find_if(taken.begin(), taken.end(),
                                        [&](const Prefix& prefix) { return prefix.overlaps(subnet); });
        if (other == taken.end()) return subnet;
        // Behind whatever is there: it may be larger than a subnet.
        at = std::max(subnet.last(), other->last()).plus(1);
    }
    throw Refused(place_of(network), "finds no free subnet in " + pool.whole.to_string() +
                                         ", where they are taken from; name one");
}

Prefix Networks::free_subnet(bool v4, std::vector<Prefix> taken) const {
    store::Transaction tx(database_);
    Faults ignored;
    Network nameless;
    nameless.name = "of an engine";
    return free_subnet(nameless, v4, reconciler_->desired(tx, ignored), std::move(taken));
}

void Networks::choose_subnets(Wanted& wanted, const model::Config& desired) const {
    auto& network = wanted.network;
    const bool none = network.subnets.empty();
    const bool v6 = std::any_of(network.subnets.begin(), network.subnets.end(),
                                [](const Subnet& one) { return !one.prefix.address.is_v4(); });
    const auto choose = [&](bool v4) {
        network.subnets.push_back({free_subnet(network, v4, desired, {}), std::nullopt, std::nullopt});
    };
    if (none && network.driver != Driver::wire) choose(true);
    if (wanted.ipv6 && !v6) choose(false);
}

void Networks::refuse_overlaps(const Network& network, const model::Config& desired, Faults& faults) const {
    for (const auto& subnet : network.subnets) {
        bool told = false;
        for_each_taken(network.name, desired, [&](const Prefix& prefix, const auto& words) {
            if (told || !prefix.overlaps(subnet.prefix)) return;
            told = true;
            faults.push_back({place_of(network), "has subnet " + subnet.prefix.to_string() +
                                                     ", which overlaps " + words() +
                                                     "; take another subnet"});
        });
    }
}

/// Why `network` cannot be, given what else there is.
void Networks::check(Wanted& wanted, const model::Config& desired) const {
    auto& network = wanted.network;
    for (const auto& other : list()) {
        if (other.name == network.name)
            throw Refused(place_of(network),
                          "exists already; \"viaduct net inspect " + network.name + "\" shows it");
        if (!network.foreign_id.empty() && other.foreign_id == network.foreign_id)
            throw Refused(place_of(network), "is made already, as " + other.name);
    }
    const bool bridge = desired.bridges.contains(network.name);
    if (bridge || desired.interfaces.contains(network.name)) {
        throw Refused(place_of(network), "would have a bridge and an interface of its name, and " +
                                             std::string(bridge ? "bridge " : "interface ") + network.name +
                                             " is there already; take another name");
    }
    choose_subnets(wanted, desired);
    Faults faults;
    complete(network, faults);
    if (faults.empty()) refuse_overlaps(network, desired, faults);
    if (!faults.empty()) throw Refused(faults);
}

Networks::Outcome Networks::create(Wanted wanted, bool dry_run, const std::string& comment) {
    const std::unique_lock use(use_);
    auto& network = wanted.network;
    model::Change change;
    {
        store::Transaction tx(database_);
        Faults before;
        const auto desired = reconciler_->desired(tx, before);
        check(wanted, desired);
        network.created = std::time(nullptr);
        change = accept(tx, network, desired, before);
        if (dry_run) {
            erase(network.name);
        } else {
            write(tx, network, comment);
        }
    }
    Outcome outcome{network, {}};
    try {
        if (dry_run) {
            reconciler_->check(change);
            return outcome;
        }
        spdlog::info("network {} made: {}", network.name, to_json_text(to_json(network)));
        reconciler_->apply(change);
    } catch (const Refused&) {
        if (!dry_run) forget(network, "refused by the dataplane");
        throw;
    } catch (const http::Unreachable& error) {
        outcome.note = error.what();
        if (!dry_run) outcome.note += "; the network is kept and will be applied when it is back";
    }
    return outcome;
}

/// Takes the network into memory, and returns all that comes with it: ports that are published at every
/// address of the router's come to stand at its gateways, too. Throws Refused, with nothing taken, when that
/// cannot be.
model::Change Networks::accept(store::Transaction& tx, const Network& network, const model::Config& desired,
                               const Faults& before) {
    {
        const std::scoped_lock lock(mutex_);
        networks_.emplace(network.name, network);
    }
    Faults faults;
    const auto after = reconciler_->desired(tx, faults);
    std::erase_if(faults, [&](const Fault& fault) {
        return std::find(before.begin(), before.end(), fault) != before.end();
    });
    if (faults.empty()) return model::difference(desired, after);
    erase(network.name);
    throw Refused(faults);
}

void Networks::erase(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    networks_.erase(name);
}

/// Of a network that is in memory.
void Networks::write(store::Transaction& tx, const Network& network, const std::string& comment) {
    try {
        tx.run("INSERT INTO network (name, definition) VALUES (?, ?)", network.name,
               to_json_text(to_json(network)));
        record(tx, network, true, comment);
        tx.commit();
    } catch (...) {
        erase(network.name);
        throw;
    }
}

/// Returns what goes with it.
model::Change Networks::forget(const Network& network, const std::string& comment) {
    model::Change change;
    store::give_back(database_, [&] {
        store::Transaction tx(database_);
        Faults ignored;
        const auto before = reconciler_->desired(tx, ignored);
        tx.run("DELETE FROM network WHERE name = ?", network.name);
        record(tx, network, false, comment);
        erase(network.name);
        change = model::difference(before, reconciler_->desired(tx, ignored));
        try {
            tx.commit();
        } catch (...) {
            const std::scoped_lock lock(mutex_);
            networks_.emplace(network.name, network);
            throw;
        }
    });
    reconciler_->wake();
    return change;
}

/// Whoever is on the network's bridge or goes by its interface, by name.
std::vector<std::string> Networks::users_of(const Network& network) const {
    std::vector<std::string> users;
    for (const auto& record : endpoints(network))
        users.push_back(pod::words_for(record));
    std::set<std::string> pods;
    for (const auto& record : attachments_->list())
        pods.insert(record.attached.port);
    store::Transaction tx(database_);
    Faults ignored;
    const auto desired = reconciler_->desired(tx, ignored);
    for (const auto& [name, port] : desired.ports) {
        if (port.bridge == network.name && !pods.contains(name)) users.push_back("port " + name);
    }
    for (const auto& [name, interface] : desired.interfaces) {
        if (interface.bridge == network.name && name != network.name) users.push_back("interface " + name);
    }
    for (const auto& [key, route] : desired.routes) {
        if (std::any_of(route.next_hops.begin(), route.next_hops.end(),
                        [&](const auto& hop) { return hop.interface == network.name; }))
            users.push_back("route " + route.prefix.to_string());
    }
    return users;
}

void Networks::remove(const std::string& name, const std::string& comment) {
    const std::unique_lock use(use_);
    const auto network = get(name);
    if (const auto users = users_of(network); !users.empty()) {
        throw Refused(place_of(network), "is in use by " + joined(users) + "; detach or delete " +
                                             (users.size() == 1 ? "it" : "them") + " first");
    }
    const auto change = forget(network, comment);
    try {
        reconciler_->apply(change);
    } catch (const std::exception& error) {
        spdlog::warn("network {}: the dataplane will be told later: {}", name, error.what());
    }
    spdlog::info("network {} removed", name);
}

Network Networks::get(const std::string& name) const {
    const std::scoped_lock lock(mutex_);
    const auto found = networks_.find(name);
    if (found != networks_.end()) return found->second;
    throw Refused("network " + name.substr(0, 64), "does not exist; \"viaduct net ls\" lists those that do");
}

std::optional<Network> Networks::find_foreign(const std::string& id) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [name, network] : networks_) {
        if (network.foreign_id == id) return network;
    }
    return std::nullopt;
}

std::vector<Network> Networks::list() const {
    const std::scoped_lock lock(mutex_);
    std::vector<Network> list;
    for (const auto& [name, network] : networks_)
        list.push_back(network);
    return list;
}

std::vector<pod::Record> Networks::endpoints(const Network& network) const {
    auto all = attachments_->list();
    std::erase_if(all, [&](const pod::Record& record) { return record.request.bridge != network.name; });
    return all;
}

attachment::Attached Networks::attach(const std::string& name, attachment::Request request,
                                      const std::optional<node::Namespace>& ns) {
    const std::shared_lock use(use_);
    const auto network = get(name);
    auto whole = request_of(network);
    whole.key.container = std::move(request.key.container);
    whole.key.ifname = std::move(request.key.ifname);
    whole.netns = std::move(request.netns);
    whole.requested = std::move(request.requested);
    whole.mac = request.mac;
    whole.port_mappings = std::move(request.port_mappings);
    whole.labels = std::move(request.labels);
    whole.pod_labels = std::move(request.pod_labels);
    whole.goes_with_namespace = request.goes_with_namespace;
    if (!whole.port_mappings.empty() && !whole.gateway) {
        throw Refused(place_of(network), std::string(network.internal ? "is internal" : "has no router") +
                                             ": nothing leads into it, and no port can be published");
    }
    if (network.driver == Driver::wire) {
        std::vector<std::string> ends;
        for (const auto& record : endpoints(network)) {
            if (record.request.key != whole.key) ends.push_back(pod::words_for(record));
        }
        if (ends.size() >= 2)
            throw Refused(place_of(network), "is a wire and has both its ends: " + joined(ends));
    }
    try {
        return attachments_->add(std::move(whole), ns);
    } catch (const Refused& refused) {
        // CNI's word for it says nothing to who has none of its configuration.
        auto faults = refused.faults();
        for (auto& fault : faults) {
            if (fault.where == "portMappings") fault.where.clear();
        }
        throw Refused(faults);
    }
}

}  // namespace viaduct::network
