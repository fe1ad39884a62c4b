#include "ipam/leases.h"

#include <algorithm>

namespace viaduct::ipam {

using attachment::Address;
using attachment::Range;
using attachment::RangeSet;

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"ipam", 1, R"(
        CREATE TABLE lease (
            segment TEXT NOT NULL,
            address TEXT NOT NULL,
            holder TEXT NOT NULL,
            PRIMARY KEY (segment, address)
        ) WITHOUT ROWID;
        CREATE TABLE lease_turn (
            segment TEXT NOT NULL,
            network TEXT NOT NULL,
            range_set INTEGER NOT NULL,
            address TEXT NOT NULL,
            PRIMARY KEY (segment, network, range_set)
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

namespace {

Address address_in(const Range& range, const IpAddress& address) {
    return {Prefix{address, range.subnet.length}, range.gateway};
}

bool is_gateway(const RangeSet& set, const IpAddress& address) {
    return std::any_of(set.begin(), set.end(), [&](const Range& range) { return range.gateway == address; });
}

std::string all_ranges(const RangeSet& set) {
    std::string text;
    for (const auto& range : set)
        text += (text.empty() ? "" : ", ") + attachment::to_string(range);
    return text;
}

std::string all_sets(const std::vector<RangeSet>& sets) {
    std::string text;
    for (const auto& set : sets)
        text += (text.empty() ? "" : ", ") + all_ranges(set);
    return text;
}

std::string no_address_left(const Wish& wish, const RangeSet& set) {
    return "network " + wish.network + " has no address left in " + all_ranges(set);
}

}  // namespace

Reservation::~Reservation() {
    if (!kept_) leases_.forget(segment_, addresses_);
}

Leases::Leases(store::Database& database) {
    store::Transaction tx(database);
    auto held = tx.prepare("SELECT segment, address FROM lease");
    while (held.step()) {
        if (const auto address = IpAddress::parse(held.text(1))) used_[held.text(0)].insert(*address);
    }
    auto turns = tx.prepare("SELECT segment, network, range_set, address FROM lease_turn");
    while (turns.step()) {
        const auto address = IpAddress::parse(turns.text(3));
        if (address)
            last_[{turns.text(0), turns.text(1), static_cast<std::size_t>(turns.integer(2))}] = *address;
    }
}

/// The first free address from `from` to `to`, both included, of one range of `set`.
std::optional<IpAddress> Leases::free_between(const Wish& wish, const RangeSet& set, const IpAddress& from,
                                              const IpAddress& to) const {
    const auto used = used_.find(wish.segment);
    std::optional<IpAddress> at = from;
    while (at && *at <= to) {
        if (used != used_.end()) {
            const auto free = used->second.next_free(*at);
            if (free != at) {
                at = free;
                continue;
            }
        }
        const auto excluded = std::find_if(wish.exclude.begin(), wish.exclude.end(),
                                           [&](const Prefix& prefix) { return prefix.contains(*at); });
        if (excluded != wish.exclude.end()) {
            at = excluded->last().plus(1);
        } else if (is_gateway(set, *at)) {
            at = at->plus(1);
        } else {
            return at;
        }
    }
    return std::nullopt;
}

std::optional<Address> Leases::next_from(const Wish& wish, std::size_t number) const {
    const auto& set = wish.sets[number];
    const auto last = last_.find({wish.segment, wish.network, number});
    auto start = set.end();
    if (last != last_.end()) {
        start = std::find_if(set.begin(), set.end(), [&](const Range& range) {
            return range.first.is_v4() == last->second.is_v4() && range.first <= last->second &&
                   last->second <= range.last;
        });
    }
    const auto take = [&](const Range& range, const IpAddress& from,
                          const IpAddress& to) -> std::optional<Address> {
        const auto free = free_between(wish, set, from, to);
        return free ? std::optional(address_in(range, *free)) : std::nullopt;
    };
    const bool begun = start != set.end();
    if (begun) {
        // After the one given last, then the other ranges in turn, then what lies before it.
        if (const auto from = last->second.plus(1)) {
            if (auto found = take(*start, *from, start->last)) return found;
        }
        for (auto range = start + 1; range != set.end(); ++range) {
            if (auto found = take(*range, range->first, range->last)) return found;
        }
    }
    for (auto range = set.begin(); range != (begun ? start : set.end()); ++range) {
        if (auto found = take(*range, range->first, range->last)) return found;
    }
    return begun ? take(*start, start->first, last->second) : std::nullopt;
}

std::optional<Address> Leases::requested_from(store::Transaction& tx, const Wish& wish, std::size_t number,
                                              std::vector<bool>& taken) const {
    const auto& set = wish.sets[number];
    for (std::size_t i = 0; i < wish.requested.size(); ++i) {
        const auto& address = wish.requested[i];
        const auto range = std::find_if(set.begin(), set.end(), [&](const Range& r) {
            return r.subnet.contains(address) && r.first <= address && address <= r.last;
        });
        if (taken[i] || range == set.end()) continue;
        const auto asked = "address " + address.to_string() + " was requested, and ";
        if (is_gateway(set, address)) {
            throw Error(attachment::kAddressRefused, asked + "is the gateway of network " + wish.network);
        }
        if (std::any_of(wish.exclude.begin(), wish.exclude.end(),
                        [&](const Prefix& p) { return p.contains(address); })) {
            throw Error(attachment::kAddressRefused, asked + "network " + wish.network + " excludes it");
        }
        auto holder = tx.prepare("SELECT holder FROM lease WHERE segment = ? AND address = ?", wish.segment,
                                 address.to_string());
        if (holder.step()) {
            throw Error(attachment::kAddressRefused, asked + holder.text(0) + " holds it");
        }
        taken[i] = true;
        return address_in(*range, address);
    }
    return std::nullopt;
}

void Leases::take(store::Transaction& tx, const Wish& wish, Reservation& reservation) {
    const std::scoped_lock lock(mutex_);
    std::vector<bool> taken(wish.requested.size(), false);
    std::vector<Address> got;
    // A set may lie over another: what was found is held at once, and given back if a later set has none.
    const auto undo = [&] {
        for (const auto& address : got)
            used_[wish.segment].erase(address.address.address);
    };
    try {
        for (std::size_t set = 0; set < wish.sets.size(); ++set) {
            auto address = requested_from(tx, wish, set, taken);
            const bool by_turn = !address;
            if (by_turn) address = next_from(wish, set);
            if (!address) throw Error(attachment::kNoAddressLeft, no_address_left(wish, wish.sets[set]));
            const auto& ip = address->address.address;
            used_[wish.segment].insert(ip);
            got.push_back(*address);
            tx.run("INSERT INTO lease (segment, address, holder) VALUES (?, ?, ?)", wish.segment,
                   ip.to_string(), wish.holder);
            if (!by_turn) continue;
            last_[{wish.segment, wish.network, set}] = ip;
            tx.run(
                "INSERT OR REPLACE INTO lease_turn (segment, network, range_set, address) VALUES (?, ?, ?, "
                "?)",
                wish.segment, wish.network, set, ip.to_string());
        }
        const auto left = std::find(taken.begin(), taken.end(), false);
        if (left != taken.end()) {
            const auto& address = wish.requested[static_cast<std::size_t>(left - taken.begin())];
            throw Error(attachment::kAddressRefused, "address " + address.to_string() +
                                                         " was requested, and is in no "
                                                         "range of network " +
                                                         wish.network +
                                                         " that is still to be taken from; it has " +
                                                         (wish.sets.empty() ? "none" : all_sets(wish.sets)));
        }
    } catch (...) {
        undo();
        throw;
    }
    reservation.addresses_ = std::move(got);
}

void Leases::release(store::Transaction& tx, const std::string& segment,
                     const std::vector<Address>& addresses) {
    for (const auto& address : addresses) {
        tx.run("DELETE FROM lease WHERE segment = ? AND address = ?", segment,
               address.address.address.to_string());
    }
}

void Leases::forget(const std::string& segment, const std::vector<Address>& addresses) {
    const std::scoped_lock lock(mutex_);
    const auto used = used_.find(segment);
    if (used == used_.end()) return;
    for (const auto& address : addresses)
        used->second.erase(address.address.address);
}

void Leases::release_all(store::Transaction& tx, const std::string& segment) {
    tx.run("DELETE FROM lease WHERE segment = ?", segment);
    tx.run("DELETE FROM lease_turn WHERE segment = ?", segment);
}

void Leases::forget_all(const std::string& segment) {
    const std::scoped_lock lock(mutex_);
    used_.erase(segment);
    std::erase_if(last_, [&](const auto& entry) { return std::get<0>(entry.first) == segment; });
}

std::optional<std::string> Leases::exhausted(const Wish& wish) const {
    const std::scoped_lock lock(mutex_);
    for (std::size_t set = 0; set < wish.sets.size(); ++set) {
        if (!next_from(wish, set)) return no_address_left(wish, wish.sets[set]);
    }
    return std::nullopt;
}

}  // namespace viaduct::ipam
