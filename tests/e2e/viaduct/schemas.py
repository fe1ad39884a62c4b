"""Checks what a CNI plugin printed against the JSON schemas in ../schemas, and what a schema cannot say."""
import json
from functools import lru_cache
from pathlib import Path

import jsonschema

from . import process

DIRECTORY = Path(__file__).resolve().parents[1] / "schemas"


@lru_cache
def _validator(name):
    schema = json.loads((DIRECTORY / f"{name}.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def check(name, document):
    """Fails with every fault of the document; `name` is that of a schema: "error", "version",
    "result-1.0.0"."""
    faults = [f"{'/'.join(map(str, fault.absolute_path)) or '(document)'}: {fault.message}"
              for fault in _validator(name).iter_errors(document)]
    if faults:
        text = json.dumps(document, indent=1)
        raise process.Failed(f"not a CNI {name}: {'; '.join(faults)}\n{text}")


def check_result(document, version, netns_path=None, ifname=None):
    """A result in the shape of `version`; with `ifname` also that it names that interface in that sandbox."""
    check(f"result-{version}", document)
    interfaces = document.get("interfaces", [])
    for address in document.get("ips", []):
        if address.get("interface", 0) >= max(len(interfaces), 1):
            raise process.Failed(f"{address['address']} is on interface {address['interface']} of "
                                 f"{len(interfaces)}\n{json.dumps(document, indent=1)}")
    if ifname and not any((each["name"], each.get("sandbox")) == (ifname, netns_path) for each in interfaces):
        raise process.Failed(f"no interface {ifname} in {netns_path}\n{json.dumps(document, indent=1)}")
    return document


def check_error(outcome, code=None, mentions=()):
    """A CniOutcome (daemons.run_plugin) that is a failure to the letter: exit status, JSON, code, words."""
    if outcome.status == 0 or outcome.output is None:
        raise process.Failed(f"not an error: {outcome}")
    check("error", outcome.output)
    if code is not None and outcome.output["code"] != code:
        raise process.Failed(f"code {outcome.output['code']}, not {code}: {outcome.output['msg']}")
    words = outcome.output["msg"] + outcome.output.get("details", "")
    for mention in mentions:
        if mention not in words:
            raise process.Failed(f'the error does not mention "{mention}": {words}')
    return outcome.output
