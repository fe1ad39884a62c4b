// Who is heard of an object, and what changes when a file does.
#include "source/manifests.h"

#include <algorithm>
#include <utility>

namespace viaduct::source {

namespace {

using kubernetes::AnyObject;
using kubernetes::Document;
using kubernetes::ObjectId;

bool is_below(const Document& document, const ObjectId& id) {
    return document.id < id;
}

/// Equal, and from the same line: nothing to be put.
bool is_same(const std::vector<AnyObject>& a, const std::vector<AnyObject>& b) {
    const auto origin_of = [](const AnyObject& object) {
        return std::visit([](const auto& stored) { return stored.origin(); }, object);
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& left, const auto& right) {
        const auto from = origin_of(left);
        const auto to = origin_of(right);
        return from.line == to.line && *from.file == *to.file && left == right;
    });
}

}  // namespace

const Document* Manifests::find(const File& file, const ObjectId& id) {
    const auto found = std::lower_bound(file.documents.begin(), file.documents.end(), id, is_below);
    return found != file.documents.end() && found->id == id ? &*found : nullptr;
}

Manifests::File& Manifests::file_of(const FileName& name) {
    auto& file = files_[*name];
    if (file.name == nullptr) file.name = name;
    files_touched_.insert(*name);
    return file;
}

void Manifests::put(const FileName& name, kubernetes::Documents read) {
    auto& file = file_of(name);
    now_.passed_over += read.passed_over - file.passed_over;
    file.passed_over = read.passed_over;
    file.faults = std::move(read.faults);
    auto documents = std::move(read.documents);
    std::sort(documents.begin(), documents.end(),
              [](const Document& a, const Document& b) { return a.id < b.id; });
    if (read.nameless > 0) {
        // Any of what is missing now may be what could not be read.
        const auto said = documents.size();
        for (const auto& before : file.documents) {
            const auto end = documents.begin() + static_cast<std::ptrdiff_t>(said);
            const auto found = std::lower_bound(documents.begin(), end, before.id, is_below);
            if (found == end || found->id != before.id) documents.push_back(before);
        }
        std::sort(documents.begin(), documents.end(),
                  [](const Document& a, const Document& b) { return a.id < b.id; });
    }
    documents.shrink_to_fit();
    replace(file, std::move(documents));
}

void Manifests::put_unreadable(const FileName& name, const std::string& reason) {
    file_of(name).faults = {{name, 0, {}, {}, reason}};
}

void Manifests::erase(const std::string& name) {
    const auto found = files_.find(name);
    if (found == files_.end()) return;
    replace(found->second, {});
    now_.passed_over -= found->second.passed_over;
    files_.erase(found);
    files_touched_.insert(name);
}

void Manifests::replace(File& file, std::vector<Document> documents) {
    const auto before = std::exchange(file.documents, std::move(documents));
    for (const auto& document : before) {
        if (find(file, document.id) == nullptr) disclaim(file, document.id);
    }
    for (const auto& document : file.documents)
        claim(file, document.id);
    now_.documents += file.documents.size();
    now_.documents -= before.size();
}

void Manifests::claim(File& file, const ObjectId& id) {
    auto& files = claims_[id].files;
    const auto place = std::lower_bound(files.begin(), files.end(), &file,
                                        [](const File* a, const File* b) { return *a->name < *b->name; });
    if (place == files.end() || *place != &file) files.insert(place, &file);
    touched_.insert(id);
}

void Manifests::disclaim(File& file, const ObjectId& id) {
    auto& files = claims_[id].files;
    // The others' faults name a file that is not there any more.
    for (const auto* other : files)
        files_touched_.insert(*other->name);
    std::erase(files, &file);
    touched_.insert(id);
}

void Manifests::settle(const ObjectId& id) {
    const auto found = claims_.find(id);
    auto& [files, in_force] = found->second;
    if (files.size() > 1) {
        for (const auto* file : files)
            files_touched_.insert(*file->name);
    }
    const auto* document = files.empty() ? nullptr : find(*files.front(), id);
    if (document != nullptr && (document->refused || is_same(document->objects, in_force))) return;
    for (const auto& object : in_force)
        kubernetes::erase(now_.objects, object);
    in_force.clear();
    changed_.insert(id);
    if (document == nullptr) {
        claims_.erase(found);
        return;
    }
    in_force = document->objects;
    for (const auto& object : in_force)
        kubernetes::put(now_.objects, object);
}

void Manifests::tell_faults(const std::string& name) {
    const auto found = files_.find(name);
    if (found == files_.end()) {
        now_.faults.erase(name);
        return;
    }
    const auto& file = found->second;
    auto faults = file.faults;
    for (const auto& document : file.documents) {
        const auto* first = claims_.at(document.id).files.front();
        if (first == &file) continue;
        const kubernetes::Origin place{first->name, find(*first, document.id)->line};
        faults.push_back({file.name,
                          document.line,
                          to_string(document.id),
                          {},
                          "is described at " + to_string(place) +
                              " too, which comes first by name and counts; take one of both away"});
    }
    if (faults.empty()) {
        now_.faults.erase(name);
    } else {
        now_.faults.insert_or_assign(name, std::move(faults));
    }
}

std::vector<InForce> Manifests::take_changes() {
    std::vector<InForce> changes;
    changes.reserve(changed_.size());
    for (const auto& id : std::exchange(changed_, {})) {
        const auto claim = claims_.find(id);
        changes.push_back({id, claim == claims_.end() ? std::vector<AnyObject>() : claim->second.in_force});
    }
    return changes;
}

Snapshot Manifests::snapshot() {
    for (const auto& id : std::exchange(touched_, {}))
        settle(id);
    for (const auto& name : std::exchange(files_touched_, {}))
        tell_faults(name);
    now_.files = files_.size();
    return now_;
}

}  // namespace viaduct::source
