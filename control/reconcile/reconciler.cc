// One lock for the dataplane's connection and the picture of what is in force there; one thread that
// connects, watches, compares and repairs. The store's transaction is taken inside that lock, never the other
// way round.
#include "reconcile/reconciler.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "viaduct/http.h"
#include "viaduct/model_kinds.h"

#include "reconcile/dataplane_client.h"
#include "reconcile/leave_out.h"
#include "store/database.h"

namespace viaduct::reconcile {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

/// The dataplane closes connections that are silent for 30 seconds; the watching one must not be among them.
constexpr std::chrono::seconds kKeepAlive{10};
/// A dataplane that was restarted is back within this; until then every millisecond of waiting is one without
/// it.
constexpr std::chrono::seconds kRestartTakes{5};
/// Each round leaves at least one object out; a set that needs more is sent object by object.
constexpr int kRoundsMost = 16;

/// Leaves out what cannot be right by itself, and then what hung on it and hangs in the air now.
void settle(model::Config& target, const model::Config& in_force, LeftOut& left_out) {
    for (int round = 0; round < kRoundsMost; ++round) {
        Faults faults;
        model::check(target, faults);
        if (faults.empty() || !leave_out(target, in_force, faults, left_out)) return;
    }
}

}  // namespace

struct Reconciler::State {
    State(Options o, store::Database& d, std::vector<const DesiredSource*> s)
        : options(std::move(o)),
          database(d),
          sources(std::move(s)),
          alarm(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    using Lock = std::unique_lock<std::mutex>;

    void run(const std::stop_token& stopping);
    void connect(const std::stop_token& stopping);
    void watch(const std::stop_token& stopping);
    void sleep(milliseconds time) const;
    void ring() const;
    void lost(const Lock&, const std::string& why);
    void wait_connected(Lock& lock, Clock::time_point deadline);
    void compare(const Lock& lock);
    void send_what_is_accepted(const Lock&, model::Config& target, model::Config& actual, LeftOut& left_out);
    void send_in_parts(const model::Change& change, model::Config& actual, LeftOut& left_out);
    std::vector<const Step*> send_halves(std::span<const Step* const> steps, model::Config& actual,
                                         LeftOut& left_out);
    std::string transact(const model::Change& change);
    model::Config read_actual();
    void send(const Lock& lock, const model::Change& change);
    void tell_restored(const model::Named<model::Port>& before) const;
    bool picture_was_wrong(const Lock& lock);
    void report(LeftOut left_out);
    model::Config contributions(store::Transaction& tx, Faults& faults) const;
    model::Change still_wanted(model::Change change) const;
    void attempt(const model::Change& change, milliseconds patience, bool dry_run);

    const Options options;
    store::Database& database;
    const std::vector<const DesiredSource*> sources;
    http::Descriptor alarm;  ///< rung to get the thread out of its sleep

    std::mutex mutex;  ///< guards what follows, and with it the order of transactions
    std::condition_variable came;
    std::optional<DataplaneClient> client;  ///< present while connected
    std::string instance;
    /// The dataplane's revision whose configuration is `in_force`; nothing: it may have any.
    std::optional<std::uint64_t> revision;
    model::Config in_force;

    std::function<void()> changed;  ///< Reconciler::on_change's

    mutable std::mutex status_mutex;  ///< its own, so that health is told while a transaction runs
    Status status;

    /// The desired state that was checked last without a fault: only what differs from it is looked at. For
    /// who has the open transaction.
    model::Config sound;

    std::optional<DataplaneClient> watching;  ///< the thread's own connection
    std::atomic<bool> compare_wanted{false};
    std::jthread thread;  ///< last: ends before the rest goes
};

model::Config Reconciler::State::contributions(store::Transaction& tx, Faults& faults) const {
    model::Config config;
    for (const auto* source : sources)
        source->contribute(tx, config, faults);
    return config;
}

void Reconciler::State::ring() const {
    const std::uint64_t one = 1;
    // A full counter has rung already.
    [[maybe_unused]] const auto written = ::write(alarm.get(), &one, sizeof one);
}

void Reconciler::State::sleep(milliseconds time) const {
    pollfd ends[2] = {{alarm.get(), POLLIN, 0}, {-1, POLLIN, 0}};
    if (watching) ends[1].fd = watching->native_handle();
    ::poll(ends, 2, static_cast<int>(time.count()));
    std::uint64_t rings = 0;
    [[maybe_unused]] const auto got = ::read(alarm.get(), &rings, sizeof rings);
}

void Reconciler::State::lost(const Lock&, const std::string& why) {
    if (client) spdlog::warn("dataplane lost: {}", why);
    client.reset();
    const std::scoped_lock status_lock(status_mutex);
    status.connected = false;
    status.in_sync = false;
    status.reason = why;
    ring();
}

void Reconciler::State::wait_connected(Lock& lock, Clock::time_point deadline) {
    if (!client) came.wait_until(lock, deadline, [this] { return client.has_value(); });
    if (client) return;
    const std::scoped_lock status_lock(status_mutex);
    throw http::Unreachable("the dataplane is away: " + status.reason, false);
}

void Reconciler::State::report(LeftOut left_out) {
    const std::scoped_lock status_lock(status_mutex);
    for (const auto& [object, reason] : left_out) {
        const auto old = status.left_out.find(object);
        if (old != status.left_out.end() && old->second == reason) continue;
        spdlog::error("{} is left out of the dataplane: {}", object, reason);
    }
    for (const auto& [object, reason] : status.left_out) {
        if (!left_out.contains(object)) spdlog::info("{} is no longer left out", object);
    }
    status.left_out = std::move(left_out);
    status.in_sync = status.connected && status.left_out.empty();
}

/// Sends what of `steps` is accepted: all at once, or each half by itself. Returns those that are refused
/// even alone. A few faulty objects among many so cost few transactions.
std::vector<const Step*> Reconciler::State::send_halves(std::span<const Step* const> steps,
                                                        model::Config& actual, LeftOut& left_out) {
    if (steps.empty()) return {};
    model::Change change;
    for (const auto* step : steps)
        step->add(change);
    try {
        transact(change);
        Faults ignored;
        model::apply_to(actual, change, ignored);
        for (const auto* step : steps)
            left_out.erase(step->object);
        return {};
    } catch (const Refused& refused) {
        if (steps.size() == 1) {
            left_out[steps[0]->object] = refused.what();
            return {steps[0]};
        }
    }
    auto refused = send_halves(steps.first(steps.size() / 2), actual, left_out);
    const auto others = send_halves(steps.subspan(steps.size() / 2), actual, left_out);
    refused.insert(refused.end(), others.begin(), others.end());
    return refused;
}

void Reconciler::State::send_in_parts(const model::Change& change, model::Config& actual, LeftOut& left_out) {
    const auto steps = one_by_one(change);
    std::vector<const Step*> rest;
    for (const auto& step : steps)
        rest.push_back(&step);
    // What was refused may have needed something that came after it: as long as that helps, it is tried
    // again.
    for (std::size_t before = rest.size() + 1; !rest.empty() && rest.size() < before;) {
        before = rest.size();
        rest = send_halves(rest, actual, left_out);
    }
}

void Reconciler::State::send_what_is_accepted(const Lock&, model::Config& target, model::Config& actual,
                                              LeftOut& left_out) {
    for (int round = 0; round < kRoundsMost; ++round) {
        const auto change = model::difference(actual, target);
        if (change.empty()) {
            actual = target;  // the same, and what both have is in memory once
            return;
        }
        try {
            transact(change);
            spdlog::info("dataplane brought up to date: {}", counted(change));
            actual = target;
            return;
        } catch (const Refused& refused) {
            spdlog::warn("the dataplane refused {}: {}", counted(change), refused.what());
            if (!leave_out(target, actual, refused.faults(), left_out)) break;
        }
        settle(target, actual, left_out);
    }
    send_in_parts(model::difference(actual, target), actual, left_out);
}

/// Applies a change and follows the dataplane's revision. Returns the instance that did it.
std::string Reconciler::State::transact(const model::Change& change) {
    const auto before = std::exchange(revision, std::nullopt);
    const auto now = client->transact(change, false);
    // More than one step: somebody else has changed something, too.
    const bool ours = before && now.revision && now.instance == instance && *now.revision <= *before + 1;
    if (ours) revision = now.revision;
    return now.instance;
}

/// What the dataplane has. A hundred thousand endpoints are not fetched when nobody has changed anything
/// since they were told.
model::Config Reconciler::State::read_actual() {
    // Asked first: of a change between both questions the next comparison finds a later revision.
    const auto now = client->standing();
    if (revision && now.revision == revision && now.instance == instance) return in_force;
    revision = std::nullopt;
    auto actual = client->config();
    if (now.instance == instance) revision = now.revision;
    return actual;
}

/// Holds the lock from reading what is in force until it is as desired, and reads the desired state after it:
/// an object that apply() has brought into force is then always among the desired ones.
void Reconciler::State::compare(const Lock& lock) {
    auto actual = read_actual();
    LeftOut left_out;
    model::Config target;
    {
        store::Transaction tx(database);
        Faults clashes;
        target = contributions(tx, clashes);
        for (const auto& fault : clashes)
            left_out[object_of(fault.where)] = fault.reason;
    }
    settle(target, actual, left_out);
    const auto ports_before = actual.ports;
    try {
        send_what_is_accepted(lock, target, actual, left_out);
    } catch (const http::Unreachable&) {
        in_force = std::move(actual);
        throw;
    }
    in_force = std::move(actual);
    if (changed) changed();
    tell_restored(ports_before);
    report(std::move(left_out));
    const std::scoped_lock status_lock(status_mutex);
    status.instance = instance;
    ++status.comparisons;
}

void Reconciler::State::tell_restored(const model::Named<model::Port>& before) const {
    model::Named<model::Port> restored;
    for (const auto& [name, port] : in_force.ports) {
        const auto old = before.find(name);
        if (old == before.end() || !(old->second == port)) restored.emplace(name, port);
    }
    if (restored.empty()) return;
    for (const auto* source : sources)
        source->restored(restored);
}

void Reconciler::State::send(const Lock& lock, const model::Change& change) {
    const auto by = transact(change);
    if (by != instance) {
        // It was restarted between two requests; what it has now is this change and nothing else.
        spdlog::warn("the dataplane was restarted: restoring everything");
        instance = by;
        return compare(lock);
    }
    Faults ignored;
    model::apply_to(in_force, change, ignored);
    if (changed) changed();
    const std::scoped_lock status_lock(status_mutex);
    if (!status.left_out.empty()) {
        for (const auto& step : one_by_one(change))
            status.left_out.erase(step.object);
    }
    status.in_sync = status.connected && status.left_out.empty();
}

/// After a refusal: was it refused because the dataplane is not as it was thought to be? Then it is put
/// right.
bool Reconciler::State::picture_was_wrong(const Lock& lock) {
    auto now = client->standing();
    const bool restarted = now.instance != instance;
    instance = std::move(now.instance);
    if (!restarted && client->config() == in_force) return false;
    revision = std::nullopt;
    compare(lock);
    return true;
}

/// A bridge or interface that the last of its pods left may have been joined by another meanwhile: then it is
/// not deleted.
model::Change Reconciler::State::still_wanted(model::Change change) const {
    bool may_be_shared = false;
    model::for_each_kind([&](const auto& kind) {
        may_be_shared = may_be_shared || (kind.referred && !(change.*kind.deleted).empty());
    });
    if (!may_be_shared) return change;
    store::Transaction tx(database);
    Faults ignored;
    const auto wanted = contributions(tx, ignored);
    model::for_each_kind([&](const auto& kind) {
        if (!kind.referred) return;
        std::erase_if(change.*kind.deleted,
                      [&](const auto& key) { return (wanted.*kind.objects).contains(key); });
    });
    return change;
}

void Reconciler::State::attempt(const model::Change& change, milliseconds patience, bool dry_run) {
    const auto deadline = Clock::now() + patience;
    Lock lock(mutex);
    for (bool first = true;; first = false) {
        wait_connected(lock, deadline);
        auto rest = without_done(change, in_force);
        if (!dry_run) rest = still_wanted(std::move(rest));
        if (rest.empty()) return;
        try {
            if (dry_run) {
                client->transact(rest, true);
            } else {
                send(lock, rest);
            }
            return;
        } catch (const Refused&) {
            bool wrong = false;
            try {
                wrong = first && picture_was_wrong(lock);
            } catch (const http::Unreachable& error) {
                lost(lock, error.what());
                continue;
            }
            if (!wrong) throw;
        } catch (const http::Unreachable& error) {
            lost(lock, error.what());
            if (Clock::now() >= deadline) throw;
        }
    }
}

void Reconciler::State::connect(const std::stop_token& stopping) {
    auto pause = options.retry_first;
    const auto since = Clock::now();
    std::string told;
    while (!stopping.stop_requested()) {
        try {
            watching.emplace(options.dataplane_socket, options.timeout);
            auto now = watching->standing();
            const Lock lock(mutex);
            client.emplace(options.dataplane_socket, options.timeout);
            instance = std::move(now.instance);
            revision = std::nullopt;
            {
                const std::scoped_lock status_lock(status_mutex);
                status.connected = true;
                status.reason.clear();
                status.instance = instance;
                ++status.restores;
            }
            spdlog::info("dataplane connected: {}, instance {}", options.dataplane_socket, instance);
            compare(lock);
            came.notify_all();
            return;
        } catch (const std::exception& error) {
            watching.reset();
            const Lock lock(mutex);
            lost(lock, error.what());
            if (told != error.what()) spdlog::info("waiting for the dataplane: {}", error.what());
            told = error.what();
        }
        const auto until = Clock::now() + pause;
        while (!stopping.stop_requested() && Clock::now() < until) {
            sleep(std::chrono::ceil<milliseconds>(until - Clock::now()));
        }
        if (Clock::now() > since + kRestartTakes) pause = std::min(pause * 2, options.retry_most);
    }
}

/// Sleeps until something is to be done while connected, and does it.
void Reconciler::State::watch(const std::stop_token& stopping) {
    auto next = Clock::now() + options.every;
    auto alive = Clock::now() + kKeepAlive;
    while (!stopping.stop_requested()) {
        const auto until = std::min<Clock::time_point>(next, alive);
        if (!compare_wanted) {
            sleep(std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until - Clock::now())));
        }
        pollfd end{watching->native_handle(), POLLIN, 0};
        const bool closed = end.fd < 0 || ::poll(&end, 1, 0) != 0;
        if (closed) {
            const Lock lock(mutex);
            return lost(lock, options.dataplane_socket + ": the dataplane closed the connection");
        }
        if (Clock::now() >= alive) {
            const auto now = watching->standing().instance;
            alive = Clock::now() + kKeepAlive;
            const Lock lock(mutex);
            if (now != instance) return lost(lock, "the dataplane was restarted");
        }
        const Lock lock(mutex);
        if (!client) return;
        if (!compare_wanted.exchange(false) && Clock::now() < next) continue;
        compare(lock);
        next = Clock::now() + options.every;
    }
}

