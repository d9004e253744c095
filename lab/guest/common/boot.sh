# What every /init of the lab starts with; sourced, never run.

# Print a line on the console with the seconds since power-on.
say() {
    read -r seconds _ </proc/uptime
    echo "lab: [$seconds] $*"
}

# A machine that cannot go on says why and switches itself off, so that nobody waits for it.
fail() {
    say "FAILED: $*"
    poweroff -f
}

# Print the value of a kernel argument; the last one counts. No such argument: exit status 1.
option() {
    set -f
    found=
    for word in $(cat /proc/cmdline); do
        case "$word" in "$1="*) found=yes value=${word#*=} ;; esac
    done
    set +f
    [ -n "$found" ] && echo "$value"
}

# Mount the kernel's file systems and load the modules in the order of their names.
start() {
    /bin/busybox --install -s /bin
    export PATH=/bin HOME=/ TERM=linux
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    for module in /lib/modules/*.ko; do
        insmod "$module" || fail "cannot load $module"
    done
    say "$1 started on kernel $(uname -r)"
}

# The interface that the machine booted from (BOOTIF, else the first one), as $nic and $mac.
find_nic() {
    wanted=$(option BOOTIF | sed 's/^01-//; y/ABCDEF-/abcdef:/')
    for address in /sys/class/net/*/address; do
        nic=$(basename "$(dirname "$address")")
        mac=$(cat "$address")
        [ "$nic" = lo ] && continue
        [ -z "$wanted" ] || [ "$wanted" = "$mac" ] && return
    done
    fail "no interface${wanted:+ with the address $wanted}"
}

# Get an address; leaves $ip, $mask, $serverid and $hostname, where the server gave one.
network() {
    find_nic
    ip link set lo up
    ip link set "$nic" up
    udhcpc -i "$nic" -s /udhcpc.sh -q -n -f -t 20 -T 1 -V "$1" >/dev/null 2>&1 ||
        fail "no DHCP lease on $nic ($mac)"
    . /tmp/lease
    say "$nic $mac has $ip from $serverid"
}
