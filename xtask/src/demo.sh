# The main job, told step by step. Runs in a guest as root, with the built binaries first in PATH;
# $1 is the default policy. REMIT_DEMO_COLOUR is set where the reader has a terminal.
# Remit is used through its command line alone. As soon as something is not as it is told, the demo
# says so and ends with status 1.
set -u
exec 2>&1

# ---- How it is told ---------------------------------------------------------------------------------

if [ "${REMIT_DEMO_COLOUR:-}" = 1 ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[1;31m')
    green=$(printf '\033[32m') cyan=$(printf '\033[36m') plain=$(printf '\033[0m')
else
    bold='' dim='' red='' green='' cyan='' plain=''
fi

# A step, in one sentence.
say() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

# Something is not as it was told.
fail() {
    printf '\n%sThe demo failed: %s%s\n' "$red" "$1" "$plain"
    if [ -s $run/remitd.log ]; then
        echo 'What remitd says:'
        tail -n 20 $run/remitd.log
    fi
    exit 1
}

# A command that the operator types, which must work. `$output` is what it printed.
operator() {
    printf '%s$%s %s\n' "$green" "$plain" "$1"
    if output=$(eval "$1"); then
        [ -z "$output" ] || printf '%s\n' "$output"
    else
        status=$?
        printf '%s\n' "$output"
        fail "\`$1\` ended with status $status"
    fi
}

# A command that the agent runs; `$output` is what it printed, `$status` how it ended.
agent() {
    printf '%sagent $%s %s\n' "$cyan" "$plain" "$1"
    printf '%s\n' "$1" >&3
    output='' status=''
    while IFS= read -r line <&4; do
        case $line in
        '=status '*)
            status=${line#=status }
            return
            ;;
        esac
        output="$output${output:+
}$line"
        printf '%s\n' "$line"
    done
    fail 'the agent is gone'
}

# The same, and it must work.
works() {
    agent "$1"
    [ "$status" = 0 ] || fail "\`$1\` must work for the agent and ended with status $status"
}

# The same, and the kernel must refuse it.
refused() {
    agent "$1"
    [ "$status" != 0 ] || fail "\`$1\` must be refused to the agent and worked"
    case $output in
    *'Permission denied'*) ;;
    *) fail "\`$1\` must be refused to the agent and failed for another reason" ;;
    esac
}

# What was printed must say so.
shows() {
    case $output in
    *"$1"*) ;;
    *) fail "\`$1\` is missing in what was printed last" ;;
    esac
}

# Waits until the command works: so many times a fifth of a second, or 100 times.
until_works() {
    tries=0
    until eval "$1" > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -le ${2:-100} ] || return 1
        sleep 0.2
    done
}

# ---- The scene --------------------------------------------------------------------------------------

run=/run/demo
shop=/home/demo/shop
remit=$(readlink -f "$(command -v remit)") || fail 'there is no `remit` in PATH'
mkdir -p $run $shop /srv/orders /etc/remit/policy.d || fail 'the scene could not be set'

echo 'order,customer,total
1001,Ada,42.00' > /srv/orders/today.csv
echo 'all 3 parcels are on their way' > $run/status.txt

cp "$1/default.toml" /etc/remit/policy.d/10-default.toml &&
    echo "shipped_dir = '$1'" > /etc/remit/remitd.toml || fail 'there is no default policy'
cat > /etc/remit/policy.d/50-demo.toml << END
schema = 1

[tool.agent]                        # the agent's program, and remit itself
files = [{ paths = ['/home/demo/agent.sh', '$remit'], access = ["read", "exec"] }]

[tool.orders]                       # today's orders, and the server that knows where they are
files = [{ paths = ["/srv/orders/**"], access = ["read"] }]
network = [{ cidrs = ["127.0.0.1/32"], ports = [8080], protocol = "tcp" }]

[profile.shop]                      # held from the start: no orders
tools = ["base", "workspace", "agent"]
session_ttl = "1h"
END

# ---- The story --------------------------------------------------------------------------------------

cat << END
${bold}Remit in a minute.${plain} This is a virtual machine with kernel $(uname -r), of which nothing is kept.
Lines with ${green}\$${plain} are typed by an operator, root. Lines with ${cyan}agent \$${plain} are run by an agent: also as root,
but in a session. A project lies in $shop, data in /srv/orders, and a web
server listens on 127.0.0.1:8080. None of these knows of Remit.
END

say 'The policy names tools: bundles of files and connections. (`base` and `workspace` are in the default policy.)'
operator 'cat /etc/remit/policy.d/50-demo.toml'

say 'The daemon starts: it loads its programs into the kernel and puts the policy in force.'
printf '%s$%s remitd &\n' "$green" "$plain"
remitd > $run/remitd.log 2>&1 &

# ---- While it loads: the rest of the scene ----------------------------------------------------------

# An ordinary web server, in no session.
python3 -m http.server 8080 --bind 127.0.0.1 --directory $run > $run/server.log 2>&1 &

