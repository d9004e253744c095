"""The program that OpenIPMI's ipmi_sim calls to switch a machine (its ``chassis_control``).

python -m lab.chassis DIRECTORY get power
python -m lab.chassis DIRECTORY set boot pxe
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.machine import Override, Switched

__all__ = ["main"]

# ipmi_sim calls the disk "default", and has only these of our devices.
_TO_IPMI = {"pxe": "pxe", "disk": "default"}
_FROM_IPMI = {ours: theirs for theirs, ours in _TO_IPMI.items()}


def main(directory: str, verb: str, what: str, value: str = "") -> int:
    """Answer one call; 0 for success, as ipmi_sim wants it."""
    machine = Switched(Path(directory))
    match verb, what:
        case "get", "power":
            print(f"power:{int(machine.pid() is not None)}")
        case "get", "boot":
            override = machine.override()
            print(f"boot:{_TO_IPMI[override.device] if override else 'none'}")
        case "set", "power":
            if value == "1":
                machine.start()
            else:
                machine.kill()
        case "set", "reset":
            machine.restart()
        case "set", "shutdown":
            machine.shut_down()
        case "set", "boot" if value == "none":
            machine.clear_override()
        case "set", "boot" if value in _FROM_IPMI:
            machine.set_override(Override(_FROM_IPMI[value], once=True))
        case _:
            print(f"no such request: {verb} {what} {value}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
