"""A worker that slept knows by itself that it may have been taken for dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from deployments.lease import Lease

CHILD = """
import sys
from deployments.lease import Lease
lease = Lease(0.5)
lease.renewed(lease.now())
print(lease.holds(), flush=True)
sys.stdin.readline()
print(lease.holds(), flush=True)
"""


def test_a_lease_lasts_from_the_moment_before_its_renewal() -> None:
    at = [100.0]
    lease = Lease(10, lambda: at[0])
    at[0] = 109.9
    assert lease.holds()
    asked = lease.now()
    at[0] = 115.0
    assert not lease.holds()
    lease.renewed(asked)
    assert lease.holds()
    at[0] = 119.9
    assert not lease.holds()


def test_a_process_that_was_stopped_sees_that_its_lease_ran_out() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "True"
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        # The lease's own time has to pass while the process stands still.
        subprocess.run(["sleep", "0.6"], check=True)
        child.send_signal(signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline().strip() == "False"
