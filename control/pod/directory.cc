#include "pod/directory.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <vector>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

#include "pod/failure.h"

namespace viaduct::pod {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& what) {
    const bool full = errno == ENOSPC || errno == EDQUOT;
    throw Failure(
        attachment::kIo,
        what + ": " + (full ? "the disk is full; free some space and try again" : std::strerror(errno)));
}

std::optional<std::uint32_t> number(const std::string& text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == UINT32_MAX) return std::nullopt;
    return value;
}

void make_parents(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (!error) return;
    errno = error.value();
    fail("cannot make the directory " + path.parent_path().string());
}

void write_all(int file, const std::string& text, const std::string& name) {
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto written = ::write(file, rest.data(), rest.size());
        if (written < 0 && errno != EINTR) fail("cannot write " + name);
        if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// For whoever runs in the pod, where the directory may be mounted anywhere: "socket" is relative to it.
Json::Value description(const Record& record) {
    const auto& request = record.request;
    Json::Value json(Json::objectValue);
    json["version"] = 1;
    json["network"] = request.key.network;
    json["interface"] = request.key.ifname;
    json["mode"] = request.vhost.pod_listens ? "server" : "client";
    json["socket"] = "vhost.sock";
    json["path"] = record.attached.socket_path;
    json["mac"] = record.attached.mac.to_string();
    json["mtu"] = request.mtu;
    json["queues"] = request.queues;
    json["ips"] = Json::arrayValue;
    for (const auto& address : own_addresses(record))
        json["ips"].append(attachment::to_json(address));
    json["routes"] = Json::arrayValue;
    for (const auto& route : request.routes)
        json["routes"].append(attachment::to_json(route));
    if (!request.dns.empty()) json["dns"] = attachment::to_json(request.dns);
    if (!request.device_id.empty()) json["device_id"] = request.device_id;
    return json;
}

}  // namespace

std::uint32_t user_id(const std::string& text) {
    if (const auto id = number(text)) return *id;
    std::vector<char> buffer(65536);
    passwd entry{};
    passwd* found = nullptr;
    ::getpwnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr)
        throw Refused("vhostUser/owner", "names user \"" + text + "\", whom this node does not know");
    return found->pw_uid;
}

std::uint32_t group_id(const std::string& text) {
    if (const auto id = number(text)) return *id;
    std::vector<char> buffer(65536);
    group entry{};
    group* found = nullptr;
    ::getgrnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr)
        throw Refused("vhostUser/group", "names group \"" + text + "\", which this node does not know");
    return found->gr_gid;
}

void make_directory(const Record& record) {
    const auto& path = record.directory;
    const auto& vhost = record.request.vhost;
    make_parents(path);
    std::error_code ignored;
    fs::remove_all(path, ignored);
    if (::mkdir(path.c_str(), 0700) != 0) fail("cannot make the pod's directory " + path);
    const http::Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory.valid()) fail("cannot open the pod's directory " + path);
    const http::Descriptor file(::openat(directory.get(), "interface.json",
                                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file.valid()) fail("cannot make " + path + "/interface.json");
    write_all(file.get(), to_json_text(description(record), true) + "\n", path + "/interface.json");
    ::fchmod(file.get(), 0644);  // whatever the mask
    // Opened to its owner last, when there is nothing more to do in it.
    if (!vhost.owner.empty() || !vhost.group.empty()) {
        const uid_t owner = vhost.owner.empty() ? static_cast<uid_t>(-1) : user_id(vhost.owner);
        const gid_t group = vhost.group.empty() ? static_cast<gid_t>(-1) : group_id(vhost.group);
        if (::fchown(directory.get(), owner, group) != 0)
            fail("cannot give away the pod's directory " + path);
    }
    if (::fchmod(directory.get(), vhost.permissions.value_or(0755)) != 0)
        fail("cannot set the mode of " + path);
}

void write_device_info(const Record& record) {
    const auto& path = record.request.device_info_file;
    if (path.empty()) return;
    Json::Value json(Json::objectValue);
    json["type"] = "vhost-user";
    json["version"] = "1.1.0";
    json["vhost-user"]["mode"] = record.request.vhost.pod_listens ? "server" : "client";
    json["vhost-user"]["path"] = record.attached.socket_path;
    make_parents(path);
    // Written beside it and renamed: a reader finds all of it or nothing.
    const auto draft = path + ".viaduct";
    ::unlink(draft.c_str());
    const http::Descriptor file(
        ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file.valid()) fail("cannot make the device information file " + path);
    try {
        write_all(file.get(), to_json_text(json) + "\n", path);
        if (::rename(draft.c_str(), path.c_str()) != 0)
            fail("cannot make the device information file " + path);
    } catch (...) {
        ::unlink(draft.c_str());
        throw;
    }
}

void remove_files(const Record& record) {
    if (!record.directory.empty()) {
        std::error_code error;
        fs::remove_all(record.directory, error);
        if (error)
            spdlog::warn("cannot remove the pod's directory {}: {}", record.directory, error.message());
    }
    const auto& info = record.request.device_info_file;
    if (!info.empty() && ::unlink(info.c_str()) != 0 && errno != ENOENT) {
        spdlog::warn("cannot remove the device information file {}: {}", info, std::strerror(errno));
    }
}

}  // namespace viaduct::pod
