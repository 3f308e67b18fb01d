#!/bin/busybox sh
# The first process of a guest. Runs what /checks names, tells on the second serial line, and switches the machine off. The first line is
# the kernel's own, so that nothing gets between the words of a test.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t bpf bpf /sys/fs/bpf
exec >/dev/ttyS1 2>&1 </dev/null
# 6.1.0-56-amd64, and the version that it is built from, as in "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)".
echo "== kernel $(uname -r) $(uname -v | sed 's/.*Debian \([^ ]*\).*/\1/')"
for module in /modules/*; do
    insmod "$module"
done
ip link set lo up
while read -r name program filter; do
    echo "== begin $name"
    "$program" --ignored --test-threads 1 $filter </dev/null
    echo "== end $name $?"
done </checks
# The line needs a moment to send what it was given.
sleep 1
poweroff -f
