// Pools are rows with a count; their addresses are leases of a segment that no bridge can have.
#include "docker/pools.h"

#include "viaduct/fault.h"

namespace viaduct::docker {

namespace {

Prefix parse_prefix(const std::string& text, const char* what) {
    const auto prefix = Prefix::parse(text);
    if (!prefix || prefix->network() != prefix->address)
        throw Refused(what, "is \"" + text.substr(0, 64) + "\", and must be a network such as 10.1.0.0/24");
    return *prefix;
}

std::string segment_of(const std::string& pool) {
    return "docker:" + pool;
}

/// Without the network's and the broadcast address, which no container can have.
attachment::Range range_of(const Prefix& part, const Prefix& whole) {
    attachment::Range range{whole, part.network(), part.last(), std::nullopt};
    if (whole.length + 1U >= whole.address.bits()) return range;
    if (range.first == whole.network()) range.first = *range.first.plus(1);
    if (whole.address.is_v4() && range.last == whole.last())
        range.last = *whole.network().plus(*whole.last().minus(whole.network()) - 1);
    return range;
}

}  // namespace

const std::vector<store::Migration>& migrations() {
    static const std::vector<store::Migration> steps{{"docker", 1, R"(
        CREATE TABLE docker_pool (
            id TEXT PRIMARY KEY,
            prefix TEXT NOT NULL,
            range TEXT,
            users INTEGER NOT NULL
        ) WITHOUT ROWID;
    )"}};
    return steps;
}

Pools::Pools(store::Database& database, Choose free_subnet)
    : database_(database), free_subnet_(std::move(free_subnet)), leases_(database) {}

Pool Pools::find(store::Transaction& tx, const std::string& id) {
    auto row = tx.prepare("SELECT prefix, range FROM docker_pool WHERE id = ?", id);
    if (!row.step())
        throw Refused("PoolID", "\"" + id.substr(0, 128) + "\" is not a pool that was requested here");
    Pool pool{id, *Prefix::parse(row.text(0)), std::nullopt};
    if (const auto range = row.optional_text(1)) pool.range = Prefix::parse(*range);
    return pool;
}

Pool Pools::request(const std::string& space, const std::string& prefix, const std::string& range, bool v6) {
    const std::scoped_lock lock(mutex_);
    if (prefix.empty() && !range.empty()) throw Refused("SubPool", "needs the Pool that it is a part of");
    Pool pool;
    std::vector<Prefix> taken;
    if (prefix.empty()) {
        store::Transaction tx(database_);
        auto rows = tx.prepare("SELECT prefix FROM docker_pool");
        while (rows.step())
            taken.push_back(*Prefix::parse(rows.text(0)));
    }
    pool.prefix = prefix.empty() ? free_subnet_(!v6, taken) : parse_prefix(prefix, "Pool");
    if (!range.empty()) {
        pool.range = parse_prefix(range, "SubPool");
        if (!pool.prefix.contains(pool.range->address) || pool.range->length < pool.prefix.length)
            throw Refused("SubPool", range + " is no part of the pool " + pool.prefix.to_string());
    }
    pool.id = space + "/" + pool.prefix.to_string() + (range.empty() ? "" : "/" + pool.range->to_string());
    store::Transaction tx(database_);
    const auto text = pool.range ? std::optional(pool.range->to_string()) : std::nullopt;
    tx.run(
        "INSERT INTO docker_pool (id, prefix, range, users) VALUES (?, ?, ?, 1) "
        "ON CONFLICT (id) DO UPDATE SET users = users + 1",
        pool.id, pool.prefix.to_string(), text);
    tx.commit();
    return pool;
}

void Pools::release(const std::string& id) {
    const std::scoped_lock lock(mutex_);
    store::give_back(database_, [&] {
        store::Transaction tx(database_);
        tx.run("UPDATE docker_pool SET users = users - 1 WHERE id = ?", id);
        const bool last = tx.run("DELETE FROM docker_pool WHERE id = ? AND users <= 0", id) != 0;
        if (last) ipam::Leases::release_all(tx, segment_of(id));
        tx.commit();
        if (last) leases_.forget_all(segment_of(id));
    });
}

Prefix Pools::request_address(const std::string& id, const std::string& address, const std::string& holder) {
    const std::scoped_lock lock(mutex_);
    store::Transaction tx(database_);
    const auto pool = find(tx, id);
    ipam::Wish wish{segment_of(pool.id), pool.prefix.to_string(), holder, {}, {}, {}};
    if (address.empty()) {
        wish.sets = {{range_of(pool.range.value_or(pool.prefix), pool.prefix)}};
    } else {
        const auto wanted = IpAddress::parse(address);
        if (!wanted)
            throw Refused("Address", "is \"" + address.substr(0, 64) + "\", which is not an IP address");
        wish.requested = {*wanted};
        wish.sets = {{range_of(pool.prefix, pool.prefix)}};
    }
    ipam::Reservation reservation(leases_, wish.segment);
    leases_.take(tx, wish, reservation);
    tx.commit();
    reservation.keep();
    return reservation.addresses().front().address;
}

void Pools::release_address(const std::string& id, const std::string& address) {
    const std::scoped_lock lock(mutex_);
    const auto given = IpAddress::parse(address);
    if (!given) throw Refused("Address", "is \"" + address.substr(0, 64) + "\", which is not an IP address");
    store::give_back(database_, [&] {
        store::Transaction tx(database_);
        const auto pool = find(tx, id);
        const std::vector<attachment::Address> addresses{{Prefix{*given, pool.prefix.length}, std::nullopt}};
        ipam::Leases::release(tx, segment_of(pool.id), addresses);
        tx.commit();
        leases_.forget(segment_of(pool.id), addresses);
    });
}

}  // namespace viaduct::docker
