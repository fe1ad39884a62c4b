// viaduct apply and viaduct delete: manifests of services, endpoints, pods and nodes, put and taken away by
// hand.
#include "cli/manifest.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include <json/json.h>

#include "viaduct/json.h"

#include "kubernetes/writer.h"

namespace viaduct::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kKindNotes =
    "KIND is service (svc), endpointslice (eps), endpoints (ep), pod (po) or node (no). Without a NAMESPACE "
    "it "
    "is\ndefault. FILE holds Kubernetes manifests, YAML or JSON, as many as there are; \"-\" is standard "
    "input, "
    "and of a\ndirectory its *.yaml, *.yml and *.json are read. Objects of other kinds are passed over.\n";

constexpr const char* kWaitNotes =
    "--wait returns when all of it is in force in the dataplane; or tells with exit status 1 what is not, "
    "and why, as "
    "soon\nas that is known, or after SECONDS (1 to 3600, default 30).\n";

std::string read_file(const std::string& path) {
    if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open()) throw Failure("cannot open " + path + ": " + std::strerror(errno));
    return text;
}

bool is_manifest(const fs::path& path) {
    const auto kind = path.extension();
    return path.filename().string().front() != '.' && (kind == ".yaml" || kind == ".yml" || kind == ".json");
}

/// The files that a word after -f means.
std::vector<std::string> files_of(const std::string& word) {
    std::error_code error;
    if (word == "-" || !fs::is_directory(word, error)) return {word};
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(word, error)) {
        if (is_manifest(entry.path()) && !entry.is_directory(error)) files.push_back(entry.path().string());
    }
    if (error) throw Failure("cannot read the directory " + word + ": " + error.message());
    if (files.empty()) throw Failure("in the directory " + word + " there is no *.yaml, *.yml or *.json");
    std::sort(files.begin(), files.end());
    return files;
}

void tell(const Session& session, const Json::Value& answer) {
    for (const auto& object : answer["objects"]) {
        const auto outcome = text_of(object, "outcome");
        if (outcome == "absent") continue;
        std::cout << object_name(object) << " " << outcome << (session.arguments.dry_run ? " (dry run)" : "")
                  << "\n";
    }
    note_passed_over(answer);
    for (const auto& one : answer["not_in_force"])
        std::cerr << "viaduct: " << text_of(one, "object") << " is not in force: " << text_of(one, "reason")
                  << "\n";
}

int send(Session& session, const std::string& method, Json::Value body) {
    session.words.done();
    const auto& arguments = session.arguments;
    if (arguments.dry_run) body["dry_run"] = true;
    if (arguments.dry_run && arguments.wait_seconds != 0)
        throw Usage("--wait has nothing to wait for with --dry-run; leave one of them out");
    if (arguments.wait_seconds != 0) body["wait_seconds"] = arguments.wait_seconds;
    const auto answer = session.ask(method, "/v1/manifests", body);
    if (!session.printed(answer)) tell(session, answer);
    return answer["not_in_force"].empty() ? 0 : 1;
}

int apply(Session& session) {
    if (session.arguments.files.empty() && !session.words.empty())
        throw Usage("needs -f before \"" + session.words.peek() + "\"");
    return send(session, "POST", manifests_body(session));
}

int remove(Session& session) {
    Json::Value body(Json::objectValue);
    if (!session.arguments.files.empty()) {
        body = manifests_body(session);
    } else {
        if (session.words.empty()) throw Usage("needs \"-f FILE\", or KIND [NAMESPACE/]NAME");
        body["kind"] = session.words.take("a kind");
        auto name = session.words.take("[NAMESPACE/]NAME");
        if (const auto slash = name.find('/'); slash != std::string::npos) {
            body["namespace"] = name.substr(0, slash);
            name.erase(0, slash + 1);
        }
        body["name"] = name;
    }
    if (session.arguments.ignore_absent) body["ignore_absent"] = true;
    return send(session, "DELETE", body);
}

}  // namespace

Json::Value manifests_body(const Session& session) {
    if (session.arguments.files.empty()) throw Usage("needs \"-f FILE\" (\"-\" for standard input)");
    Json::Value body(Json::objectValue);
    for (const auto& word : session.arguments.files) {
        for (const auto& path : files_of(word)) {
            Json::Value file(Json::objectValue);
            file["file"] = path == "-" ? "standard input" : path;
            file["text"] = read_file(path);
            body["files"].append(std::move(file));
        }
    }
    return body;
}

std::string object_name(const Json::Value& object) {
    auto text = text_of(object, "kind");
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto space = text_of(object, "namespace");
    return text + " " + (space.empty() ? "" : space + "/") + text_of(object, "name");
}

std::string yaml_of(const Json::Value& manifest) {
    return kubernetes::to_yaml_text(manifest);
}

void note_passed_over(const Json::Value& answer) {
    const auto number = number_of(answer, "passed_over");
    if (number == 0) return;
    std::cerr << "viaduct: note: " << number << (number == 1 ? " object was" : " objects were")
              << " passed over; only Service, EndpointSlice, Endpoints, Pod and Node are read\n";
}

Object apply_object() {
    return {
        "apply",
        "put manifests of services, endpoints, pods and nodes; all that are given, or none",
        {{"", {}, "-f FILE [-f FILE...] [--wait[=SECONDS]]", "make objects what the manifests say", apply}},
        std::string("What is applied stays until it is deleted, also over restarts. What a manifest in the "
                    "directory of\nviaduct-control's option --manifests describes is changed there.\n") +
            kWaitNotes + kKindNotes,
        {"viaduct apply -f web.yaml", "viaduct apply -f web.yaml --wait=10",
         "viaduct apply -f web.yaml -f slices.yaml --dry-run",
         "kubectl get services,endpointslices -A -o yaml | viaduct apply -f -"},
        true};
}

Object delete_object() {
    return {"delete",
            "take applied manifests away; all that are named, or none",
            {{"",
              {},
              "-f FILE [-f FILE...] | KIND [NAMESPACE/]NAME [--ignore-not-found] [--wait[=SECONDS]]",
              "delete what the manifests name, or one object",
              remove}},
            std::string(kWaitNotes) + kKindNotes,
            {"viaduct delete -f web.yaml", "viaduct delete service apps/web",
             "viaduct delete -f web.yaml --ignore-not-found"},
            true};
}

}  // namespace viaduct::cli
