// Delegated IPAM plugins' unfinished business. The plugin runs them, and it may be killed while it does; what
// it is about to run is recorded here first, so that the DEL that is then owed is made by whoever comes next.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/attachment.h"
#include "viaduct/http.h"

#include "store/database.h"

namespace viaduct::pod {

/// Any thread.
class Delegations {
public:
    explicit Delegations(store::Database& database);

    /// Records a delegation and returns its token, which is on disk then. `life` is the reading end of a pipe
    /// whose other end the plugin and its delegate hold: it tells when both are gone. May be invalid.
    std::string begin(const attachment::Key& key, const attachment::Delegation& delegation,
                      http::Descriptor life);
    /// Its attachment was made: the plugin's life matters no more.
    void settle(const std::string& token);
    /// Its DEL was made. An unknown token is fine.
    void finish(const std::string& token);

    /// Of this attachment, whose DEL is owed. `dead_only`: without those whose plugin still lives.
    [[nodiscard]] std::vector<attachment::Owed> of_key(const attachment::Key& key, bool dead_only) const;
    /// Of this network and of no attachment that `is_held` tells, with their plugins gone.
    [[nodiscard]] std::vector<attachment::Owed> of_network(
        const std::string& network, const std::function<bool(const attachment::Key&)>& is_held) const;
    /// Whether a plugin that began this attachment still lives.
    [[nodiscard]] bool under_way(const attachment::Key& key) const;

private:
    struct Begun {
        attachment::Owed owed;
        http::Descriptor life;
        [[nodiscard]] bool alive() const;
    };

    store::Database& database_;
    mutable std::mutex mutex_;
    std::map<std::string, Begun> begun_;  ///< by token
};

}  // namespace viaduct::pod