void Reconciler::State::run(const std::stop_token& stopping) {
    while (!stopping.stop_requested()) {
        connect(stopping);
        if (stopping.stop_requested()) break;
        try {
            watch(stopping);
        } catch (const std::exception& error) {
            const Lock lock(mutex);
            lost(lock, error.what());
        }
        watching.reset();
    }
}

Reconciler::Reconciler(Options options, store::Database& database, std::vector<const DesiredSource*> sources)
    : state_(std::make_unique<State>(std::move(options), database, std::move(sources))) {
    const std::scoped_lock lock(state_->status_mutex);
    state_->status.reason = state_->options.dataplane_socket + ": not connected yet";
}

Reconciler::~Reconciler() {
    stop();
}

void Reconciler::start() {
    state_->thread =
        std::jthread([state = state_.get()](const std::stop_token& stopping) { state->run(stopping); });
}

void Reconciler::stop() {
    state_->thread.request_stop();
    state_->ring();
    if (state_->thread.joinable()) state_->thread.join();
}

void Reconciler::apply(const model::Change& change, milliseconds patience) {
    state_->attempt(change, patience, false);
}

void Reconciler::check(const model::Change& change) {
    state_->attempt(change, {}, true);
}

model::Config Reconciler::desired(store::Transaction& tx, Faults& faults) const {
    auto config = state_->contributions(tx, faults);
    const auto before = faults.size();
    model::check(config, faults, &state_->sound);
    if (faults.size() == before) state_->sound = config;
    return config;
}

std::vector<std::pair<std::string, model::Config>> Reconciler::contributions(store::Transaction& tx) const {
    std::vector<std::pair<std::string, model::Config>> steps;
    model::Config config;
    Faults ignored;
    for (const auto* source : state_->sources) {
        source->contribute(tx, config, ignored);
        steps.emplace_back(source->origin(), config);
    }
    return steps;
}

model::Config Reconciler::in_force() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->in_force;
}

void Reconciler::on_change(std::function<void()> changed) {
    state_->changed = std::move(changed);
}

void Reconciler::wake() {
    state_->compare_wanted = true;
    state_->ring();
}

Status Reconciler::status() const {
    const std::scoped_lock lock(state_->status_mutex);
    return state_->status;
}

}  // namespace viaduct::reconcile
