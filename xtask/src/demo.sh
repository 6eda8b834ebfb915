# The main job, shown in a guest. Runs as root, with the built binaries first in PATH.
remitd &

tries=0
until remit doctor > /dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 50 ]; then
        echo "remitd did not become ready:" >&2
        remit doctor
        exit 1
    fi
    sleep 0.2
done
remit doctor
