// A dataplane's API without a dataplane: keeps what it is told, refuses what a test says.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

#include "temporary_directory.h"

namespace viaduct::test {

class FakeDataplane {
public:
    /// The faults with which a change is refused; none: accepted, if the model allows it.
    using Judge = std::function<Faults(const model::Change&)>;

    explicit FakeDataplane(std::string socket) : socket_(std::move(socket)) { start(); }

    void start() {
        instance_ = "start-" + std::to_string(++starts_);
        server_ = std::make_unique<http::Server>(http::ServerOptions{.path = socket_, .threads = 4},
                                                 [this](http::Request& request) { return answer(request); });
    }
    /// As kill -9 and a new start would have it: everything is forgotten.
    void stop() {
        server_.reset();
        const std::scoped_lock lock(mutex_);
        config_ = {};
        revision_ = 0;
    }
    void restart() {
        stop();
        start();
    }
    void judge(Judge judge) {
        const std::scoped_lock lock(mutex_);
        judge_ = std::move(judge);
    }
    /// Changes what is in force behind control's back.
    void meddle(const std::function<void(model::Config&)>& change) {
        const std::scoped_lock lock(mutex_);
        change(config_);
        ++revision_;
    }
    [[nodiscard]] model::Config config() const {
        const std::scoped_lock lock(mutex_);
        return config_;
    }
    /// How often all of the configuration was asked for.
    [[nodiscard]] int readings() const {
        const std::scoped_lock lock(mutex_);
        return readings_;
    }
    [[nodiscard]] int transactions() const {
        const std::scoped_lock lock(mutex_);
        return transactions_;
    }

private:
    http::Response answer(http::Request& request) {
        const std::scoped_lock lock(mutex_);
        Json::Value json(Json::objectValue);
        if (request.path == "/v1/config") {
            ++readings_;
            return {200, to_json_text(model::to_json(config_)), "application/json"};
        } else if (request.path == "/v1/transactions") {
            json["applied"] = transact(parse_json(request.body, "request body"));
        } else if (request.path == "/v1/log") {
            json["level"] = "info";
        } else if (request.path != "/v1/info") {
            return {404, "{}", "application/json"};
        }
        json["instance"] = instance_;
        json["revision"] = revision_;
        return {200, to_json_text(json), "application/json"};
    }

    bool transact(const Json::Value& json) {
        Faults faults;
        const auto change = model::change_from_json(json, "", faults, {"dry_run"});
        const auto next = model::apply(config_, change, faults);
        model::check(next, faults);
        if (judge_) {
            for (auto& fault : judge_(change))
                faults.push_back(std::move(fault));
        }
        if (!faults.empty()) throw Refused(faults);
        if (json["dry_run"].asBool()) return false;
        ++transactions_;
        if (!(config_ == next)) ++revision_;
        config_ = next;
        return true;
    }

    std::string socket_;
    std::string instance_;
    int starts_ = 0;
    mutable std::mutex mutex_;
    model::Config config_;
    Judge judge_;
    int transactions_ = 0;
    int readings_ = 0;
    Json::UInt64 revision_ = 0;
    std::unique_ptr<http::Server> server_;
};

inline model::Bridge bridge(const std::string& name) {
    model::Bridge bridge;
    bridge.name = name;
    return bridge;
}

inline model::Port port(const std::string& name, const std::string& bridge = "br0") {
    model::Port port;
    port.name = name;
    port.bridge = bridge;
    port.vhost.path = "/run/test/" + name;
    return port;
}

inline model::Change put(const std::vector<model::Bridge>& bridges, const std::vector<model::Port>& ports) {
    model::Change change;
    for (const auto& one : bridges)
        change.put.bridges.emplace(one.name, one);
    for (const auto& one : ports)
        change.put.ports.emplace(one.name, one);
    return change;
}

}  // namespace viaduct::test
