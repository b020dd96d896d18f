#!/bin/busybox sh
# First process of the machine: mounts, modules, the command, and its exit status to the share.
/bin/busybox --install -s /bin
ln -s bin /sbin
export PATH=/bin:/opt/ipvs HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
for dir in /run /tmp /dev/shm; do mount -t tmpfs tmpfs $dir; done
mkdir -p /run/netns
mount -t bpf bpf /sys/fs/bpf
[ -d /sys/kernel/debug ] && mount -t debugfs debugfs /sys/kernel/debug
# All others are loaded as they are asked for.
echo /bin/modprobe >/proc/sys/kernel/modprobe
for module in virtio_pci virtio_console 9pnet_virtio 9p veth ip_vs; do
    modprobe $module 2>/tmp/modprobe || cat /tmp/modprobe >/dev/console
done
for tag in share status; do
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 $tag /$tag || poweroff -f
done
ip link set lo up
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_per_sec
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_burst
out=/dev/console
for port in /dev/vport*; do [ -c $port ] && out=$port; done
cd /root
/command >$out 2>&1 </dev/null
echo $? >/status/status
umount /share /status
sync
poweroff -f
