# What the scripts of this folder share: one server, with all that it has in one folder, on loopback.
# Sourced by them; it takes the command line and does the verb.
#
# A script sets `server` (its name) and, if the server is not to run as root, `account`, and defines
#
#   server_check          die with one line if its programs are not there (and cannot be fetched)
#   server_create         make $DATA/db, which does not exist yet
#   server_start PORT     call `launch COMMAND ...`
#   server_answers PORT   whether it serves; called until it does
#   server_address PORT   print the address that a user puts into a config file
#   server_left_behind    (optional) deal with what is left of a server that was killed
#
# Files in the data folder: db (the server's own), port, pid, address, settings, log, lock, tmp.
# shellcheck shell=bash
set -euo pipefail

DATA='' PORT='' TEMPLATE='' WIPE=''
SETTINGS=() AS=()
account='' needs_open_path='' stop_signal=TERM start_seconds=60 stop_seconds=30

die() {
    echo "tools/servers/$server: $*" >&2
    exit 1
}

usage() {
    cat << END
usage: tools/servers/$server VERB --data DIR [OPTION ...]

  up       start it unless it runs, wait until it serves, print its address
  status   print its address and pid, exit status 0; or \`down\`, exit status 1
  down     stop it (and wait until it is gone); --wipe removes DIR, too
  prepare  make the data without starting the server: for --from
  check    say whether it can run here: exit status 0, or one line on what is missing

  --data DIR       all that it has is in DIR, which is made if need be
  --port N         default: the one it had before, or a free one below the ephemeral range
  --from DIR       begin with a copy of the data of another server, which does not run
  --set KEY=VALUE  a setting of the server's own; may be repeated, and is kept until others are given
${usage_more:-}
It listens on 127.0.0.1 only and asks nobody for a password: it is for tests and demonstrations.
END
}

in_use() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# A port that nobody listens on now, other than those given. Clients' sockets get none of these.
free_port() {
    local port
    for _ in {1..50}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if [[ " $* " != *" $port "* ]] && ! in_use "$port"; then
            echo "$port"
            return
        fi
    done
    die "no free port from 20000 to 31999"
}

# Prints the pid if the server lives and is ours: another process may have got the number since.
live_pid() {
    local pid
    pid=$(cat "$DATA/pid" 2> /dev/null) && [ -n "$pid" ] || return 1
    tr '\0' '\n' 2> /dev/null < "/proc/$pid/cmdline" | grep -qF -- "$DATA/db" || return 1
    # a zombie has no command line any more, so it is gone
    echo "$pid"
}

# Until nothing of a server that was killed is left: it may still hold its locks. It may stay on as a
# zombie for as long as nobody asks for its exit status.
wait_until_gone() {
    local pid state
    pid=$(cat "$DATA/pid" 2> /dev/null) || return 0
    for _ in {1..200}; do
        state=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2> /dev/null) || break
        if [ -s "/proc/$pid/cmdline" ]; then
            break # the number is another process's now
        elif [ "$state" = Z ] && [ "$(ls "/proc/$pid/task" 2> /dev/null | wc -l)" -le 1 ]; then
            break # and none of its threads has its sockets any more
        fi
        sleep 0.05
    done
    server_left_behind
}

# Scripts whose server leaves more behind have their own.
server_left_behind() {
    :
}

# As root the server gets an account of its own. Folders above DIR that are closed to that account
# are passed through by the capability to do so, so that DIR may be anywhere; but a server that asks
# the system first whether it may (needs_open_path) does not get that far.
choose_account() {
    [ -n "$account" ] && [ "$(id -u)" = 0 ] || return 0
    command -v setpriv > /dev/null || die "setpriv is missing: apt-get install -y util-linux"
    id "$account" > /dev/null 2>&1 || account=nobody
    AS=(setpriv "--reuid=$account" "--regid=$(id -g "$account")" --clear-groups)
    if ! "${AS[@]}" test -x "$DATA"; then
        [ -z "$needs_open_path" ] ||
            die "the account $account cannot reach $DATA: choose another --data"
        AS+=(--inh-caps=+dac_read_search --ambient-caps=+dac_read_search)
        "${AS[@]}" stat "$DATA/lock" > /dev/null 2>&1 ||
            die "the account $account cannot reach $DATA: choose another --data"
    fi
}

# as COMMAND ...   runs it as the server's account
as() {
    (cd / && exec ${AS[@]+"${AS[@]}"} "$@")
}

give_to_account() {
    [ ${#AS[@]} = 0 ] || chown -R "$account:" "$@"
}

# launch COMMAND ...   starts the server, which has $DATA/db somewhere on its command line
launch() {
    (cd / && exec setsid ${AS[@]+"${AS[@]}"} "$@") < /dev/null > "$DATA/log" 2>&1 9>&- &
    echo $! > "$DATA/pid"
}

create() {
    [ ! -e "$DATA/db" ] || return 0
    if [ -n "$TEMPLATE" ]; then
        [ -e "$TEMPLATE/db" ] || die "--from $TEMPLATE holds no data of this server"
        cp -a --reflink=auto "$TEMPLATE/db" "$DATA/db.new"
    else
        rm -rf "$DATA/db.new"
        server_create "$DATA/db.new"
    fi
    mv "$DATA/db.new" "$DATA/db"
}

keep_settings() {
    if [ ${#SETTINGS[@]} -gt 0 ]; then
        printf '%s\n' "${SETTINGS[@]}" > "$DATA/settings"
    elif [ -e "$DATA/settings" ]; then
        mapfile -t SETTINGS < "$DATA/settings"
    fi
}

open_data() {
    if [ ! -d "$DATA" ] || [ ! -e "$DATA/lock" ]; then
        [ "$1" = make ] || return 1
        mkdir -p "$DATA" || exit 1
        # the lock may have come meanwhile: another `up` was a little earlier
        [ -z "$(ls -A "$DATA")" ] || [ -e "$DATA/lock" ] ||
            die "$DATA is not empty, and no data folder of this script"
    fi
    DATA=$(cd "$DATA" && pwd -P)
    exec 9>> "$DATA/lock"
    flock 9 # one verb at a time on one folder
}

wait_until_it_serves() {
    local pid=$1 port=$2 deadline=$((SECONDS + start_seconds))
    while [ "$SECONDS" -lt "$deadline" ]; do
        if ! kill -0 "$pid" 2> /dev/null; then
            return 1
        elif server_answers "$port"; then
            return 0
        fi
        sleep 0.05
    done
    kill -KILL "$pid"
    tail -n 20 "$DATA/log" >&2
    die "it does not serve after $start_seconds seconds; its last words are above"
}

choose_port() {
    local port=${PORT:-$(cat "$DATA/port" 2> /dev/null || true)}
    if [ -n "$port" ] && in_use "$port"; then
        [ -z "$PORT" ] || die "port $port is taken by another program: choose another --port"
        port=''
    fi
    echo "${port:-$(free_port)}"
}

up() {
    open_data make
    if live_pid > /dev/null; then
        cat "$DATA/address"
        return
    fi
    wait_until_gone
    server_check
    choose_account
    keep_settings
    create
    local port
    for _ in 1 2 3; do
        port=$(choose_port)
        server_start "$port"
        if wait_until_it_serves "$(cat "$DATA/pid")" "$port"; then
            echo "$port" > "$DATA/port"
            server_address "$port" | tee "$DATA/address"
            return
        fi
        # Another program was faster with the port: take another one.
        grep -q 'Address already in use\|BindException' "$DATA/log" && [ -z "$PORT" ] || break
        rm -f "$DATA/port"
    done
    tail -n 20 "$DATA/log" >&2
    die "it ended while it started; its last words are above"
}

down() {
    open_data find || return 0
    local pid deadline=$((SECONDS + stop_seconds))
    if pid=$(live_pid); then
        kill "-$stop_signal" "$pid"
        while live_pid > /dev/null && [ "$SECONDS" -lt "$deadline" ]; do
            sleep 0.05
        done
        if live_pid > /dev/null; then
            kill -KILL "$pid"
        fi
        while live_pid > /dev/null; do
            sleep 0.05
        done
    fi
    wait_until_gone
    rm -f "$DATA/pid"
    [ -z "$WIPE" ] || rm -rf "$DATA"
}

status() {
    local pid
    open_data find && pid=$(live_pid) && server_answers "$(cat "$DATA/port")" || {
        echo down
        return 1
    }
    echo "$(cat "$DATA/address") pid $pid"
}

prepare() {
    open_data make
    server_check
    choose_account
    create
}

main() {
    local verb=${1:-}
    case $verb in
    up | status | down | prepare | check) shift ;;
    -h | --help | help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    while [ $# -gt 0 ]; do
        case $1 in
        --wipe) WIPE=yes ;;
        --data | --port | --from | --set)
            [ $# -ge 2 ] || die "$1 needs a value"
            case $1 in
            --data) DATA=$2 ;;
            --port) PORT=$2 ;;
            --from) TEMPLATE=$2 ;;
            --set) SETTINGS+=("$2") ;;
            esac
            shift
            ;;
        *) die "there is no option $1; --help shows what there is" ;;
        esac
        shift
    done
    if [ "$verb" = check ]; then
        server_check
        return
    fi
    [ -n "$DATA" ] || die "--data DIR is missing: where it has its files"
    "$verb"
}
