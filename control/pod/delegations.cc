#include "pod/delegations.h"

#include <poll.h>
#include <sys/random.h>

#include <array>
#include <stdexcept>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

namespace viaduct::pod {

using attachment::Key;
using attachment::Owed;

namespace {

std::string new_token() {
    std::array<unsigned char, 16> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        throw std::runtime_error("the kernel gives no random numbers");
    }
    std::string token;
    for (auto byte : bytes) {
        token += "0123456789abcdef"[byte >> 4U];
        token += "0123456789abcdef"[byte & 15U];
    }
    return token;
}

}  // namespace

bool Delegations::Begun::alive() const {
    if (!life.valid()) return false;
    pollfd one{life.get(), POLLIN, 0};
    return ::poll(&one, 1, 0) == 0;
}

Delegations::Delegations(store::Database& database) : database_(database) {
    store::Transaction tx(database);
    auto rows = tx.prepare("SELECT token, owed FROM delegation");
    while (rows.step()) {
        Faults faults;
        Begun begun;
        try {
            begun.owed = attachment::owed_from_json(parse_json(rows.text(1), "delegation"), "", faults);
        } catch (const Refused& refused) {
            faults = refused.faults();
        }
        if (!faults.empty()) {
            spdlog::error("delegation {} cannot be read from the store: {}", rows.text(0), to_string(faults));
            continue;
        }
        begun_.emplace(rows.text(0), std::move(begun));
    }
}

std::string Delegations::begin(const Key& key, const attachment::Delegation& delegation,
                               http::Descriptor life) {
    Begun begun;
    begun.owed = {key, new_token(), delegation};
    begun.life = std::move(life);
    auto token = begun.owed.token;
    store::Transaction tx(database_);
    tx.run("INSERT INTO delegation (token, owed) VALUES (?, ?)", token,
           to_json_text(attachment::to_json(begun.owed)));
    tx.commit();
    const std::scoped_lock lock(mutex_);
    begun_.emplace(token, std::move(begun));
    return token;
}

void Delegations::settle(const std::string& token) {
    const std::scoped_lock lock(mutex_);
    const auto found = begun_.find(token);
    if (found != begun_.end()) found->second.life = http::Descriptor();
}

void Delegations::finish(const std::string& token) {
    {
        const std::scoped_lock lock(mutex_);
        if (begun_.erase(token) == 0) return;
    }
    // Lost in a power cut, it is owed again, and a DEL more does no harm: the next ADD makes it before its
    // own.
    store::give_back(database_, [&] {
        store::Transaction tx(database_, store::Transaction::Survives::process);
        tx.run("DELETE FROM delegation WHERE token = ?", token);
        tx.commit();
    });
}

std::vector<Owed> Delegations::of_key(const Key& key, bool dead_only) const {
    const std::scoped_lock lock(mutex_);
    std::vector<Owed> owed;
    for (const auto& [token, begun] : begun_) {
        if (begun.owed.key == key && !(dead_only && begun.alive())) owed.push_back(begun.owed);
    }
    return owed;
}

std::vector<Owed> Delegations::of_network(const std::string& network,
                                          const std::function<bool(const Key&)>& is_held) const {
    const std::scoped_lock lock(mutex_);
    std::vector<Owed> owed;
    for (const auto& [token, begun] : begun_) {
        const auto& key = begun.owed.key;
        if (key.network == network && !begun.alive() && !is_held(key)) owed.push_back(begun.owed);
    }
    return owed;
}

bool Delegations::under_way(const Key& key) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [token, begun] : begun_) {
        if (begun.owed.key == key && begun.alive()) return true;
    }
    return false;
}

}  // namespace viaduct::pod
