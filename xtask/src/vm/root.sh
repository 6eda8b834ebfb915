#!/bin/busybox sh
# The guest's first program: lays the host's root, and what is writable in memory, as the new root.
# `settings`, written for each boot, defines `keep_all`, `share_all` and the variables.
set -e
. /settings

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done

root=/newroot
mount -t 9p -o "ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose" root $root
# The same without what is mounted over it below.
mount --bind $root /plain

mount -t tmpfs -o mode=755 memory /memory
for place in etc var root opt; do
    [ -d /plain/$place ] || continue
    upper=/memory/$place/upper work=/memory/$place/work
    mkdir -p $upper $work
    # The upper folder becomes the place itself: it needs the same mode.
    [ $place = root ] && chmod 700 $upper
    # What the host's user may not read, such as root's home, is empty in the guest.
    mount -t overlay -o "lowerdir=/plain/$place,upperdir=$upper,workdir=$work" \
        overlay $root/$place 2> /dev/null || mount -t tmpfs -o mode=700 tmpfs $root/$place
done
# Each look-up of a name opens these, which takes longer at the host than in memory.
for file in passwd group nsswitch.conf; do
    if [ -f /plain/etc/$file ]; then cp -p /plain/etc/$file $root/etc/; fi
done
for place in run srv mnt home; do
    if [ -d /plain/$place ]; then mount -t tmpfs -o mode=755 tmpfs $root/$place; fi
done
mount -t tmpfs -o mode=1777 tmpfs $root/tmp

# Shows a folder of the host that lies below one of the empty places.
keep() {
    mkdir -p "$root$1"
    mount --bind "/plain$1" "$root$1"
}

# Shares a folder of the host with the guest's changes.
share() {
    mkdir -p "$root$2"
    mount -t 9p -o "rw,trans=virtio,version=9p2000.L,msize=512000,cache=mmap" "$1" "$root$2"
}
keep_all
share_all

# Where the host has the folder, the kernel's modules are where every tool looks for them.
if [ -d /plain/lib/modules ]; then
    mount -t tmpfs -o mode=755 tmpfs $root/lib/modules
    mkdir $root/lib/modules/$version
    mount --bind "/plain$kernel/lib/modules/$version" $root/lib/modules/$version
fi
umount /plain
umount -l /memory

mkdir -p $root/run/xtask/bin $root/run/lock
cp /bin/busybox /guest.sh /settings $root/run/xtask/
mkdir $root/run/xtask/kmod
for tool in modprobe insmod rmmod lsmod modinfo; do
    ln -s "$kmod" $root/run/xtask/kmod/$tool
    ln -s ../kmod/$tool $root/run/xtask/bin/$tool
done
rm $root/run/xtask/bin/modprobe
printf '#!/bin/sh\nexec /run/xtask/kmod/modprobe -d "%s" "$@"\n' "$kernel" \
    > $root/run/xtask/bin/modprobe
chmod 755 $root/run/xtask/bin/modprobe
mount --move /proc $root/proc
mount --move /sys $root/sys
mount --move /dev $root/dev
exec switch_root $root /run/xtask/busybox sh /run/xtask/guest.sh
