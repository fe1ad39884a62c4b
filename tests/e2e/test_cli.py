"""The command line as the README shows it: each verb once, JSON for programs, one sentence for what is wrong."""
import re
import subprocess

from viaduct import daemons, pods, process, workdir


def ok(node, *words, json=False):
    return node.cli(*words, json=json)


def refused(node, *words):
    done = node.cli(*words, json=False, check=False)
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done
    return done.stderr


def test_bridges_ports_and_addresses(node, directory):
    ok(node, "bridge", "add", "br7", "vlan_filtering", "on")
    ok(node, "port", "add", "web", "type", "vhost-user", "path", directory / "web.sock", "mode", "client", "bridge", "br7",
       "vlan", "10")
    ok(node, "fdb", "add", "02:00:00:00:00:07", "dev", "web", "bridge", "br7", "vlan", "10")
    assert "web" in ok(node, "link", "show") and "br7" in ok(node, "bridge", "show")
    assert "02:00:00:00:00:07" in ok(node, "fdb", "show", "bridge", "br7")
    assert pods.port(node, "web")["bridge"] == "br7"
    ok(node, "port", "set", "web", "mtu", "9000")
    assert "9000" in ok(node, "port", "show")
    for words in (["link", "show"], ["bridge", "show"], ["fdb", "show"], ["port", "show"], ["pod", "show"], ["stats"],
                  ["log", "show"], ["config", "history"]):
        assert node.cli(*words) is not None, words
    assert "balances" in ok(node, "stats")
    assert "br7" in refused(node, "bridge", "del", "br7")
    ok(node, "fdb", "del", "02:00:00:00:00:07", "dev", "web", "bridge", "br7", "vlan", "10")
    ok(node, "port", "del", "web")
    ok(node, "bridge", "del", "br7")
    assert "nowhere" in refused(node, "port", "add", "x", "type", "vhost-user", "path", "/run/x", "bridge", "nowhere")
    assert "no-such" in refused(node, "port", "del", "no-such")


def generations(node):
    listed = node.cli("config", "history")
    listed = listed if isinstance(listed, list) else next(value for value in listed.values() if isinstance(value, list))
    return [each["generation"] for each in listed]


def test_generations_are_compared_and_rolled_back(node):
    ok(node, "bridge", "add", "first")
    kept = max(generations(node))
    ok(node, "bridge", "add", "second")
    assert max(generations(node)) == kept + 1
    assert "second" in ok(node, "config", "diff", str(kept), str(kept + 1))
    assert "second" in ok(node, "config", "show")

    def bridges():
        return {each["name"] for each in node.dataplane_api("GET", "/v1/config").body["bridges"]}

    ok(node, "config", "rollback", str(kept), "--dry-run")
    assert bridges() == {"first", "second"}
    ok(node, "config", "rollback", str(kept))
    assert bridges() == {"first"}
    ok(node, "bridge", "add", "third", "--dry-run")
    assert bridges() == {"first"}


def test_log_levels_change_while_running(node):
    ok(node, "log", "level", "debug")
    assert node.api("GET", "/v1/log").body["level"] == "debug"
    ok(node, "log", "level", "debug", "--dataplane")
    assert node.dataplane_api("GET", "/v1/log").body["level"] == "debug"
    assert "loud" in refused(node, "log", "level", "loud")


def test_help_and_a_daemon_that_is_down(node):
    for words in ([], ["link"], ["bridge"], ["fdb"], ["port"], ["pod"], ["stats"], ["log"], ["config"]):
        done = subprocess.run([daemons.program("cli"), *words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "viaduct" in done.stdout, words
    node.stop_control()
    assert str(node.control_socket) in refused(node, "link", "show")


def complete(node, line):
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _viaduct; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    environment = {"PATH": f"{daemons.program('cli').parent}:/usr/bin:/bin", "VIADUCT_SOCKET": str(node.control_socket)}
    done = process.run(["bash", "-c", script, "bash", workdir.REPOSITORY / "configs/bash-completion/viaduct", *words],
                       env=environment)
    return done.stdout.split()


def test_bash_completion_knows_the_verbs_and_the_names(node):
    help_text = process.run([daemons.program("cli"), "--help"]).stdout
    objects = re.findall(r"^  ([a-z]+) +\S", help_text.split("Objects:")[1].split("Options:")[0], re.M)
    assert len(objects) > 10
    assert [word for word in complete(node, "viaduct ") if not word.startswith("-")] == objects
    for name in objects:
        if name in ("trace", "replay"):
            continue
        usage = process.run([daemons.program("cli"), name, "--help"]).stdout
        verbs = dict.fromkeys(re.findall(rf"^  viaduct {name} ([a-z]+)", usage.split("Commands:")[1].split("Examples:")[0],
                                         re.M))
        offered = complete(node, f"viaduct {name} ")
        assert set(verbs) <= set(offered), name
    node.cli("bridge", "add", "wide", json=False)
    node.cli("bridge", "add", "wire", json=False)
    assert complete(node, "viaduct bridge del wi") == ["wide", "wire"]
    assert complete(node, "viaduct port add web type v") == ["vhost-user", "vxlan"]
    assert "--pcap" in complete(node, "viaduct trace ")
    web = node.run_dir / "web.yaml"
    web.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: apps}\nspec: {ports: [{port: 80}]}\n")
    node.cli("apply", "-f", web, json=False)
    process.wait_until(lambda: complete(node, "viaduct delete services ") == ["apps/web"], 10, "the service's name")
    assert complete(node, "viaduct get services apps/web -o y") == ["yaml"]


def test_replay_is_started_by_the_command_line():
    done = process.run([daemons.program("cli"), "replay", "--help"])
    assert "--in CAPTURE" in done.stdout
