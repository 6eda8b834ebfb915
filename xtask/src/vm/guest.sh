# The guest's pid 1 in its final root: mounts what a running system has, runs the command, hands
# its output and status to the host, which then ends the machine.
# `settings`, written for each boot, defines `run_command` and the variables.
box=/run/xtask/busybox
. /run/xtask/settings

$box mkdir -p /dev/pts /dev/shm
$box mount -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
$box mount -t tmpfs -o mode=1777 tmpfs /dev/shm
$box ln -sf /proc/self/fd /dev/fd
$box ln -sf /proc/self/fd/0 /dev/stdin
$box ln -sf /proc/self/fd/1 /dev/stdout
$box ln -sf /proc/self/fd/2 /dev/stderr
$box mount -t cgroup2 cgroup2 /sys/fs/cgroup
$box mount -t bpf -o mode=700 bpf /sys/fs/bpf
$box mount -t securityfs securityfs /sys/kernel/security
$box mount -t tracefs tracefs /sys/kernel/tracing
$box ip link set lo up
$box hostname guest
echo "127.0.1.1 guest" >> /etc/hosts
echo /run/xtask/bin/modprobe > /proc/sys/kernel/modprobe
if [ -e /proc/sys/kernel/io_uring_disabled ]; then echo 0 > /proc/sys/kernel/io_uring_disabled; fi

# The ports' numbers are the host's choice, the device's is not.
stdout=$(echo /dev/vport*p1)
stderr=$(echo /dev/vport*p2)
status=$(echo /dev/vport*p3)

# Ends what the command left running, so that its output ends too. What runs from our busybox
# carries that output.
end_rest() {
    for process in /proc/[0-9]*; do
        process=${process#/proc/}
        [ "$process" -gt "$first" ] || continue
        [ "/proc/$process/exe" -ef $box ] || kill -9 "$process"
    done 2>/dev/null
}

{
    {
        read -r first _ < /proc/self/stat
        ( run_command ) < /dev/null
        echo $? > /run/xtask/status
        end_rest
        end_rest
    } 2>&1 >&3 3>&- | $box cat > "$stderr"
} 3>&1 | $box cat > "$stdout"

$box sync
if [ -e /run/xtask/status ]; then
    $box cat /run/xtask/status > "$status"
    # The host ends the machine when it has the status.
    $box sleep 10
fi
$box poweroff -f
