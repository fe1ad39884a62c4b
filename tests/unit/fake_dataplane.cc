#include "fake_dataplane.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <json/json.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>

#include "viaduct/json.h"

namespace viaduct::testing {

namespace {

void require(bool good, const std::string& what) {
    if (!good) throw std::runtime_error(what + ": " + std::strerror(errno));
}

/// Runs `what` in the namespace at `path`; a thread's namespace goes with the thread.
void run_in(const std::string& path, const std::function<void()>& what) {
    std::exception_ptr failure;
    std::thread([&] {
        try {
            const http::Descriptor ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
            require(ns.valid() && ::setns(ns.get(), CLONE_NEWNET) == 0, "cannot enter " + path);
            what();
        } catch (...) {
            failure = std::current_exception();
        }
    }).join();
    if (failure) std::rethrow_exception(failure);
}

http::Descriptor make_tap(const model::Port& port) {
    http::Descriptor tap;
    run_in(port.tap.netns, [&] {
        tap = http::Descriptor(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
        require(tap.valid(), "/dev/net/tun");
        ifreq request{};
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        std::memcpy(request.ifr_name, port.tap.ifname.c_str(), port.tap.ifname.size());
        require(::ioctl(tap.get(), TUNSETIFF, &request) == 0, port.tap.ifname);
        const http::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (port.mac) {
            request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
            std::memcpy(request.ifr_hwaddr.sa_data, port.mac->bytes.data(), 6);
            require(::ioctl(socket.get(), SIOCSIFHWADDR, &request) == 0, "MAC address");
        }
        request.ifr_mtu = static_cast<int>(port.mtu);
        require(::ioctl(socket.get(), SIOCSIFMTU, &request) == 0, "MTU");
    });
    return tap;
}

http::Response json(const Json::Value& value, unsigned status = 200) {
    return {status, to_json_text(value), "application/json"};
}

}  // namespace

FakeDataplane::FakeDataplane(std::string socket) : socket_(std::move(socket)) {
    start();
}

FakeDataplane::~FakeDataplane() {
    stop();
}

void FakeDataplane::start() {
    ++instance_;
    server_ = std::make_unique<http::Server>(http::ServerOptions{.path = socket_, .threads = 4},
                                             [this](http::Request& request) { return answer(request); });
}

void FakeDataplane::stop() {
    server_.reset();
    const std::scoped_lock lock(mutex_);
    config_ = {};
    taps_.clear();
}

model::Config FakeDataplane::config() const {
    const std::scoped_lock lock(mutex_);
    return config_;
}

http::Response FakeDataplane::answer(const http::Request& request) {
    Json::Value value(Json::objectValue);
    value["instance"] = std::to_string(instance_);
    if (request.path == "/v1/info") return json(value);
    if (request.path == "/v1/config") return json(model::to_json(config()));
    if (request.path == "/v1/transactions") return transact(request);
    return json(faults_to_json({{request.path, "is not known"}}), 404);
}

http::Response FakeDataplane::transact(const http::Request& request) {
    Faults faults;
    const auto body = parse_json(request.body, "body");
    const auto change = model::change_from_json(body, "", faults, {"dry_run"});
    if (before && faults.empty()) faults = before(change);
    const std::scoped_lock lock(mutex_);
    const auto next = model::apply(config_, change, faults);
    model::check(next, faults);
    const bool dry_run = body["dry_run"].isBool() && body["dry_run"].asBool();
    if (faults.empty() && !dry_run) faults = make_taps(next);
    if (!faults.empty()) return json(faults_to_json(faults), 400);
    if (!dry_run) config_ = next;
    Json::Value value(Json::objectValue);
    value["applied"] = !dry_run;
    value["instance"] = std::to_string(instance_);
    return json(value);
}

Faults FakeDataplane::make_taps(const model::Config& next) {
    std::erase_if(taps_, [&](const auto& tap) {
        const auto wanted = next.ports.find(tap.first);
        return wanted == next.ports.end() || !(wanted->second == config_.ports.at(tap.first));
    });
    for (const auto& [name, port] : next.ports) {
        if (port.kind != model::PortKind::tap || taps_.contains(name)) continue;
        try {
            taps_.emplace(name, make_tap(port));
        } catch (const std::exception& error) {
            return {{"ports/" + name, error.what()}};
        }
    }
    return {};
}

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = "/tmp/vd-test-XXXXXX";
    require(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::path(const std::string& name) const {
    return name.empty() ? path_.string() : (path_ / name).string();
}

PrivateNamespace::PrivateNamespace(const TemporaryDirectory& directory, const std::string& name)
    : path_(directory.path(name)) {
    std::string failure;
    std::thread([&] {
        const http::Descriptor file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        if (::unshare(CLONE_NEWNET) != 0 ||
            ::mount("/proc/thread-self/ns/net", path_.c_str(), nullptr, MS_BIND, nullptr) != 0) {
            failure = std::strerror(errno);
        }
    }).join();
    if (!failure.empty()) throw std::runtime_error("cannot make a network namespace: " + failure);
}

PrivateNamespace::~PrivateNamespace() {
    forget();
}

void PrivateNamespace::run(const std::function<void()>& what) const {
    run_in(path_, what);
}

void PrivateNamespace::forget() {
    if (!there_) return;
    there_ = false;
    ::umount2(path_.c_str(), MNT_DETACH);
    ::unlink(path_.c_str());
}

}  // namespace viaduct::testing
