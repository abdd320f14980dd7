"""tools/slurm-sandbox: starts, refuses, recovers, and leaves nothing behind."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import cluster

NOBODY = 65534


def processes(folder):
    """Pids of what runs with a path in `folder` on its command line or in its environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if folder.encode() in text:
            found.append(int(entry.name))
    return found


class Sandbox(unittest.TestCase):

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="mxs", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("OMPI_", "SLURM_"))}

    def tool(self, *arguments, code=0, dir=None, prefix=()):
        folder = dir or f"{self.root}/a"
        if arguments[0] == "start":
            self.addCleanup(subprocess.run, [cluster.TOOL, "stop", "--dir", folder], capture_output=True, check=False)
        outcome = subprocess.run([*prefix, cluster.TOOL, *map(str, arguments), "--dir", folder], env=self.env, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=120, check=False)
        if outcome.returncode in cluster.CANNOT and code not in cluster.CANNOT and not os.environ.get("CI"):
            self.skipTest(outcome.stderr.strip())
        self.assertEqual(outcome.returncode, code, outcome.stdout + outcome.stderr)
        return outcome

    def slurm(self, *command, dir=None, prefix=()):
        env = {**self.env, "SLURM_CONF": f"{dir or self.root + '/a'}/slurm.conf"}
        return subprocess.run([*prefix, *command], env=env, cwd=self.root, capture_output=True, text=True, timeout=60, check=True).stdout

    def test_start_to_stop(self):
        self.tool("status", code=3)
        self.tool("env", code=66)
        self.tool("start", "--nodes", 2, "--cpus", 3)
        self.assertEqual(self.tool("env").stdout, f"export SLURM_CONF={self.root}/a/slurm.conf\n")
        names = self.slurm("srun", "--nodes=2", "--ntasks=6", "hostname").split()
        self.assertEqual(sorted(names), ["n1"] * 3 + ["n2"] * 3)
        self.assertIn("munged n1 n2 slurmctld", self.tool("status").stdout)
        self.assertIn("runs there already", self.tool("start", code=73).stderr)
        # Another one beside it.
        beside = f"{self.root}/b"
        self.tool("start", "--nodes", 1, dir=beside)
        self.assertEqual(self.slurm("srun", "hostname", dir=beside), "n1\n")
        port = next(line.split("=")[1] for line in pathlib.Path(beside, "slurm.conf").read_text().splitlines() if "SlurmctldPort" in line)
        self.assertIn("in use", self.tool("start", "--port", port, code=73, dir=f"{self.root}/c").stderr)
        self.tool("stop", dir=beside)
        self.assertEqual(self.slurm("srun", "--nodes=2", "true"), "")
        self.tool("stop", "--keep")
        self.assertEqual(processes(f"{self.root}/"), [])
        self.assertTrue(os.path.exists(f"{self.root}/a/log/slurmctld.log"))
        self.tool("stop")
        self.assertFalse(os.path.exists(f"{self.root}/a"))

    def test_power_loss(self):
        self.tool("start", "--nodes", 2)
        step = subprocess.Popen(["srun", "--nodelist=n2", "sleep", "1234"], env={**self.env, "SLURM_CONF": f"{self.root}/a/slurm.conf"},
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(step.wait)
        self.addCleanup(step.kill)
        while "sleep" not in self.slurm("squeue", "-h", "-o", "%j %T") or "RUNNING" not in self.slurm("squeue", "-h", "-o", "%T"):
            time.sleep(0.1)
        self.tool("kill-node", 3, code=64)
        self.tool("kill-node", 2)
        self.assertIn("does not run", self.tool("kill-node", 2, code=69).stderr)
        self.assertEqual(self.slurm("srun", "--nodelist=n1", "hostname"), "n1\n", "the other node goes on")
        self.tool("start-node", 2)
        self.tool("start-node", 2, code=73)
        step.kill()
        self.assertEqual(self.slurm("srun", "--nodelist=n2", "hostname"), "n2\n")

    def test_directories(self):
        foreign = pathlib.Path(self.root, "a")
        foreign.mkdir()
        (foreign / "mine").write_text("mine\n")
        self.assertIn("is no sandbox", self.tool("start", code=73).stderr)
        self.assertIn("no sandbox there", self.tool("stop", code=66).stderr)
        self.assertEqual((foreign / "mine").read_text(), "mine\n")
        (foreign / "mine").unlink()
        self.assertIn("shorter --dir", self.tool("start", code=64, dir="/tmp/" + "x" * 80).stderr)
        # What is left of a sandbox whose processes were killed is no hindrance.
        self.tool("start", "--nodes", 1)
        for record in (foreign / "run").iterdir():
            os.kill(int(record.read_text().split()[0]), signal.SIGKILL)
        time.sleep(0.5)
        self.tool("status", code=3)
        self.tool("start", "--nodes", 1)
        self.assertEqual(self.slurm("srun", "hostname"), "n1\n")

    def test_usage(self):
        for arguments in (["fly"], ["start", "--nodes", "0"], ["start", "--cpus", "many"], ["status", "--sideways"]):
            self.tool(*arguments, code=64)
        self.assertIn("usage:", self.tool("status", "--help").stdout)

    def test_missing_packages_are_named(self):
        """With a PATH that has what every system has, and no Slurm."""
        folder = pathlib.Path(self.root, "bin")
        folder.mkdir()
        for name in ("bash", "env", "id", "realpath", "dirname", "cat"):
            (folder / name).symlink_to(shutil.which(name))
        script = pathlib.Path(self.root, "sandbox")
        script.write_text(cluster.TOOL.read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH"))
        outcome = subprocess.run(["/bin/bash", script, "start", "--dir", f"{self.root}/a"], env={"PATH": str(folder)}, capture_output=True,
                                 text=True, check=False)
        self.assertEqual(outcome.returncode, 69, outcome.stderr)
        self.assertIn("tools/deps.sh test", outcome.stderr)

    def test_as_an_ordinary_user(self):
        if os.getuid() != 0:
            self.skipTest("the other tests are this one")
        os.chown(self.root, NOBODY, NOBODY)
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        tried = subprocess.run([*prefix, "unshare", "--user", "--map-current-user", "true"], capture_output=True, check=False)
        if tried.returncode != 0:
            self.assertIn("user namespaces", self.tool("start", prefix=prefix, code=77).stderr)
            return
        self.tool("start", "--nodes", 2, prefix=prefix)
        self.assertEqual(sorted(self.slurm("srun", "--nodes=2", "sh", "-c", "echo $(hostname) $(id -u)", prefix=prefix).splitlines()),
                         [f"n1 {NOBODY}", f"n2 {NOBODY}"])
        self.tool("stop", prefix=prefix)
        self.assertEqual(processes(f"{self.root}/"), [])


if __name__ == "__main__":
    unittest.main()
