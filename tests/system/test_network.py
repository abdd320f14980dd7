"""Several hosts over TCP: network namespaces with a switch between them. Links are cut and hosts lost; the job ends, and resumes with
the same bits."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness
import kills
from faults import fault
from harness import Case

HOSTS = 4
LOST = 205  # what mpirun returns when it loses a host
# What a job over several hosts needs to notice a lost one: probes after 3 s of silence, every second, lost after 3 unanswered ones.
KEEPALIVE = {"oob_tcp_keepalive_time": 3, "oob_tcp_keepalive_intvl": 1, "oob_tcp_keepalive_probes": 3}

# What mpirun calls instead of ssh: the last part of the address is the number of the host.
AGENT = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=${1##*.}
shift
exec ip netns exec "PREFIX$host" unshare --uts bash -c "hostname node$host; $*" </dev/null
"""


def tell(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.LIMIT)


class Network:
    """Hosts 1 .. HOSTS with addresses 10.77.0.i, names of this process only."""

    def __init__(self):
        self.prefix = f"mxs{os.getpid()}h"
        self.switch = f"mxs{os.getpid()}s"
        self.folder = tempfile.mkdtemp(prefix="mxsnet", dir="/tmp")

    def name(self, host):
        return f"{self.prefix}{host}"

    def up(self):
        tell("netns", "add", self.switch)
        tell("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        tell("-n", self.switch, "link", "set", "bridge", "up")
        for host in range(1, HOSTS + 1):
            tell("netns", "add", self.name(host))
            tell("-n", self.switch, "link", "add", f"port{host}", "type", "veth", "peer", "name", "eth0", "netns", self.name(host))
            tell("-n", self.switch, "link", "set", f"port{host}", "master", "bridge", "up")
            tell("-n", self.name(host), "addr", "add", f"10.77.0.{host}/24", "dev", "eth0")
            tell("-n", self.name(host), "link", "set", "eth0", "up")
            tell("-n", self.name(host), "link", "set", "lo", "up")
        with open(self.path("hosts"), "w") as file:
            file.writelines(f"10.77.0.{host} slots=1\n" for host in range(1, HOSTS + 1))
        with open(self.path("agent"), "w") as file:
            file.write(AGENT.replace("PREFIX", self.prefix))
        os.chmod(self.path("agent"), 0o755)

    def down(self):
        for name in [self.switch, *map(self.name, range(1, HOSTS + 1))]:
            if os.path.exists(f"/run/netns/{name}"):
                kills.end(self.pids(name))
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def link(self, host, state):
        tell("-n", self.switch, "link", "set", f"port{host}", state)

    def cut(self, host):
        """For good, and beyond the switch: the host itself still sees a link."""
        tell("-n", self.switch, "link", "set", f"port{host}", "nomaster")

    def pids(self, name):
        out = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True, timeout=harness.LIMIT).stdout
        return [int(pid) for pid in out.split()]

    def kill_host(self, host):
        kills.end(self.pids(self.name(host)))

    def wait_until_empty(self, limit=60):
        """Nobody of the job is left on any host."""
        deadline = time.monotonic() + limit
        while True:
            left = {host: pids for host in range(1, HOSTS + 1) if (pids := self.pids(self.name(host)))}
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"processes left after {limit} s, by host: {left}")
            time.sleep(0.1)

    def launch(self):
        """Prefix of a command that runs on host 1, and the parameters of mpirun."""
        prefix = ("ip", "netns", "exec", self.name(1), "unshare", "--uts", "bash", "-c", 'hostname node1; exec "$@"', "bash")
        parameters = {"plm": "rsh", "plm_rsh_agent": self.path("agent"), "orte_default_hostfile": self.path("hosts"),
                      "rmaps_base_mapping_policy": "node", "oob_tcp_if_include": "10.77.0.0/24", "btl": "tcp,self",
                      "btl_tcp_if_include": "10.77.0.0/24", **KEEPALIVE}
        return prefix, {f"OMPI_MCA_{key}": str(value) for key, value in parameters.items()}


def setUpModule():
    missing = "" if os.geteuid() == 0 else "not root"
    if not missing and not shutil.which("ip"):
        missing = "no ip command (package iproute2)"
    if not missing:
        name = f"mxs{os.getpid()}t"
        tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        missing = f"cannot make network namespaces: {tried.stderr.strip()}" if tried.returncode else ""
    if missing and os.environ.get("CI") == "true":
        raise RuntimeError(f"several hosts cannot be tested here: {missing}")
    if missing:
        raise unittest.SkipTest(f"several hosts cannot be tested here: {missing}")


class Hosts(Case):
    LENGTH = dict(k=5, max_iterations=1000, tolerance=0, metrics_every=100)

    def setUp(self):
        super().setUp()
        self.problem = self.gen(ensemble="rademacher", n1=16, n2=12, rank=2, measurements=1000, seed=1)
        self.whole = self.solve(self.problem, "whole", np=2, **self.LENGTH)
        self.network = Network()
        self.addCleanup(self.network.down)
        self.network.up()

    def start(self, **settings):
        """A run on all hosts that has a checkpoint."""
        self.job = kills.Job(self, self.dir / "run", self.problem, checkpoint_every=50, **{**self.LENGTH, **settings})
        prefix, parameters = self.network.launch()
        process = self.job.start(HOSTS, env=parameters, prefix=prefix)
        self.assertTrue(process.wait_for((self.job.directory / "checkpoint.h5").exists), process.text("err"))
        return process

    def ends(self, process, *codes):
        """The job ends by itself, on all hosts; it can be resumed, here on one."""
        begun = time.monotonic()
        outcome = process.finish()
        print(f"{self.id()}: exit code {outcome.code} after {time.monotonic() - begun:.1f} s", flush=True)
        self.assertIn(outcome.code, codes, str(outcome))
        self.network.wait_until_empty()
        self.assertLess(harness.attributes(self.job.directory)["iteration"], self.LENGTH["max_iterations"])
        self.job.verify()
        self.job.complete(3, self.whole)

    @fault(22)
    def test_same_bits(self):
        process = self.start()
        outcome = process.finish()
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assertIn(f"{HOSTS} ranks on {HOSTS} hosts", outcome.out)
        self.network.wait_until_empty()
        self.assert_same_bits(self.whole, self.job.directory)

    @fault(30)
    def test_link_down_for_three_seconds(self):
        process = self.start()
        self.network.link(3, "down")  # from here on nothing goes on
        time.sleep(3)
        self.network.link(3, "up")
        self.assertTrue(process.running(), process.text("err"))
        outcome = process.finish()
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assert_same_bits(self.whole, self.job.directory)

    @fault(3)
    def test_link_cut(self):
        process = self.start()
        self.network.cut(4)
        self.ends(process, LOST)

    @fault(3)
    def test_host_lost(self):
        process = self.start()
        self.network.kill_host(2)
        self.ends(process, LOST, 137)

    @fault(3)
    def test_first_host_lost(self):
        """With the launcher and rank 0: the other hosts notice."""
        process = self.start()
        self.network.kill_host(1)
        self.ends(process, -signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
