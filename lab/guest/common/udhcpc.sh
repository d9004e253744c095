#!/bin/busybox sh
# Called by udhcpc: set what the lease gives, and keep it in /tmp/lease for whoever asks.
case "$1" in
deconfig)
    ip addr flush dev "$interface"
    ;;
bound | renew)
    ip addr add "$ip/${mask:-24}" dev "$interface" 2>/dev/null
    for gateway in $router; do
        ip route add default via "$gateway" dev "$interface" 2>/dev/null && break
    done
    {
        [ -n "$domain" ] && echo "search $domain"
        for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf
    {
        echo "ip='$ip' mask='${mask:-24}' netmask='$subnet' serverid='$serverid'"
        echo "hostname='$hostname' domain='$domain'"
    } >/tmp/lease
    ;;
esac