# What stands for an agent: it runs the commands that it is sent, as an agent runs those that its
# model chose.
cat > /home/demo/agent.sh << 'END'
while IFS= read -r command; do
    eval "$command" < /dev/null
    echo "=status $?"
done
END

cd $shop || fail "there is no $shop"
echo 'Issue 42: a parcel is late.' > notes.txt
cat > fetch.py << 'END'
import http.client, sys
try:
    server = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
    server.request("GET", "/status.txt")
    print("the server says:", server.getresponse().read().decode().strip())
except OSError as error:
    sys.exit(f"127.0.0.1:8080: {error.strerror}")
END
cat > watch.py << 'END'
import socket, time

def tried(what):
    try:
        what().close()
        return "works"
    except OSError as error:
        return error.strerror

while True:
    file = tried(lambda: open("/srv/orders/today.csv"))
    server = tried(lambda: socket.create_connection(("127.0.0.1", 8080), 10))
    print(f"file: {file:18} server: {server}", flush=True)
    time.sleep(0.3)
END
{
    git init --quiet --initial-branch=main . && git config user.name Agent &&
        git config user.email agent@demo.invalid && echo watch.log > .gitignore &&
        git add . && git commit --quiet --message 'Begin'
} || fail 'the project could not be made'

# The kernel checks all programs first, which takes a slow machine its time.
until_works '[ -S /run/remit/control.sock ]' 900 && remit session list > $run/sessions 2>&1 ||
    fail 'remitd did not become ready'

# ---- The story goes on ------------------------------------------------------------------------------

operator 'remit doctor'

say 'A session starts, and in it an agent. All that the agent starts belongs to the session, too.'
mkfifo $run/tell $run/hear
start="remit run --profile shop --name fix-42 --task 'fix issue 42' --workdir . -- sh /home/demo/agent.sh"
printf '%s$%s %s &\n' "$green" "$plain" "$start"
eval "$start" < $run/tell > $run/hear 2>&1 &
exec 3> $run/tell 4< $run/hear
works 'remit whoami'
shows 'session fix-42'

say 'What its tools cover works as ever: its work folder, python, git.'
works 'cat notes.txt'
works 'echo "Ask the server where it is." >> notes.txt'
works 'python3 -c "print(6 * 7)"'
shows 42
works 'git commit --all --message "Take a note"'

say 'What they do not cover is refused by the kernel, though the agent is root: a file, and a connection.'
refused 'cat /srv/orders/today.csv'
refused 'python3 fetch.py'

say 'Nobody else is refused anything.'
# 8080 is 1F90 in the kernel's list of sockets.
until_works 'grep :1F90 /proc/net/tcp' || fail 'the demo has no web server'
operator 'cat /srv/orders/today.csv'
operator 'python3 fetch.py'
shows 'parcels'

say 'The operator grants the tool for ten minutes, and the very same commands work.'
operator 'remit grant fix-42 orders --ttl 10m --reason "issue 42 needs the orders"'
works 'cat /srv/orders/today.csv'
shows 'Ada'
works 'python3 fetch.py'
shows 'parcels'

say 'The agent starts a program that uses both, over and over, three times a second.'
works 'python3 watch.py > watch.log &'
until_works '[ $(wc -l < watch.log) -ge 3 ]' || fail 'the program did not start'
operator 'tail -n 3 watch.log'
case $(cat watch.log) in
*denied*) fail 'the program was refused what the session holds' ;;
esac

say 'The operator takes the tool back. The program is still running, and the next thing that it tries fails.'
operator 'remit revoke fix-42 orders'
# One try may have begun before.
before=$(($(wc -l < watch.log) + 1))
until_works '[ $(wc -l < watch.log) -ge $((before + 3)) ]' || fail 'the program does not run any more'
operator 'tail -n 3 watch.log'
if tail -n "+$((before + 1))" watch.log | grep --quiet works; then
    fail 'the program still reached what was taken back'
fi

say 'Every refusal is in the incident log.'
operator 'remit incidents --session fix-42'
shows 'net.connect'
shows '/srv/orders/today.csv'
shows 'no_tool'
shows 'revoked'

say 'One of them in full: who did what, why it was refused, and what would allow it.'
id=$(remit incidents --session fix-42 --operation file.open --reason no_tool --json |
    sed -n '1s/^[^{]*{[^{]*"id":"\([0-9A-Z]*\)".*/\1/p')
[ -n "$id" ] || fail 'the refused file is not in the log'
operator "remit incidents show $id"
shows 'remit grant fix-42 orders'

say 'Each line of the log carries the hash of the one before: a line that is changed or taken out is noticed.'
operator 'remit incidents verify'

say 'The session ends, and what still runs in it with it.'
operator 'remit session end fix-42 --kill'
operator 'remit session list'
shows 'no sessions'

printf '\n%sAll of this happened as told.%s README.md goes on from here.\n' "$green" "$plain"
